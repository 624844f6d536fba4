import { createNamedTimers, createTimers, type Database, type NewTimer, type Queryable } from '@punctual/database';
import type { ApiConfig } from '../config.ts';
import type { ApiMetrics } from '../metrics.ts';
import { WriteBatcher } from '../write-batcher.ts';

/** The batcher that stores single new timers on the hot connections. */
export function createTimerBatcher(
  config: ApiConfig,
  database: Pick<Database, 'hot'>,
  readMetrics: () => Pick<ApiMetrics, 'createBatchTimers' | 'createRefused'>,
): WriteBatcher<NewTimer, boolean> {
  return new WriteBatcher({
    store: async (timers) => {
      const stored = await storeTimersTogether(database.hot, timers);
      return timers.map((timer) => stored.has(timer.id));
    },
    windowMs: config.API_BATCH_WINDOW_MS,
    batchItemsMax: config.API_BATCH_TIMERS_MAX,
    batchesMax: config.API_INSERTS_MAX,
    queueMax: config.API_CREATE_QUEUE_MAX,
    onBatch: (timers) => readMetrics().createBatchTimers.observe(timers),
    onRefuse: () => readMetrics().createRefused.inc(),
  });
}

/** Stores timers of whatever tenants by one statement. Returns the ids of those whose external ids were not taken. */
export async function storeTimersTogether(database: Queryable, timers: readonly NewTimer[]): Promise<Set<string>> {
  if (timers.some((timer) => timer.externalId !== null)) return createNamedTimers(database, timers);
  await createTimers(database, timers);
  return new Set(timers.map((timer) => timer.id));
}
