import { asTenant, inTransaction, type RunOrder, type Transaction } from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { type Answer, answerKeyed, type KeyedRequest, type KeyedResult } from '../plugins/idempotency.ts';
import type { ProblemError } from '../problem.ts';
import { TenantBatchers } from '../tenant-batchers.ts';
import { beginRuns, type RunResult } from './create-runs.ts';

/**
 * Orders of one transaction: bounds what it holds in memory, as each run may have a thousand tasks. No more than
 * IDEMPOTENCY_KEYS_PER_TRANSACTION_MAX.
 */
const RUNS_PER_TRANSACTION_MAX = 100;

/**
 * The way in for single new runs: a tenant's concurrent ones share a transaction on the hot connections. Each may name
 * itself, or a workflow that somebody has locked.
 */
export function createRunBatcher(context: ApiContext): TenantBatchers<RunOrder, RunResult> {
  return createBatcher(context, (client, orders) => beginRuns(context, client, orders));
}

/** An order whose request named an idempotency key. */
export interface KeyedRunOrder extends KeyedRequest {
  order: RunOrder;
}

/** The same for those with idempotency keys: runs and kept answers share the transaction. */
export function createKeyedRunBatcher(context: ApiContext): TenantBatchers<KeyedRunOrder, KeyedResult> {
  return createBatcher(context, (client, requests) =>
    answerKeyed(client, requests, async (unanswered) => {
      const orders = unanswered.map(({ order }) => order);
      return (await beginRuns(context, client, orders)).map(toAnswer);
    }),
  );
}

/** What a request for one run is answered; a refused one has left nothing behind. */
export function toAnswer(result: RunResult): Answer | ProblemError {
  if (result.kind === 'refused') return result.problem;
  return { status: result.kind === 'created' ? 201 : 200, body: result.run };
}

function createBatcher<Item extends { tenantId: string }, Result>(
  { config, database }: ApiContext,
  store: (client: Transaction, items: readonly Item[]) => Promise<Result[]>,
): TenantBatchers<Item, Result> {
  return new TenantBatchers({
    store: (items) => {
      // Never empty, and all of one tenant.
      const { hot } = asTenant(database, items[0]!.tenantId);
      return inTransaction(hot, (client) => store(client, items));
    },
    windowMs: config.API_BATCH_WINDOW_MS,
    batchItemsMax: RUNS_PER_TRANSACTION_MAX,
    batchesMax: config.API_INSERTS_MAX,
    queueMax: config.API_CREATE_QUEUE_MAX,
    waitMsMax: config.API_ANSWER_TIMEOUT_MS,
  });
}
