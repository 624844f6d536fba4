import { createNamedTimers, createTimers, type Database, type NewTimer } from '@punctual/database';
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
    store: (timers) => storeTimers(database, timers),
    windowMs: config.API_BATCH_WINDOW_MS,
    batchItemsMax: config.API_BATCH_TIMERS_MAX,
    batchesMax: config.API_INSERTS_MAX,
    queueMax: config.API_CREATE_QUEUE_MAX,
    onBatch: (timers) => readMetrics().createBatchTimers.observe(timers),
    onRefuse: () => readMetrics().createRefused.inc(),
  });
}

/** For each timer whether it was stored: false when its external id is taken. */
async function storeTimers(database: Pick<Database, 'hot'>, timers: readonly NewTimer[]): Promise<boolean[]> {
  if (timers.every((timer) => timer.externalId === null)) {
    await createTimers(database.hot, timers);
    return timers.map(() => true);
  }
  const stored = await createNamedTimers(database.hot, timers);
  return timers.map((timer) => stored.has(timer.id));
}
