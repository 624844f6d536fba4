import {
  type Database,
  type DatabaseClock,
  type DueTimer,
  type DueTimers,
  FIRST_ID,
  type ReadFrom,
  readDueTimers,
  readMonotonicMs,
} from '@punctual/database';
import { type Logger, LoopedRole, limitRate, OUTAGE_LOG_INTERVAL_MS } from '@punctual/runtime';
import type { Dispatcher } from './dispatcher.ts';
import type { SchedulerMetrics } from './metrics.ts';
import { PriorityTurns } from './priority-turns.ts';
import type { RecentHints } from './recent-hints.ts';
import { TenantTurns } from './tenant-turns.ts';
import { WakeFloors } from './wake-floors.ts';

export interface ReadAheadOptions {
  database: Database;
  clock: DatabaseClock;
  /** Asked before each read, so that a lost partition is not read once more. */
  listPartitions: () => number[];
  dispatcher: Pick<Dispatcher, 'hold' | 'hasRoom' | 'handOverFirst' | 'hasRoomFirst' | 'handOverRaised' | 'raisedRoom'>;
  recent: RecentHints;
  intervalMs: number;
  lookAheadMs: number;
  rowsMax: number;
  sweepIntervalMs: number;
  redispatchAfterMs: number;
  /** How late a row may be committed and still be found by the next read (ms); later ones are found by the sweep. */
  lateCommitMs?: number;
  /** How often a sweep begins at the beginning of a partition, and not at its floor (ms). */
  floorCheckIntervalMs?: number;
  metrics: SchedulerMetrics;
  logger: Logger;
}

/**
 * Each read begins this far before the one that came before it (ms), for rows that were committed late: `wake_at` is at
 * least the moment of the statement that set it, and a transaction is rarely open for longer. Those that were are found
 * by the sweep.
 */
const LATE_COMMIT_MS_DEFAULT = 500;
/**
 * Most reads begin only this far before the last one (ms): a longer stretch holds all attempts under way, which each read
 * would have to pass. Every DEEP_READS_EVERY-th looks at all of it.
 */
const SHALLOW_MS = 60;
const DEEP_READS_EVERY = 10;
/** Least number of rows a partition that one read asks for, however many partitions there are. */
const ROWS_PER_PARTITION_MIN = 16;
/**
 * Partitions that one read begins at their beginning: each may have to pass index entries of millions of rows that are gone
 * while an old snapshot is held, and one statement over all of them would run out of time.
 */
const NEW_PARTITIONS_PER_READ = 8;
const ERROR_PAUSE_MS = 250;

/** Where reading stands in a partition that has more due timers than one read fetches. */
interface Cursor {
  wakeAt: number;
  id: string;
}

/**
 * Reads, in due order, whatever must be looked at: due, retried or lost. It never writes.
 *
 * Caught up, each read covers the stretch from shortly before the last one to the look-ahead. Behind, a cursor moves on
 * through the backlog, past index entries of rows that are gone. Every so often a sweep looks at everything older
 * than that stretch, for hints that got lost; what was read lately is not dispatched again. Killed, it leaves nothing.
 */
export class ReadAhead extends LoopedRole {
  readonly #options: ReadAheadOptions;
  readonly #lateCommitMs: number;
  readonly #turns: TenantTurns;
  readonly #priorityTurns: PriorityTurns;
  readonly #floors: WakeFloors;
  readonly #warnSeldom: (error: unknown) => void;
  /** Of partitions that are behind. */
  readonly #cursors = new Map<number, Cursor>();
  #known = new Set<number>();
  /** Partitions that the sweep has yet to look at in this round, and when it last did some (`readMonotonicMs`). */
  #unswept: number[] = [];
  #sweptAt = Number.NEGATIVE_INFINITY;
  /** Parts of a partition that the sweep's pace has earned since. */
  #sweepCredit = 0;
  /** Since when the oldest overdue timer of each partition is (epoch ms), as its last sweep saw it. */
  readonly #overdueFrom = new Map<number, number>();
  #reads = 0;
  /** The database's time at the last read, and at the last deep one. The next begins there, so that it misses nothing. */
  #readAt = Number.POSITIVE_INFINITY;
  #deepReadAt = Number.POSITIVE_INFINITY;
  #rotatedAt = readMonotonicMs();

