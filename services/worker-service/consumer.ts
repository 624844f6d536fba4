import {
  type Database,
  isDatabaseUnavailable,
  readEarlyHints,
  restartTimers,
  type StartedTimer,
  startTimers,
} from '@punctual/database';
import { TIMEOUT_MS_DEFAULT } from '@punctual/domain';
import { ChunkConsumer, type Hint, type Processed, type QueueConnection } from '@punctual/queue';
import type { Logger } from '@punctual/runtime';
import { countQueuePlaces } from './config.ts';
import type { WorkerMetrics } from './metrics.ts';
import { StatementBatcher } from './statement-batcher.ts';

export interface ConsumerOptions {
  database: Database;
  connection: QueueConnection;
  chunksAtOnce: number;
  attemptsMax: number;
  leaseMarginMs: number;
  /** Whether it is better to wait a moment than to start more: some origin's short queue is just being worked off. */
  isBrieflyFull: () => boolean;
  /** Begins the attempt of a timer that was started; must not throw. */
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

/** Timers that one statement starts. */
const STARTS_PER_STATEMENT_MAX = 256;
/** Statements under way at once that start timers and do not wait for somebody's lock. */
const QUICK_STARTS_MAX = 2;

/** A chunk that there is room for. */
interface WaitingChunk {
  hints: readonly Hint[];
  resolve: (processed: Processed) => void;
  reject: (error: unknown) => void;
}

/**
 * Takes chunks of hints and starts their timers with one conditional write a chunk, as many as there is room for. The
 * queue's job ends with that write, so slow endpoints hold no job. Killed before the write, the hints are found again
 * by a scheduler; after it, when the leases end.
 */
export class Consumer {
  readonly #options: ConsumerOptions;
  readonly #chunks: ChunkConsumer;
  readonly #starts: StatementBatcher<WaitingChunk>;
  #inFlight = 0;
  /** Room promised to starts whose answer is awaited. */
  #reserved = 0;
  #waiters: (() => void)[] = [];
  #isStopping = false;

  constructor(options: ConsumerOptions) {
    this.#options = options;
    this.#starts = new StatementBatcher({
      run: (chunks) => this.#startChunks(chunks),
      windowMs: 0,
      weigh: (chunk) => chunk.hints.length,
      weightMax: STARTS_PER_STATEMENT_MAX,
      quickMax: QUICK_STARTS_MAX,
      batchesMax: options.chunksAtOnce,
    });
    this.#chunks = new ChunkConsumer(
      options.connection,
      options.chunksAtOnce,
      (hints, isFirst) => this.#startChunk(hints, isFirst),
      options.onQueueError,
    );
  }

  start(): void {
    this.#chunks.start((error) => this.#options.logger.error({ err: error }, 'the queue worker ended'));
  }

  get isRunning(): boolean {
    return this.#chunks.isRunning;
  }

  /** Timers started here whose outcome is not yet written. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Fetches no more and waits for the starts under way; chunks that wait for room go back to the queue, to others. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#wakeWaiters();
    await this.#chunks.stop();
  }

  /** Resolves when every timer that was started here has its outcome written. */
  async waitUntilIdle(): Promise<void> {
    while (this.#inFlight > 0) await this.#waitForChange();
  }

  /** Begins the attempts of timers that were started just now. */
  take(started: readonly StartedTimer[]): void {
    const { run, metrics } = this.#options;
    const startedAt = performance.now();
    this.#inFlight += started.length;
    metrics.attemptsInFlight.set(this.#inFlight);
    for (const timer of started) run(timer, startedAt);
  }

  /** How many more timers may be started past the queue, now; undefined: none, since it is stopping. */
  countSpare(): number | undefined {
    if (this.#isStopping) return undefined;
    return Math.max(0, this.#options.attemptsMax - this.#inFlight - this.#reserved);
  }

  /** Makes room: `count` outcomes are written. */
  release(count: number): void {
    this.#inFlight -= count;
    this.#options.metrics.attemptsInFlight.set(this.#inFlight);
    this.#wakeWaiters();
  }

  async #startChunk(hints: Hint[], isFirst: boolean): Promise<Processed> {
    while (!this.#hasRoomFor(hints.length, isFirst)) {
      if (this.#isStopping) return 'left';
      const timer = setTimeout(() => this.#wakeWaiters(), ROOM_CHECK_INTERVAL_MS);
      await this.#waitForChange();
      clearTimeout(timer);
    }
    this.#reserved += hints.length;
    return new Promise((resolve, reject) => this.#starts.add({ hints, resolve, reject }));
  }

  // Whole chunks share a statement, and its fate.
  async #startChunks(chunks: readonly WaitingChunk[]): Promise<void> {
    const hints = chunks.flatMap((chunk) => chunk.hints);
    try {
      const started = await this.#start(hints);
      if (started.length < hints.length) await this.#startRest(hints, started);
      for (const chunk of chunks) chunk.resolve('done');
    } catch (error) {
      if (!isDatabaseUnavailable(error)) {
        for (const chunk of chunks) chunk.reject(error);
        return;
      }
      // The chunks go back to the queue: lost, they would be found again only seconds after Postgres is back.
      this.#options.logger.debug({ err: error, timers: hints.length }, 'could not start timers; trying again');
      await new Promise((resolve) => setTimeout(resolve, UNAVAILABLE_PAUSE_MS));
      for (const chunk of chunks) chunk.resolve('left');
    } finally {
      this.#reserved -= hints.length;
      this.#wakeWaiters();
    }
  }

  // Of hints that did not start, some name attempts that were lost with their worker, and are begun again; some came too
  // early by the database's clock, because a scheduler misjudged it, and are started when they are due.
  async #startRest(hints: readonly Hint[], started: readonly StartedTimer[]): Promise<void> {
    const { database, metrics } = this.#options;
    const startedIds = new Set(started.map((timer) => timer.id));
    const missing = hints.filter((hint) => !startedIds.has(hint.id));
    const again = await this.#start(missing, restartTimers);
    const early = await readEarlyHints(database.hot, missing);
    metrics.hintsEarly.inc(early.length);
    let late: StartedTimer[] = [];
    if (early.length > 0) {
      const waitMs = Math.ceil(Math.max(...early.map((hint) => hint.waitMs))) + 1;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      late = await this.#start(early);
    }
    metrics.hintsDropped.inc(missing.length - again.length - late.length);
  }

  async #start(hints: readonly Hint[], startRows: typeof restartTimers = startTimers): Promise<StartedTimer[]> {
    const { database, leaseMarginMs, metrics } = this.#options;
    const beganAt = performance.now();
    const started = await startRows(database.relaxed, hints, TIMEOUT_MS_DEFAULT, leaseMarginMs);
    metrics.startSeconds.observe((performance.now() - beganAt) / 1000);
    metrics.startChunkTimers.observe(hints.length);
    this.take(started);
    return started;
  }

  // What comes before a tenant's backlog must not wait for that tenant's origin either.
  #hasRoomFor(count: number, isFirst: boolean): boolean {
    const { attemptsMax, isBrieflyFull } = this.#options;
    return this.#inFlight + this.#reserved + count <= countQueuePlaces(attemptsMax) && (isFirst || !isBrieflyFull());
  }

  #waitForChange(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  #wakeWaiters(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}
