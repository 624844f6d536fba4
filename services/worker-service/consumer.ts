import {
  type Database,
  type DatabaseClock,
  isDatabaseUnavailable,
  isStatementTimeout,
  readEarlyHints,
  readMonotonicMs,
  restartTimers,
  type StartedTimer,
  startTimers,
} from '@punctual/database';
import { TIMEOUT_MS_DEFAULT } from '@punctual/domain';
import { ChunkConsumer, type Hint, type Processed, type QueueConnection } from '@punctual/queue';
import { Batcher, type Logger } from '@punctual/runtime';
import { countPlacesOfOneSource } from './config.ts';
import { type DueHints, EarlyHints } from './early-hints.ts';
import type { Lanes } from './lanes.ts';
import type { WorkerMetrics } from './metrics.ts';

export interface ConsumerOptions {
  database: Database;
  clock: DatabaseClock;
  connection: QueueConnection;
  /** Chunks in hand at once, those included of which hints are not yet due. */
  chunksAtOnce: number;
  attemptsMax: number;
  leaseMarginMs: number;
  /** Whether it is better to wait a moment than to start more: some origin's short queue is just being worked off. */
  isBrieflyFull: () => boolean;
  /** Starts those that need places in lanes. */
  lanes: Pick<Lanes, 'start'>;
  /** Begins the attempt of a timer that was started, at `startedAt` (`performance.now()`) or later; must not throw. */
  run: (timer: StartedTimer, startedAt: number) => void;
  onQueueError: (error: Error) => void;
  metrics: WorkerMetrics;
  logger: Logger;
}

/** Before a chunk that could not be started goes back to the queue, while Postgres is away (ms). */
const UNAVAILABLE_PAUSE_MS = 200;
/**
 * How long a chunk waits for room before it looks again (ms). An origin can stop being briefly full without any outcome
 * to tell of it: when it begins to hang.
 */
const ROOM_CHECK_INTERVAL_MS = 50;

/** Hints that come due within it after others are started together (ms). */
const START_WINDOW_MS = 4;
/** Timers that one statement starts. */
const STARTS_PER_STATEMENT_MAX = 256;
/** Statements under way at once that start timers and do not wait for somebody's lock, and all of them. */
const QUICK_STARTS_MAX = 2;
const STARTS_MAX = 6;

/** A chunk that there is room for, and how many of its hints are not yet dealt with. */
interface PendingChunk {
  isFirst: boolean;
  left: number;
  /** That of a part which could not be started because Postgres was away counts more than any other. */
  isLeft: boolean;
  error: unknown;
  resolve: (processed: Processed) => void;
  reject: (error: unknown) => void;
}

/**
 * Takes chunks of hints and starts their timers when they are due, as many as there is room for, with one conditional
 * write for all that wait. The queue's job ends with that write, so slow endpoints hold no job. Killed before the write, the hints are
 * found again by a scheduler; after it, when the leases end.
 *
 * Tasks that an outcome written here unlocks are started with it and taken over without the queue, as far as there are
 * places.
 */
export class Consumer {
  readonly #options: ConsumerOptions;
  readonly #chunks: ChunkConsumer;
  readonly #early: EarlyHints<PendingChunk>;
  readonly #starts: Batcher<DueHints<PendingChunk>>;
  /** Of chunks that go before those that wait: their statements do not wait for the others' either. */
  readonly #firstStarts: Batcher<DueHints<PendingChunk>>;
  #inFlight = 0;
  /** Room promised to hints that are not yet due, and to starts whose answer is awaited. */
  #reserved = 0;
  /** Tasks taken over, until their outcomes are written, and places kept for more. */
  readonly #takenOver = new Set<string>();
  #reservedForTasks = 0;
  #waiters: (() => void)[] = [];
  #isStopping = false;
  /** What is in hand, the oldest first. */
  readonly #inHand = new Map<string, StartedTimer>();
  #isDraining = false;
  /** Everything that was fetched before has been dealt with. */
  #isDrained = false;
  #isStopped = false;
  /** Ends when the last change between working and draining is done. */
  #turning: Promise<void> = Promise.resolve();

