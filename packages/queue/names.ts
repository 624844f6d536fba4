/** The one place that knows what keys Punctual uses in Redis, and which schema of Postgres stands for them. */
export const REDIS_PREFIX_DEFAULT = 'punctual';

/** Shown to whoever lists the connections of Redis (`CLIENT LIST`) or Postgres (`pg_stat_activity`). */
export const QUEUE_CONNECTION_NAME = 'punctual-queue';

/** The Postgres schema of BullMQ's tables where there is no Redis. */
export const QUEUE_SCHEMA = 'punctual_queue';

/**
 * The name of a queue that carries chunks, counted from 0. In braces: with Redis Cluster all keys of a queue must share a slot. By
 * chance the first four are slots 462, 4591, 8588 and 12717: one in each quarter of all 16,384, and so on each of three masters.
 */
export function nameChunkQueue(index: number): string {
  return `{punctual-${index}}`;
}