  constructor(options: ReadAheadOptions) {
    super({
      name: 'read-ahead',
      errorPauseMs: ERROR_PAUSE_MS,
      complaint: 'could not read due timers; trying again',
      logger: options.logger,
    });
    this.#options = options;
    this.#turns = new TenantTurns(options.database);
    this.#priorityTurns = new PriorityTurns(options.database);
    this.#floors = new WakeFloors(options.database, options.floorCheckIntervalMs);
    this.#lateCommitMs = options.lateCommitMs ?? LATE_COMMIT_MS_DEFAULT;
    this.#warnSeldom = limitRate(
      (error: unknown) => options.logger.warn({ err: error }, 'could not look for lost hints; trying again'),
      OUTAGE_LOG_INTERVAL_MS,
    );
  }

  protected override choosePauseMs(): number {
    return this.#cursors.size > 0 && this.#options.dispatcher.hasRoom ? 0 : this.#options.intervalMs;
  }

  async runOnce(): Promise<void> {
    const { dispatcher, recent, redispatchAfterMs, metrics } = this.#options;
    const now = readMonotonicMs();
    if (now - this.#rotatedAt >= redispatchAfterMs) {
      recent.rotate();
      this.#rotatedAt = now;
    }
    const partitions = this.#updatePartitions();
    if (partitions.length === 0) return;
    if (this.#cursors.size > 0) await this.#tryAside(() => this.#takeTurns(partitions));
    else this.#turns.reset();
    if (this.#cursors.size > 0 || !dispatcher.hasRoom) await this.#tryAside(() => this.#takePriorityTurns(partitions));
    if (dispatcher.hasRoom) await this.#read(this.#chooseRead(partitions));
    else metrics.readPauses.inc();
    const slice = this.#chooseSwept(partitions, now);
    if (slice.length > 0) await this.#tryAside(() => this.#sweep(slice));
    this.#showOverdue();
  }

  // What looks beside the reads must not stop them when it runs out of time: it will come to the same again.
  async #tryAside(look: () => Promise<void>): Promise<void> {
    try {
      await look();
    } catch (error) {
      this.#warnSeldom(error);
    }
  }

  // Behind, the other tenants' timers must not wait until the backlog before them has gone.
  async #takeTurns(partitions: readonly number[]): Promise<void> {
    const { clock, dispatcher } = this.#options;
    if (!dispatcher.hasRoomFirst) return;
    const timers = this.#takeNew(await this.#turns.read(partitions));
    const now = clock.now();
    dispatcher.handOverFirst(timers.filter((timer) => timer.wakeAt <= now));
    dispatcher.hold(timers.filter((timer) => timer.wakeAt > now));
  }

  // Behind, or while nothing is read because the queue is full: what has a priority is found all the same.
  async #takePriorityTurns(partitions: readonly number[]): Promise<void> {
    const { dispatcher, recent } = this.#options;
    if (dispatcher.raisedRoom === 0) return;
    const due = (await this.#priorityTurns.read(partitions)).filter((timer) => !recent.has(timer));
    dispatcher.handOverRaised(this.#takeNew(due.slice(0, dispatcher.raisedRoom)));
  }

  // A partition that is new here is read from the beginning, and a cursor in one that was lost is forgotten.
  #updatePartitions(): number[] {
    const partitions = this.#options.listPartitions();
    const owned = new Set(partitions);
    for (const partition of this.#known) if (!owned.has(partition)) this.#cursors.delete(partition);
    for (const partition of partitions) {
      if (!this.#known.has(partition)) this.#cursors.set(partition, { wakeAt: 0, id: FIRST_ID });
    }
    this.#known = owned;
    this.#floors.keep(owned);
    return partitions;
  }

  #chooseRead(partitions: readonly number[]): readonly number[] {
    let begun = 0;
    return partitions.filter((partition) => {
      if (this.#cursors.get(partition)?.wakeAt !== 0) return true;
      begun += 1;
      return begun <= NEW_PARTITIONS_PER_READ;
    });
  }

  async #read(partitions: readonly number[]): Promise<void> {
    const { clock, lookAheadMs, rowsMax, dispatcher } = this.#options;
    const isDeep = this.#reads % DEEP_READS_EVERY === 0;
    const since = isDeep ? this.#deepReadAt : this.#readAt;
    const backMs = isDeep ? this.#lateCommitMs : Math.min(this.#lateCommitMs, SHALLOW_MS);
    const recentFrom = clock.isKnown ? Math.floor(Math.min(clock.now(), since)) - backMs : 0;
    const limit = Math.max(ROWS_PER_PARTITION_MIN, Math.ceil(rowsMax / this.#known.size));
    const from = partitions.map((partition): ReadFrom => {
      const cursor = this.#cursors.get(partition);
      return { partition, wakeAt: cursor?.wakeAt ?? recentFrom, id: cursor?.id ?? FIRST_ID };
    });
    const { timers, serverAt } = await this.#fetch(from, lookAheadMs, limit);
    this.#readAt = serverAt;
    if (isDeep) this.#deepReadAt = serverAt;
    this.#reads += 1;
    this.#moveCursors(partitions, timers, limit);
    const fresh = this.#takeNew(timers);
    const isBacklog = (timer: DueTimer) => this.#cursors.has(timer.partition);
    const backlog = this.#cursors.size > 0 ? fresh.filter(isBacklog) : [];
    if (backlog.length === 0) {
      dispatcher.hold(fresh);
      return;
    }
    dispatcher.hold(backlog, true);
    dispatcher.hold(fresh.filter((timer) => !isBacklog(timer)));
  }

  #moveCursors(partitions: readonly number[], timers: readonly DueTimer[], limit: number): void {
    const counts = new Map<number, number>();
    const last = new Map<number, DueTimer>();
    for (const timer of timers) {
      counts.set(timer.partition, (counts.get(timer.partition) ?? 0) + 1);
      last.set(timer.partition, timer);
    }
    for (const partition of partitions) {
      if (counts.get(partition) === limit) {
        const { wakeAt, id } = last.get(partition)!;
        this.#cursors.set(partition, { wakeAt, id });
      } else {
        this.#cursors.delete(partition);
      }
    }
  }

  // Each partition in its turn, all of them within the interval: one statement over all would grow with what is overdue
  // or under way until it runs out of time.
  #chooseSwept(partitions: readonly number[], now: number): number[] {
    const { sweepIntervalMs } = this.#options;
    const share = sweepIntervalMs > 0 ? (now - this.#sweptAt) / sweepIntervalMs : 1;
    this.#sweptAt = now;
    this.#sweepCredit = Math.min(partitions.length, this.#sweepCredit + share * partitions.length);
    const count = Math.floor(this.#sweepCredit);
    if (count === 0) return [];
    this.#sweepCredit -= count;
    this.#unswept = this.#unswept.filter((partition) => this.#known.has(partition));
    if (this.#unswept.length === 0) this.#unswept = [...partitions];
    return this.#unswept.splice(0, count);
  }

  async #sweep(chosen: readonly number[]): Promise<void> {
    const { rowsMax, dispatcher, metrics } = this.#options;
    const limit = Math.max(ROWS_PER_PARTITION_MIN, Math.ceil(rowsMax / this.#known.size));
    await this.#floors.raise(chosen);
    const partitions = chosen.filter((partition) => this.#floors.has(partition));
    this.#unswept.unshift(...chosen.filter((partition) => !this.#floors.has(partition)));
    if (partitions.length === 0) return;
    const from = partitions.map(
      (partition): ReadFrom => ({ partition, wakeAt: this.#floors.get(partition), id: FIRST_ID }),
    );
    const { timers } = await this.#fetch(from, -this.#lateCommitMs, limit);
    for (const partition of partitions) this.#overdueFrom.delete(partition);
    for (const { partition, overdueFrom } of timers) {
      const oldest = this.#overdueFrom.get(partition) ?? Number.POSITIVE_INFINITY;
      this.#overdueFrom.set(partition, Math.min(oldest, overdueFrom));
    }
    const { hasRoom } = dispatcher;
    const behind = timers.filter((timer) => {
      // Nothing but a sweep finds an attempt whose lease has ended.
      if (timer.overdueFrom > timer.wakeAt) return true;
      // Those ahead of a cursor will be read in their turn.
      const cursor = this.#cursors.get(timer.partition);
      const isBehind =
        !cursor || timer.wakeAt < cursor.wakeAt || (timer.wakeAt === cursor.wakeAt && timer.id <= cursor.id);
      return isBehind && hasRoom;
    });
    const lost = this.#takeNew(behind);
    metrics.timersRedispatched.inc(lost.length);
    dispatcher.hold(lost);
    if (hasRoom) this.#goOnBehind(timers, lost, limit);
  }

  #showOverdue(): void {
    const { clock, metrics } = this.#options;
    for (const partition of this.#overdueFrom.keys())
      if (!this.#known.has(partition)) this.#overdueFrom.delete(partition);
    const oldest = Math.min(...this.#overdueFrom.values());
    metrics.oldestOverdueSeconds.set(Number.isFinite(oldest) ? Math.max(0, clock.now() - oldest) / 1000 : 0);
    metrics.clockOffsetSeconds.set(clock.hostOffsetMs / 1000);
    metrics.clockErrorSeconds.set(clock.errorMs / 1000);
    metrics.clockSteps.set(clock.steps);
  }

  // Where a sweep found lost hints and no end, reading goes on from there: after the queue has lost much, one page a
  // sweep would take minutes. Not where a cursor is under way: what is overdue there may still wait in the queue.
  #goOnBehind(timers: readonly DueTimer[], lost: readonly DueTimer[], limit: number): void {
    const pages = Map.groupBy(timers, (timer) => timer.partition);
    for (const partition of new Set(lost.map((timer) => timer.partition))) {
      const page = pages.get(partition)!;
      if (page.length < limit || this.#cursors.has(partition)) continue;
      const { wakeAt, id } = page.at(-1)!;
      this.#cursors.set(partition, { wakeAt, id });
    }
  }

  async #fetch(from: readonly ReadFrom[], untilMs: number, limit: number): Promise<DueTimers> {
    const { database, clock, metrics } = this.#options;
    const sentAt = readMonotonicMs();
    const { timers, serverAt } = await readDueTimers(database.hot, from, untilMs, limit);
    const receivedAt = readMonotonicMs();
    // failpoint: scheduler.read
    clock.observe(sentAt, serverAt, receivedAt);
    metrics.readSeconds.observe((receivedAt - sentAt) / 1000);
    metrics.timersRead.inc(timers.length);
    return { timers, serverAt };
  }

  #takeNew(timers: readonly DueTimer[]): DueTimer[] {
    const { recent } = this.#options;
    const fresh = timers.filter((timer) => !recent.has(timer));
    for (const timer of fresh) recent.add(timer);
    return fresh;
  }
}
