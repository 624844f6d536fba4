import type { CreatorResult } from '../open-loop.ts';

/** Bytes that an engine keeps at this moment. */
export interface Sizes {
  databaseBytes: number;
  /** Written to the write-ahead log since the server was made. */
  walBytes: number;
  redisBytes: number;
}

/**
 * Something that calls an endpoint at a due time: Punctual, or what a team would take instead. Each runs on a Postgres
 * and a Redis of its own with the same settings, its parts in processes of their own, and calls the same sink.
 */
export interface Engine {
  readonly name: EngineName;
  /** Processes whose CPU time and memory count: all but the sink and Punctual's client. */
  listPids(): Record<string, number>;
  /** Stores `count` timers that are due at once, in batches of `BATCH_TIMERS`, `BATCHES_AT_ONCE` at a time. */
  putDue(count: number): Promise<void>;
  /** Stops what looks for due timers (SIGSTOP), and lets it go on. */
  pause(): void;
  resume(): void;
  /** Creates `rate` timers a second, one by one, open loop, due after `DELAY_MS`. */
  create(rate: number, seconds: number): Promise<CreatorResult>;
  readSizes(): Promise<Sizes>;
  /** What the engine's own books say against a run; empty when they balance, or when it keeps none. */
  check(): Promise<string[]>;
  stop(): Promise<void>;
}

export const ENGINE_NAMES = ['punctual', 'graphile-worker', 'pg-boss', 'bullmq-redis', 'bullmq-postgres'] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

export const BATCH_TIMERS = 500;
/** Batches under way at once while timers are put in. */
export const BATCHES_AT_ONCE = 4;
export const DELAY_MS = { min: 1_000, max: 5_000 };
/** With its quotes and the due time a payload of some 300 bytes. */
export const PAYLOAD = 'x'.repeat(280);
