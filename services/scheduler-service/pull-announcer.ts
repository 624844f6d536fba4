import {
  announceQueues,
  type Database,
  type DatabaseClock,
  FIRST_ID,
  NOTHING_SEEN,
  type ReadFrom,
  readDuePulls,
  type SeenPast,
} from '@punctual/database';
import { type Logger, LoopedRole } from '@punctual/runtime';
import type { SchedulerMetrics } from './metrics.ts';

export interface PullAnnouncerOptions {
  database: Pick<Database, 'hot' | 'relaxed'>;
  clock: DatabaseClock;
  /** Asked before each read. */
  listPartitions: () => number[];
  /** Between two reads while there is something to announce now and then. */
  intervalMs: number;
  metrics: SchedulerMetrics;
  logger: Logger;
}

/** Each read begins this far before the one that came before it (ms), for rows that were committed late; later ones are found by whoever waits. */
const LATE_COMMIT_MS = 500;
/** How far back a partition is read that is new here (ms): longer than one is without an owner after a crash. */
const NEW_PARTITION_BACK_MS = 10_000;
/** Timers of one partition in one read; of more, the next read goes on behind them. */
const PULLS_PER_PARTITION_MAX = 256;
/** An installation without such timers is read so often (ms); the first of them may be announced so much later. */
const IDLE_INTERVAL_MS = 250;
/** For so long after one was seen it is not taken for such an installation (ms); until the first, it is. */
const IDLE_AFTER_MS = 60_000;
/** Pauses are so many times as long as the read before them took, up to IDLE_INTERVAL_MS: a busy database is not read most of the time. */
const PAUSES_PER_READ = 4;
const ERROR_PAUSE_MS = 250;

/** How far a partition has been read. */
interface Reading {
  from: ReadFrom;
  /** What is no news there. */
  seen: SeenPast;
  /** While one read does not take all: what the first of them saw. */
  seenAtFirst: SeenPast | undefined;
}

/**
 * Tells every api in which queues something has come due that workers of the customer lease, in the partitions owned: once
 * as a rule, whatever lies there, as whoever asks finds it by its index. What a read finds again is no news unless it was
 * committed since. An announcement is a hint, and may be lost: whoever waits looks by himself after some seconds. It
 * never writes; killed, it leaves nothing.
 */
export class PullAnnouncer extends LoopedRole {
  readonly #options: PullAnnouncerOptions;
  /** Of each partition owned. */
  readonly #readings = new Map<number, Reading>();
  #isBehind = false;
  #seenAt = Number.NEGATIVE_INFINITY;
  #readMs = 0;

  constructor(options: PullAnnouncerOptions) {
    super({
      name: 'pull-announcer',
      errorPauseMs: ERROR_PAUSE_MS,
      complaint: 'could not announce what pull workers may lease; trying again',
      logger: options.logger,
    });
    this.#options = options;
  }

  get #isIdle(): boolean {
    return performance.now() - this.#seenAt > IDLE_AFTER_MS;
  }

  protected override choosePauseMs(): number {
    if (this.#isBehind) return 0;
    if (this.#isIdle) return IDLE_INTERVAL_MS;
    return Math.max(this.#options.intervalMs, Math.min(IDLE_INTERVAL_MS, this.#readMs * PAUSES_PER_READ));
  }

  /** One read, and the announcement of what it found. */
  async runOnce(): Promise<void> {
    const { database, clock, listPartitions, metrics } = this.#options;
    const owned = new Set(listPartitions());
    for (const partition of this.#readings.keys()) if (!owned.has(partition)) this.#readings.delete(partition);
    // Reading ahead tells the clock the time.
    if (owned.size === 0 || !clock.isKnown) return;
    const wakeAt = Math.floor(clock.now()) - NEW_PARTITION_BACK_MS;
    const readings = [...owned].map(
      (partition): Reading =>
        this.#readings.get(partition) ?? {
          from: { partition, wakeAt, id: FIRST_ID },
          seen: NOTHING_SEEN,
          seenAtFirst: undefined,
        },
    );
    const readAt = performance.now();
    const { queues, full, seen } = await readDuePulls(
      database.hot,
      readings.map((reading) => ({ ...reading.from, seen: reading.seen })),
      PULLS_PER_PARTITION_MAX,
    );
    this.#readMs = performance.now() - readAt;
    if (queues.length > 0) {
      // Nothing is stored, so nothing has to reach the disk.
      await announceQueues(database.relaxed, queues);
      metrics.pullsAnnounced.inc(queues.reduce((sum, { timers }) => sum + timers, 0));
      metrics.pullAnnouncements.inc(queues.length);
      this.#seenAt = performance.now();
    }
    // Only now: what could not be announced is read again.
    this.#goOn(readings, full, seen);
  }

  #goOn(readings: readonly Reading[], full: readonly ReadFrom[], seen: SeenPast): void {
    const rests = new Map(full.map((rest) => [rest.partition, rest]));
    this.#isBehind = rests.size > 0;
    for (const reading of readings) {
      const { partition } = reading.from;
      const seenAtFirst = reading.seenAtFirst ?? seen;
      const rest = rests.get(partition);
      this.#readings.set(
        partition,
        rest
          ? { from: rest, seen: reading.seen, seenAtFirst }
          : // What was committed while this partition was read page by page may lie before what was read last.
            {
              from: { partition, wakeAt: seenAtFirst.at - LATE_COMMIT_MS, id: FIRST_ID },
              seen: seenAtFirst,
              seenAtFirst: undefined,
            },
      );
    }
  }
}
