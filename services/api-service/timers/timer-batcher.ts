import {
  createNamedTimers,
  createRequestedTimers,
  type NewTimer,
  type Queryable,
  type RequestedTimer,
} from '@punctual/database';
import type { ApiConfig } from '../config.ts';
import type { ApiMetrics } from '../metrics.ts';
import type { WriteBatcherOptions } from '../write-batcher.ts';

/** How single new timers are stored together, on the hot connections that `choosePool` gives for the first of them. */
export function describeTimerBatches(
  config: ApiConfig,
  choosePool: (first: NewTimer) => Queryable,
  readMetrics: () => Pick<ApiMetrics, 'createBatchTimers' | 'createRefused'>,
): WriteBatcherOptions<RequestedTimer, boolean> {
  return {
    store: async (timers) => {
      const stored = await storeTimersTogether(choosePool(timers[0]!), timers);
      return timers.map((timer) => stored.has(timer.id));
    },
    windowMs: config.API_BATCH_WINDOW_MS,
    batchItemsMax: config.API_BATCH_TIMERS_MAX,
    batchesMax: config.API_INSERTS_MAX,
    queueMax: config.API_CREATE_QUEUE_MAX,
    waitMsMax: config.API_ANSWER_TIMEOUT_MS,
    onBatch: (timers) => readMetrics().createBatchTimers.observe(timers),
    onRefuse: () => readMetrics().createRefused.inc(),
  };
}

/** Stores timers of whatever tenants by one statement. Returns the ids of those whose external ids were not taken. */
export async function storeTimersTogether(
  database: Queryable,
  timers: readonly RequestedTimer[],
): Promise<Set<string>> {
  if (timers.some((timer) => timer.externalId !== null)) return createNamedTimers(database, timers);
  await createRequestedTimers(database, timers);
  return new Set(timers.map((timer) => timer.id));
}
