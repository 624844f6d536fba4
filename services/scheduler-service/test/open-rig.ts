import {
  createTimers,
  type Database,
  DatabaseClock,
  type DueTimer,
  type NewTimer,
  readMonotonicMs,
  synchronizeClock,
  TIMERS_PER_INSERT_MAX,
} from '@punctual/database';
import { ChunkQueue, type Hint, type QueueConnection } from '@punctual/queue';
import { createTestLogger, makeTimer, TEST_PARTITION_COUNT, withoutFaults } from '@punctual/testkit';
import { Registry } from 'prom-client';
import { Dispatcher } from '../dispatcher.ts';
import { createSchedulerMetrics, type SchedulerMetrics } from '../metrics.ts';
import { ReadAhead } from '../read-ahead.ts';
import { RecentHints } from '../recent-hints.ts';

/** A hint at the moment when it was handed to the queue. */
export interface HandOver extends Hint {
  wakeAt: number;
  /** The latest that the database's clock can have shown then (epoch ms), by a clock that the scheduler does not use. */
  atLatest: number;
  /** By `readMonotonicMs`. */
  at: number;
}

export interface RigOptions {
  connection: QueueConnection;
  partitions?: readonly number[];
  intervalMs?: number;
  lookAheadMs?: number;
  rowsMax?: number;
  sweepIntervalMs?: number;
  redispatchAfterMs?: number;
  lateCommitMs?: number;
  floorCheckIntervalMs?: number;
  windowMs?: number;
  queueChunksMax?: number;
}

/** Read ahead and dispatch, wired as in the scheduler, without leases, on a real database and a real queue. */
export interface Rig {
  readAhead: ReadAhead;
  dispatcher: Dispatcher;
  recent: RecentHints;
  metrics: SchedulerMetrics;
  /** Partitions that it owns; the test may change them. */
  partitions: number[];
  /** Every hint that was handed over, in order; those that the queue refused are not among them. */
  handedOver: HandOver[];
  start(): void;
  /** One turn of reading, and the end of all hand-overs that it led to. */
  turn(): Promise<void>;
  stop(): Promise<void>;
}

/** Of hand-overs, unless a test says otherwise (ms). */
export const WINDOW_MS = 4;
/** How often the independent clock asks for the time: the best of so many answers is good to a fraction of a millisecond. */
const CLOCK_ANSWERS = 30;

/** `database`: as a service opens it. */
export async function openRig(database: Database, options: RigOptions): Promise<Rig> {
  const { logger } = createTestLogger();
  const metrics = createSchedulerMetrics(new Registry());
  const reference = new DatabaseClock();
  await withoutFaults(async () => {
    for (let asked = 0; asked < CLOCK_ANSWERS; asked += 1) await synchronizeClock(database.ordinary, reference);
  });
  const queue = new ChunkQueue(options.connection, () => {});
  const handedOver: HandOver[] = [];
  const clock = new DatabaseClock();
  const recent = new RecentHints();
  const partitions = [...(options.partitions ?? Array(TEST_PARTITION_COUNT).keys())];
  const dispatcher = new Dispatcher({
    queue: {
      countWaiting: () => queue.countWaiting(),
      async dispatch(hints, place) {
        const at = readMonotonicMs();
        const atLatest = reference.now() + reference.errorMs;
        const dispatched = await queue.dispatch(hints, place);
        for (const hint of hints as readonly DueTimer[]) {
          handedOver.push({ id: hint.id, version: hint.version, wakeAt: hint.wakeAt, at, atLatest });
        }
        return dispatched;
      },
    },
    clock,
    windowMs: options.windowMs ?? WINDOW_MS,
    queueChunksMax: options.queueChunksMax ?? 1_000,
    onLost: (hints) => {
      for (const hint of hints) recent.remove(hint);
    },
    metrics,
    logger,
  });
  const readAhead = new ReadAhead({
    database,
    clock,
    listPartitions: () => partitions,
    dispatcher,
    recent,
    intervalMs: options.intervalMs ?? 20,
    lookAheadMs: options.lookAheadMs ?? 150,
    rowsMax: options.rowsMax ?? 4_000,
    sweepIntervalMs: options.sweepIntervalMs ?? 200,
    redispatchAfterMs: options.redispatchAfterMs ?? 60_000,
    lateCommitMs: options.lateCommitMs,
    // Tests put timers where none can be in earnest: behind the present.
    floorCheckIntervalMs: options.floorCheckIntervalMs ?? 0,
    metrics,
    logger,
  });
  return {
    readAhead,
    dispatcher,
    recent,
    metrics,
    partitions,
    handedOver,
    start() {
      dispatcher.start();
      readAhead.start();
    },
    async turn() {
      // Tests count turns, and after a hand-over that failed a scheduler reads nothing for many of them.
      await withoutFaults(async () => {
        await readAhead.runOnce();
        await dispatcher.runOnce();
      });
    },
    async stop() {
      await readAhead.stop();
      await dispatcher.stop();
      await queue.close();
    },
  };
}

/** Stores so many timers, due now unless `fields` say otherwise, and returns their ids. */
export async function storeTimers(database: Database, count: number, fields: Partial<NewTimer>): Promise<string[]> {
  const timers = Array.from({ length: count }, () => makeTimer(fields));
  for (let from = 0; from < count; from += TIMERS_PER_INSERT_MAX)
    await createTimers(database.hot, timers.slice(from, from + TIMERS_PER_INSERT_MAX));
  return timers.map(({ id }) => id);
}