  constructor(options: ConsumerOptions) {
    this.#options = options;
    const openStarts = () =>
      new Batcher<DueHints<PendingChunk>>({
        run: (parts) => this.#startParts(parts),
        windowMs: 0,
        weigh: (part) => part.hints.length,
        weightMax: STARTS_PER_STATEMENT_MAX,
        quickMax: QUICK_STARTS_MAX,
        batchesMax: STARTS_MAX,
      });
    this.#starts = openStarts();
    this.#firstStarts = openStarts();
    this.#early = new EarlyHints({
      clock: options.clock,
      windowMs: START_WINDOW_MS,
      onDue: (parts) => this.#startDue(parts),
    });
    this.#chunks = new ChunkConsumer(
      options.connection,
      options.chunksAtOnce,
      (hints, isFirst) => this.#startChunk(hints, isFirst),
      options.onQueueError,
    );
  }

  start(): void {
    this.#chunks.start();
  }

  /** Timers started here whose outcome is not yet written. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether it fetches no more, and all that it had in hand has its outcome. */
  get isDrained(): boolean {
    return this.#isDrained && this.#inFlight === 0;
  }

  /** Up to `limit` timers whose start was before `startedBefore` (epoch ms, database's clock), the oldest first. */
  listInHand(startedBefore: number, limit: number): { timerId: string; tenantId: string; startedAt: string }[] {
    const listed: { timerId: string; tenantId: string; startedAt: string }[] = [];
    for (const { id, tenant_id: tenantId, started_at: startedAt } of this.#inHand.values()) {
      if (listed.length === limit || startedAt >= startedBefore) break;
      listed.push({ timerId: id, tenantId, startedAt: new Date(startedAt).toISOString() });
    }
    return listed;
  }

  /** Takes no more, and goes on with what is in hand, or takes work again. Returns at once; a stop counts more. */
  setDraining(isDraining: boolean): void {
    if (this.#isDraining === isDraining) return;
    this.#isDraining = isDraining;
    this.#turning = this.#turning.then(() => this.#turn());
  }

  /** Fetches no more and waits for the starts under way; chunks that wait for room go back to the queue, to others. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#isStopping = true;
    this.#wakeWaiters();
    await Promise.all([this.#turning, this.#chunks.stop()]);
  }

  async #turn(): Promise<void> {
    if (this.#isStopped || this.#isDraining === this.#isStopping) return;
    this.#isStopping = this.#isDraining;
    this.#isDrained = false;
    if (!this.#isDraining) {
      this.#chunks.start();
      return;
    }
    this.#wakeWaiters();
    await this.#chunks.stop();
    this.#isDrained = true;
  }

  /** Resolves when every timer that was started here has its outcome written. */
  async waitUntilIdle(): Promise<void> {
    while (this.#inFlight > 0) await this.#waitForChange();
  }

  /**
   * Keeps up to `wanted` places for tasks that are about to be taken over, while the timers `leaving` are
   * about to go, and returns how many. They get no more than a share of all places, so that however long the chains of
   * one tenant are, the queue has the rest for everybody.
   */
  reservePlaces(wanted: number, leaving: readonly string[]): number {
    if (this.#isStopping) return 0;
    const { attemptsMax } = this.#options;
    const leavingTakenOver = leaving.filter((id) => this.#takenOver.has(id)).length;
    const takenOver = this.#takenOver.size - leavingTakenOver + this.#reservedForTasks;
    const all = this.#inFlight - leaving.length + this.#reserved + this.#reservedForTasks;
    const free = Math.min(countPlacesOfOneSource(attemptsMax) - takenOver, attemptsMax - all);
    const places = Math.max(0, Math.min(wanted, free));
    this.#reservedForTasks += places;
    return places;
  }

  /** Begins the attempts of tasks that were started with the outcomes that unlocked them, and gives back the places kept for them. */
  takeTasks(started: readonly StartedTimer[], askedAt: number, places: number): void {
    this.#reservedForTasks -= places;
    for (const { id } of started) this.#takenOver.add(id);
    this.#take(started, askedAt);
  }

  /** Makes room: the outcomes of these timers are written. */
  release(ids: readonly string[]): void {
    this.#inFlight -= ids.length;
    for (const id of ids) this.#inHand.delete(id);
    if (this.#takenOver.size > 0) for (const id of ids) this.#takenOver.delete(id);
    this.#options.metrics.attemptsInFlight.set(this.#inFlight);
    this.#wakeWaiters();
  }

  #take(started: readonly StartedTimer[], askedAt: number): void {
    const { run, metrics } = this.#options;
    this.#inFlight += started.length;
    metrics.attemptsInFlight.set(this.#inFlight);
    const now = performance.now();
    // As far above the middle as the lower bound is below it.
    const databaseNowAtMost = 2 * this.#options.clock.now() - this.#options.clock.nowAtLeast();
    for (const timer of started) {
      // The answer may have been on its way, or this process may have stood still, for any time; nothing says when it was
      // sent but the row itself. The question alone would do, and would make every start look old that waited for a lock.
      const startedAt = Math.min(now, Math.max(askedAt, now - (databaseNowAtMost - timer.started_at)));
      this.#inHand.set(timer.id, timer);
      run(timer, startedAt);
    }
  }

  async #startChunk(hints: Hint[], isFirst: boolean): Promise<Processed> {
    while (!this.#hasRoomFor(hints.length, isFirst)) {
      if (this.#isStopping) return 'left';
      const timer = setTimeout(() => this.#wakeWaiters(), ROOM_CHECK_INTERVAL_MS);
      await this.#waitForChange(isFirst);
      clearTimeout(timer);
    }
    if (hints.length === 0) return 'done';
    this.#reserved += hints.length;
    return new Promise((resolve, reject) => {
      const chunk = { isFirst, left: hints.length, isLeft: false, error: undefined, resolve, reject };
      const due = this.#early.hold(chunk, hints);
      if (due.length > 0) this.#startDue([{ chunk, hints: due }]);
    });
  }

  #startDue(parts: readonly DueHints<PendingChunk>[]): void {
    const { first = [], others = [] } = Object.groupBy(parts, ({ chunk }) => (chunk.isFirst ? 'first' : 'others'));
    if (first.length > 0) this.#firstStarts.add(...first);
    if (others.length > 0) this.#starts.add(...others);
  }

  async #startParts(parts: readonly DueHints<PendingChunk>[]): Promise<void> {
    const hints = parts.flatMap((part) => part.hints);
    let started: StartedTimer[];
    try {
      started = await this.#start(hints);
    } catch (error) {
      // One row that somebody has locked, or that Postgres does not take, is the matter of its own chunk.
      const isOfOnePart = !isDatabaseUnavailable(error) || isStatementTimeout(error);
      if (parts.length > 1 && isOfOnePart) await Promise.all(parts.map((part) => this.#startParts([part])));
      else await Promise.all(parts.map((part) => this.#fail(part, error)));
      return;
    }
    const startedIds = started.length === hints.length ? undefined : new Set(started.map((timer) => timer.id));
    await Promise.all(parts.map((part) => this.#endPart(part, startedIds)));
  }

  // `startedIds`: of all parts of the statement; undefined when all hints started.
  async #endPart(part: DueHints<PendingChunk>, startedIds: ReadonlySet<string> | undefined): Promise<void> {
    const missing = startedIds ? part.hints.filter((hint) => !startedIds.has(hint.id)) : [];
    try {
      if (missing.length > 0) await this.#startRest(missing);
    } catch (error) {
      await this.#fail(part, error);
      return;
    }
    this.#settle(part);
  }

  async #fail(part: DueHints<PendingChunk>, error: unknown): Promise<void> {
    const { chunk, hints } = part;
    if (isDatabaseUnavailable(error)) {
      // The chunk goes back to the queue: lost, it would be found again only seconds after Postgres is back.
      this.#options.logger.debug({ err: error, timers: hints.length }, 'could not start timers; trying again');
      await new Promise((resolve) => setTimeout(resolve, UNAVAILABLE_PAUSE_MS));
      chunk.isLeft = true;
    } else {
      chunk.error = error;
    }
    this.#settle(part);
  }

  #settle({ chunk, hints }: DueHints<PendingChunk>): void {
    this.#reserved -= hints.length;
    chunk.left -= hints.length;
    if (chunk.left === 0) {
      // A doubled hint is harmless, so the chunk goes back whole.
      if (chunk.isLeft) chunk.resolve('left');
      else if (chunk.error === undefined) chunk.resolve('done');
      else chunk.reject(chunk.error);
    }
    this.#wakeWaiters();
  }

  // Of hints that did not start, some need a place in a lane, some name attempts that were lost with their worker, and are begun
  // again; some came too early by the database's clock, because a scheduler misjudged it, and are started when they are due.
  async #startRest(missing: readonly Hint[]): Promise<void> {
    const { database, metrics } = this.#options;
    const laned = await this.#startLaned(missing);
    const again = await this.#start(missing, restartTimers);
    const early = await readEarlyHints(database.hot, missing);
    metrics.hintsEarly.inc(early.length);
    let late = 0;
    if (early.length > 0) {
      const waitMs = Math.ceil(Math.max(...early.map((hint) => hint.waitMs))) + 1;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      const started = await this.#start(early);
      late = started.length;
      if (late < early.length) late += await this.#startLaned(early);
    }
    metrics.hintsDropped.inc(Math.max(0, missing.length - laned - again.length - late));
  }

  /** Returns how many of the hints are dealt with: started, or waiting for their turn. */
  async #startLaned(hints: readonly Hint[]): Promise<number> {
    const askedAt = performance.now();
    const { started, waiting } = await this.#options.lanes.start(hints);
    this.#take(started, askedAt);
    return started.length + waiting;
  }

  async #start(hints: readonly Hint[], startRows: typeof restartTimers = startTimers): Promise<StartedTimer[]> {
    const { database, clock, leaseMarginMs, metrics } = this.#options;
    const sentAt = readMonotonicMs();
    const askedAt = performance.now();
    // failpoint: worker.starting
    const started = await startRows(database.relaxed, hints, TIMEOUT_MS_DEFAULT, leaseMarginMs);
    // failpoint: worker.started
    const receivedAt = readMonotonicMs();
    metrics.startSeconds.observe((receivedAt - sentAt) / 1000);
    if (started.length > 0) clock.observe(sentAt, started[0]!.started_at, receivedAt);
    metrics.startChunkTimers.observe(hints.length);
    this.#take(started, askedAt);
    return started;
  }

  // What comes before a tenant's backlog must not wait for that tenant's origin either.
  #hasRoomFor(count: number, isFirst: boolean): boolean {
    const { attemptsMax, isBrieflyFull } = this.#options;
    const ofQueue = this.#inFlight - this.#takenOver.size + this.#reserved + count;
    const all = this.#inFlight + this.#reserved + this.#reservedForTasks + count;
    const hasRoom = ofQueue <= countPlacesOfOneSource(attemptsMax) && all <= attemptsMax;
    return hasRoom && (isFirst || !isBrieflyFull());
  }

  // What goes first gets what room there is before the others look.
  #waitForChange(isFirst = false): Promise<void> {
    return new Promise((resolve) => {
      if (isFirst) this.#waiters.unshift(resolve);
      else this.#waiters.push(resolve);
    });
  }

  #wakeWaiters(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}
