import {
  announceQueues,
  type Database,
  type DatabaseClock,
  type DuePull,
  FIRST_ID,
  type ReadFrom,
  readDuePulls,
} from '@punctual/database';
import { type Logger, LoopedRole } from '@punctual/runtime';
import type { SchedulerMetrics } from './metrics.ts';
import { RecentHints } from './recent-hints.ts';

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
/** What was announced is remembered for between one and two times as long (ms): no read begins that far back. */
const REMEMBERED_MS = 15_000;
const ERROR_PAUSE_MS = 250;

/**
 * Tells every api in which queues something has come due that workers of the customer lease, in the partitions owned. Each
 * timer is announced once: what nobody fetches lies in the table, and whoever asks finds it there by its index; so no read
 * passes it again. An announcement is a hint, and may be lost: whoever waits looks by himself after some seconds. It
 * never writes; killed, it leaves nothing.
 */
export class PullAnnouncer extends LoopedRole {
  readonly #options: PullAnnouncerOptions;
  readonly #recent = new RecentHints();
  /** Where the next read begins, of each partition owned. */
  readonly #cursors = new Map<number, ReadFrom>();
  #isBehind = false;
  #seenAt = Number.NEGATIVE_INFINITY;
  #rotatedAt = performance.now();

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
    return this.#isIdle ? IDLE_INTERVAL_MS : this.#options.intervalMs;
  }

  /** One read, and the announcement of what it found. */
  async runOnce(): Promise<void> {
    const { database, clock, listPartitions, metrics } = this.#options;
    const now = performance.now();
    if (now - this.#rotatedAt >= REMEMBERED_MS) {
      this.#recent.rotate();
      this.#rotatedAt = now;
    }
    const owned = new Set(listPartitions());
    for (const partition of this.#cursors.keys()) if (!owned.has(partition)) this.#cursors.delete(partition);
    // Reading ahead tells the clock the time.
    if (owned.size === 0 || !clock.isKnown) return;
    const beginning = Math.floor(clock.now()) - NEW_PARTITION_BACK_MS;
    const from = [...owned].map(
      (partition) => this.#cursors.get(partition) ?? { partition, wakeAt: beginning, id: FIRST_ID },
    );
    const { pulls, serverAt } = await readDuePulls(database.hot, from, PULLS_PER_PARTITION_MAX);
    const fresh = pulls.filter((pull) => !this.#recent.has(pull));
    if (fresh.length > 0) {
      const queues = new Map(fresh.map(({ tenantId, queue }) => [`${tenantId} ${queue}`, { tenantId, queue }]));
      // Nothing is stored, so nothing has to reach the disk.
      await announceQueues(database.relaxed, [...queues.values()]);
      metrics.pullsAnnounced.inc(fresh.length);
      metrics.pullAnnouncements.inc(queues.size);
      for (const pull of fresh) this.#recent.add(pull);
    }
    if (pulls.length > 0) this.#seenAt = now;
    // Only now: what could not be announced is read again.
    this.#moveCursors(from, pulls, serverAt);
  }

  #moveCursors(from: readonly ReadFrom[], pulls: readonly DuePull[], serverAt: number): void {
    const pages = Map.groupBy(pulls, ({ partition }) => partition);
    this.#isBehind = false;
    for (const { partition } of from) {
      const page = pages.get(partition);
      if (page?.length === PULLS_PER_PARTITION_MAX) {
        const { wakeAt, id } = page.at(-1)!;
        this.#cursors.set(partition, { partition, wakeAt, id });
        this.#isBehind = true;
      } else {
        this.#cursors.set(partition, { partition, wakeAt: Math.floor(serverAt) - LATE_COMMIT_MS, id: FIRST_ID });
      }
    }
  }
}
