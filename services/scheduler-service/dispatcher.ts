import type { DatabaseClock, DueTimer } from '@punctual/database';
import { PLACES_PER_PLAIN_ONE } from '@punctual/domain';
import { type ChunkQueue, type Hint, TIMERS_PER_CHUNK_MAX } from '@punctual/queue';
import { Agenda, type Logger, type Role } from '@punctual/runtime';
import type { SchedulerMetrics } from './metrics.ts';

export interface DispatcherOptions {
  queue: Pick<ChunkQueue, 'dispatch' | 'countWaiting'>;
  clock: DatabaseClock;
  /** What comes due within it after the timers that are handed over travels with them (ms). */
  windowMs: number;
  /** No more is read while so many chunks wait. */
  queueChunksMax: number;
  /** Told of hints that did not reach the queue. */
  onLost: (hints: readonly Hint[]) => void;
  /** Told of each hand-over, which settles with the promise; only where something is traced. */
  onHandOver?: ((hints: readonly Hint[], handedOver: Promise<unknown>) => void) | undefined;
  metrics: SchedulerMetrics;
  logger: Logger;
}

/**
 * A timer is handed over so long before it is due (ms): about what its way through the queue takes when the machine is
 * busy. The worker waits until it is due.
 */
export const HAND_OVER_EARLY_MS = 15;
/** Timers that may wait in memory: the look-ahead at some 100,000 due a second. */
const HELD_MAX = 20_000;
/** Hand-overs under way at once: enough to hide a round trip, few enough that an outage holds little. */
const HANDOVERS_MAX = 4;
/** Timers in one hand-over, which is one round trip. */
const HANDOVER_TIMERS_MAX = 1_024;
/** What goes before all that waits may fill the queue, and memory, to this multiple of what else may wait there. */
const FIRST_ROOM = 2;
/** And because of its priority to this one: the rest is for other tenants. */
const RAISED_ROOM = 1.5;
/**
 * While reading is behind, and for so long afterwards (ms), a timer that is not of the backlog and at most so late (ms)
 * goes before what waits in the queue, when that is at least so many chunks: it would wait some seconds for its turn.
 * No longer, or new timers could keep what waits from ever getting its turn.
 */
const OVERTAKING_MS = 5_000;
const OVERTAKING_LATE_MAX_MS = 250;
const OVERTAKEN_CHUNKS_MIN = 16;
/**
 * Timers that may go before all that wait because of their priority before any goes in its turn. Each that does lets as many more
 * go before: the queue's places are not theirs alone.
 */
const RAISED_MAX = 1_024;
const RAISED_PER_PLAIN_ONE = PLACES_PER_PLAIN_ONE - 1;
/** Longest wait of the alarm (ms): a clock may be set meanwhile. */
const ALARM_MAX_MS = 1_000;
/** Between two questions to the queue how deep it is (ms). */
const DEPTH_INTERVAL_MS = 100;
/** After a hand-over that failed (ms): the queue is away, and asking faster does not bring it back. */
const FAILURE_PAUSE_MS = 250;

interface HeldTimer {
  timer: DueTimer;
  isBacklog: boolean;
}

/**
 * Holds timers until shortly before they are due by the database's clock, then hands them to the queue in chunks, and
 * with them what comes due soon after: a job of the queue costs three processes the same, however little it carries.
 *
 * A hand-over is a hint: lost or doubled, it harms nothing but punctuality, and what is held here when the process
 * dies is read again by the partition's next owner.
 */
