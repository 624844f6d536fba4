import { inTransaction } from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { WriteBatcher } from '../write-batcher.ts';
import { beginRuns, type RunResult } from './create-runs.ts';
import type { RunOrder } from './run-beginning.ts';

/** Orders of one transaction: bounds what it holds in memory, as each run may have a thousand tasks. */
const RUNS_PER_TRANSACTION_MAX = 100;

/** The way in for single new runs: concurrent ones share a transaction on the hot connections. */
export function createRunBatcher(context: ApiContext): WriteBatcher<RunOrder, RunResult> {
  const { config, database } = context;
  return new WriteBatcher({
    store: (orders) => inTransaction(database.hot, (client) => beginRuns(context, client, orders)),
    windowMs: config.API_BATCH_WINDOW_MS,
    batchItemsMax: RUNS_PER_TRANSACTION_MAX,
    batchesMax: config.API_INSERTS_MAX,
    queueMax: config.API_CREATE_QUEUE_MAX,
  });
}