export class Dispatcher implements Role {
  readonly #options: DispatcherOptions;
  /** By their due times. */
  readonly #agenda = new Agenda<HeldTimer>();
  #heldCount = 0;
  #ready: DueTimer[] = [];
  #readyFirst: DueTimer[] = [];
  #readyRaised: DueTimer[] = [];
  /** Timers that may still go before the others because of their priority. */
  #raisedLeft = RAISED_MAX;
  #handovers = 0;
  /** Timers in the hand-overs under way. */
  #handingOver = 0;
  #chunksWaiting = 0;
  #behindAt = Number.NEGATIVE_INFINITY;
  #failedAt = Number.NEGATIVE_INFINITY;
  #wakeTimer: NodeJS.Timeout | undefined;
  #depthTimer: NodeJS.Timeout | undefined;
  #depthQuestion: Promise<void> | undefined;
  #isStopped = true;
  readonly #underWay = new Set<Promise<void>>();

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  start(): void {
    if (!this.#isStopped) return;
    this.#isStopped = false;
    this.#askDepth();
  }

  /** What is held stays where it is, in the database; only hand-overs under way are awaited. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#wakeTimer);
    clearTimeout(this.#depthTimer);
    await this.#depthQuestion;
    await Promise.all(this.#underWay);
    this.#agenda.clear();
    this.#ready = [];
    this.#readyFirst = [];
    this.#readyRaised = [];
    this.#heldCount = 0;
  }

  /** Whether more may be read: the queue is not too deep, reachable, and memory has room. */
  get hasRoom(): boolean {
    const ready = this.#ready.length + this.#readyFirst.length + this.#readyRaised.length;
    return this.#heldCount < HELD_MAX && this.#canTake(ready + this.#handingOver, 1);
  }

  /** Hands timers that are due to the queue at once, before all that wait there. */
  handOverFirst(timers: readonly DueTimer[]): void {
    if (timers.length === 0 || this.#isStopped) return;
    this.#heldCount += timers.length;
    this.#beginHandOver(timers, 'first');
  }

  /** How many may go before all that wait because of their priority. */
  get raisedRoom(): number {
    return this.#canTake(this.#readyRaised.length + this.#handingOver, RAISED_ROOM) ? this.#raisedLeft : 0;
  }

  /** Hands timers that are due to the queue as soon as can be, before all that wait there: `raisedRoom` at most. */
  handOverRaised(timers: readonly DueTimer[]): void {
    if (timers.length === 0 || this.#isStopped) return;
    this.#heldCount += timers.length;
    this.#raisedLeft -= timers.length;
    this.#readyRaised.push(...timers);
    this.#release();
  }

  /** Whether some may be handed over before those that wait, although there is no room for more behind them. */
  get hasRoomFirst(): boolean {
    const hasMemory = this.#heldCount < FIRST_ROOM * HELD_MAX;
    return hasMemory && this.#handovers < HANDOVERS_MAX && this.#canTake(0, FIRST_ROOM);
  }

  /** Whether the queue is reachable, and with the timers to come still not so full as this multiple of its limit. */
  #canTake(timersToCome: number, room: number): boolean {
    const chunks = this.#chunksWaiting + timersToCome / TIMERS_PER_CHUNK_MAX;
    return chunks < room * this.#options.queueChunksMax && performance.now() - this.#failedAt > FAILURE_PAUSE_MS;
  }

  /** Takes timers that are due, or will be soon. `isBacklog`: more is due behind them than a read fetches. */
  hold(timers: readonly DueTimer[], isBacklog = false): void {
    if (isBacklog) this.#behindAt = performance.now();
    for (const timer of timers) this.#agenda.add(timer.wakeAt, { timer, isBacklog });
    this.#heldCount += timers.length;
    this.#release();
  }

  /** Hands over what is due, or soon will be, and waits for the end of all hand-overs. */
  async runOnce(): Promise<void> {
    this.#release();
    await Promise.all(this.#underWay);
  }

  // Moves what is due soon to `ready`, hands over, and sets the alarm for what is due next.
  #release(): void {
    const { clock, windowMs, metrics } = this.#options;
    clearTimeout(this.#wakeTimer);
    const soon = clock.nowAtLeast() + HAND_OVER_EARLY_MS;
    if (this.#agenda.findNext() <= soon) this.#makeReady(soon + windowMs);
    this.#handOver();
    metrics.timersHeld.set(this.#heldCount);
    if (this.#agenda.size > 0 && !this.#isStopped) {
      // Node rounds waits down to whole milliseconds: up instead, so that the alarm never rings in vain.
      const waitMs = Math.ceil(this.#agenda.findNext() - soon);
      this.#wakeTimer = setTimeout(() => this.#release(), Math.min(ALARM_MAX_MS, Math.max(1, waitMs)));
    }
  }

  #makeReady(until: number): void {
    const isOvertaking =
      performance.now() - this.#behindAt < OVERTAKING_MS && this.#chunksWaiting >= OVERTAKEN_CHUNKS_MIN;
    const onTimeFrom = this.#options.clock.now() - OVERTAKING_LATE_MAX_MS;
    const taken = this.#agenda.take(until);
    const isCrowded = this.#chunksWaiting > 0 || this.#ready.length + taken.length > TIMERS_PER_CHUNK_MAX;
    for (const { timer, isBacklog } of taken) {
      if (timer.priority > 0 && isCrowded && this.#raisedLeft > 0) {
        this.#raisedLeft -= 1;
        this.#readyRaised.push(timer);
      } else if (isOvertaking && !isBacklog && timer.wakeAt >= onTimeFrom) this.#readyFirst.push(timer);
      else this.#ready.push(timer);
    }
  }

  // What comes while a hand-over is under way waits for its end, and travels together, unless it fills a chunk.
  #handOver(): void {
    const isWorthwhile = () => this.#handovers === 0 || this.#ready.length >= TIMERS_PER_CHUNK_MAX;
    // One more than others may have under way: it does not wait for the end of theirs.
    if (this.#readyRaised.length > 0 && this.#handovers <= HANDOVERS_MAX) {
      const raised = this.#readyRaised.toSorted((a, b) => b.priority - a.priority);
      this.#readyRaised = raised.slice(HANDOVER_TIMERS_MAX);
      this.#beginHandOver(raised.slice(0, HANDOVER_TIMERS_MAX), 'raised');
    }
    // Behind them, so that it is before them in the queue: what is there is often another tenant's.
    if (this.#readyFirst.length > 0 && this.#handovers < HANDOVERS_MAX)
      this.#beginHandOver(this.#readyFirst.splice(0, HANDOVER_TIMERS_MAX), 'first');
    while (this.#ready.length > 0 && this.#handovers < HANDOVERS_MAX && isWorthwhile()) {
      this.#beginHandOver(this.#ready.splice(0, HANDOVER_TIMERS_MAX), 'last');
    }
  }

  #beginHandOver(timers: readonly DueTimer[], manner: 'last' | 'first' | 'raised'): void {
    const { timersAheadOfBacklog, timersRaised } = this.#options.metrics;
    if (manner === 'first') timersAheadOfBacklog.inc(timers.length);
    else if (manner === 'raised') timersRaised.inc(timers.length);
    else this.#raisedLeft = Math.min(RAISED_MAX, this.#raisedLeft + RAISED_PER_PLAIN_ONE * timers.length);
    this.#handovers += 1;
    this.#handingOver += timers.length;
    const handover = this.#dispatch(timers, manner === 'last' ? 'last' : 'first').finally(() => {
      this.#underWay.delete(handover);
      this.#handovers -= 1;
      this.#handingOver -= timers.length;
      this.#heldCount -= timers.length;
      if (!this.#isStopped) this.#release();
    });
    this.#underWay.add(handover);
  }

  async #dispatch(timers: readonly DueTimer[], place: 'last' | 'first'): Promise<void> {
    const { queue, clock, metrics, logger, onLost, onHandOver } = this.#options;
    try {
      // failpoint: scheduler.dispatching
      const handedOver = queue.dispatch(timers, place);
      onHandOver?.(timers, handedOver);
      const { chunks, lost } = await handedOver;
      // failpoint: scheduler.dispatched
      this.#chunksWaiting += chunks;
      if (lost.length > 0) {
        // Of several queues, some failed: the others go on.
        metrics.dispatchFailures.inc();
        onLost(lost);
        logger.debug({ timers: lost.length }, 'a part of a hand-over failed; its timers are read again');
      }
      const isLost = new Set(lost);
      const now = clock.now();
      for (const timer of timers) {
        if (!isLost.has(timer)) metrics.dispatchLatenessSeconds.observe(Math.max(0, now - timer.overdueFrom) / 1000);
      }
      metrics.timersDispatched.inc(timers.length - lost.length);
      metrics.handoverTimers.observe(timers.length);
    } catch (error) {
      this.#failedAt = performance.now();
      metrics.dispatchFailures.inc();
      onLost(timers);
      logger.debug({ err: error, timers: timers.length }, 'a hand-over to the queue failed; its timers are read again');
    }
  }

  #askDepth(): void {
    this.#depthQuestion = this.#options.queue
      .countWaiting()
      .then((count) => {
        this.#chunksWaiting = count;
        this.#options.metrics.queueChunksWaiting.set(count);
      })
      .catch(() => {
        // Unknown depth: as good as full. Health and the hand-overs' own log line tell that the queue is away.
        this.#failedAt = performance.now();
      })
      .finally(() => {
        if (!this.#isStopped) this.#depthTimer = setTimeout(() => this.#askDepth(), DEPTH_INTERVAL_MS);
      });
  }
}
