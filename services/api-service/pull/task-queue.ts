import {
  asTenant,
  giveUpLost,
  hold,
  LEASES_PER_STATEMENT_MAX,
  type LeasedTimer,
  type LeaseSlot,
  leaseTimers,
  type Outcome,
  postpone,
  readMonotonicMs,
  readNextLease,
  reletTimers,
  type StartedTimer,
} from '@punctual/database';
import { LOST_IN_A_ROW_MAX, PLACES_PER_PLAIN_ONE } from '@punctual/domain';
import type { ApiContext } from '../context.ts';
import { giveBackTasks, UNDELIVERED_PAUSE_MS } from './give-back-tasks.ts';
import { findHeldTasks, listTaskGates } from './held-tasks.ts';
import { leaseInLanes } from './lane-leases.ts';
import { writeOutcomes } from './write-outcomes.ts';

/** Somebody who wants tasks. */
export interface LeaseWish {
  workerId: string;
  tasksMax: number;
  leaseMs: number;
  /** How long to wait for the first task (ms). */
  waitMs: number;
  /** Aborted when nobody is there any more to take an answer. */
  signal: AbortSignal;
}

/**
 * How often a queue is looked at from its beginning (ms), while it is leased from: for leases that lapsed, and rows that were
 * committed late. In between one looks from where nothing was left, and so need not pass what is under way or has gone.
 */
const DEEP_INTERVAL_MS = 1_000;
/** A row may be committed this long after the statement that set its wake time (ms); later ones are found by a deep look. */
const LATE_COMMIT_MS = 15_000;
/** Before another look at a queue in which somebody else has locked what is due (ms). */
const LOCKED_PAUSE_MS = 200;
/** Between two questions when the next task will be due (ms): what comes sooner is announced. */
const NEXT_LOOK_INTERVAL_MS = 1_000;

interface Waiting {
  wish: LeaseWish;
  resolve: (tasks: StartedTimer[]) => void;
  reject: (error: unknown) => void;
  timer: NodeJS.Timeout | undefined;
  /** Its time is over, or nobody is there any more: it takes what a lease under way brings, and waits no longer. */
  isOver: boolean;
}

export interface TaskQueueOptions {
  context: Pick<ApiContext, 'database' | 'clock' | 'workflowVersions' | 'metrics' | 'logger'>;
  tenantId: string;
  queue: string;
  /** How long to trust that whatever comes is announced (ms). */
  readLookMaxMs: () => number;
}

/**
 * One tenant's queue, as this api sees it: who waits for tasks, in order of arrival. However many wait, one statement at a time
 * leases for all of them, and none is sent but when somebody comes, something is announced, or a task or a lease that was
 * seen comes due. Killed, it leaves leases that nobody was told of, which end.
 */
export class TaskQueue {
  readonly #options: TaskQueueOptions;
  #waiting: Waiting[] = [];
  #isLeasing = false;
  /** Somebody came, or something was announced, while a lease was under way. */
  #isHinted = false;
  /** Nothing is left that wakes before it, as far as is known (epoch ms). */
  #floor = 0;
  #deepAt = Number.NEGATIVE_INFINITY;
  /** Slots for which something was looked for so far; from somewhere on, as this queue may be forgotten between any two. */
  #slots = Math.floor(Math.random() * PLACES_PER_PLAIN_ONE);
  #lookedAt = Number.NEGATIVE_INFINITY;
  #alarm: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: TaskQueueOptions) {
    this.#options = options;
  }

  get isIdle(): boolean {
    return this.#waiting.length === 0 && !this.#isLeasing;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Resolves with tasks, or with none when the time is over. Rejects when the database can not be asked. */
  lease(wish: LeaseWish): Promise<StartedTimer[]> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        wish,
        resolve,
        reject,
        timer: undefined,
        isOver: wish.waitMs === 0 || this.#isStopped,
      };
      if (!waiting.isOver) {
        waiting.timer = setTimeout(() => this.#end(waiting), wish.waitMs);
        wish.signal.addEventListener('abort', () => this.#end(waiting), { once: true });
      }
      // Where others wait already there is nothing; what comes is announced.
      const isKnownEmpty = !waiting.isOver && this.#waiting.length > 0 && !this.#isLeasing;
      this.#waiting.push(waiting);
      if (!isKnownEmpty) void this.#serve();
    });
  }

  /** There may be something to lease. */
  hint(): void {
    if (this.#waiting.length > 0) void this.#serve();
  }

  /** Ends all waits. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#alarm);
    for (const waiting of [...this.#waiting]) this.#end(waiting);
  }

  #end(waiting: Waiting): void {
    waiting.isOver = true;
    // Else the lease under way decides.
    if (!this.#isLeasing) this.#settle(waiting, []);
  }

  #settle(waiting: Waiting, tasks: StartedTimer[]): void {
    clearTimeout(waiting.timer);
    this.#waiting = this.#waiting.filter((other) => other !== waiting);
    if (this.#waiting.length === 0) clearTimeout(this.#alarm);
    waiting.resolve(tasks);
  }

  async #serve(): Promise<void> {
    this.#isHinted = true;
    if (this.#isLeasing) return;
    this.#isLeasing = true;
    clearTimeout(this.#alarm);
    let hasMore = false;
    while (this.#waiting.length > 0 && (this.#isHinted || hasMore)) {
      this.#isHinted = false;
      hasMore = await this.#leaseOnce();
    }
    this.#isLeasing = false;
    for (const waiting of this.#waiting.filter(({ isOver }) => isOver)) this.#settle(waiting, []);
    if (this.#waiting.length > 0) void this.#planLook();
  }

  // One statement for as many as it can serve. Returns whether there may be more.
  async #leaseOnce(): Promise<boolean> {
    const slots: (LeaseSlot & { waiting: Waiting })[] = [];
    const served = new Set<Waiting>();
    for (const waiting of this.#waiting) {
      const { workerId, leaseMs, tasksMax } = waiting.wish;
      const room = LEASES_PER_STATEMENT_MAX - slots.length;
      if (room === 0) break;
      if (waiting.wish.signal.aborted) continue;
      for (let count = Math.min(room, tasksMax); count > 0; count -= 1) slots.push({ workerId, leaseMs, waiting });
      served.add(waiting);
    }
    if (slots.length === 0) return false;
    const isWhole = served.size === this.#waiting.length;
    try {
      const { tasks: leased, hasMore } = await this.#lease(slots);
      const bySlot = Map.groupBy(leased, ({ slot }) => slots[slot]!.waiting);
      for (const [waiting, tasks] of bySlot) this.#deliver(waiting, tasks);
      for (const waiting of served) if (waiting.isOver && !bySlot.has(waiting)) this.#settle(waiting, []);
      return !isWhole || hasMore || leased.length === slots.length;
    } catch (error) {
      for (const waiting of served) {
        clearTimeout(waiting.timer);
        waiting.reject(error);
      }
      this.#waiting = this.#waiting.filter((waiting) => !served.has(waiting));
      return false;
    }
  }

  // `hasMore`: some of those that were found have to wait for their turn, and there may be others behind them.
  async #lease(slots: readonly LeaseSlot[]): Promise<{ tasks: LeasedTimer[]; hasMore: boolean }> {
    const { context, tenantId, queue } = this.#options;
    const { hot } = asTenant(context.database, tenantId);
    const now = readMonotonicMs();
    const isDeep = now - this.#deepAt >= DEEP_INTERVAL_MS;
    if (isDeep) this.#deepAt = now;
    const askedAt = context.clock.now();
    const from = isDeep ? 0 : this.#floor;
    const raisedMax = this.#countRaisedSlots(slots.length);
    const { leased, lapsed, laned } = await leaseTimers(hot, tenantId, queue, from, slots, raisedMax);
    const isFull = leased.length + lapsed.length + laned.length === slots.length;
    // What was taken by its priority says nothing of those before it.
    const inTurn = leased.filter(({ is_raised }) => !is_raised);
    const reached = inTurn.reduce((latest, { wake_at }) => Math.max(latest, wake_at), isDeep ? 0 : this.#floor);
    const last = isFull ? reached : askedAt;
    this.#floor = Math.floor(Math.min(last, askedAt - LATE_COMMIT_MS));
    const taken: LeasedTimer[] = [...leased];
    try {
      if (laned.length > 0) taken.push(...(await leaseInLanes(hot, tenantId, laned, slots)));
      if (lapsed.length > 0) {
        const again = lapsed.map((timer) => ({ ...timer, ...slots[timer.slot]! }));
        taken.push(...(await reletTimers(hot, tenantId, again)));
      }
      // In order of their due times, which their slots are in; the statements return them as they please.
      const inOrder = taken.toSorted((a, b) => a.slot - b.slot);
      return { tasks: await this.#keepWanted(inOrder), hasMore: isFull && laned.length > 0 };
    } catch (error) {
      giveBackTasks(context, tenantId, taken, UNDELIVERED_PAUSE_MS);
      throw error;
    }
  }

  // Of the queue's slots, counted through, every fourth goes by due time alone.
  #countRaisedSlots(count: number): number {
    const begun = this.#slots;
    this.#slots = begun + count;
    const inTurn = Math.floor((begun + count) / PLACES_PER_PLAIN_ONE) - Math.floor(begun / PLACES_PER_PLAIN_ONE);
    return count - inTurn;
  }

  // Nothing is handed out of a run that was cancelled, nor what a gate holds back, nor what kills whoever takes it.
  async #keepWanted(timers: readonly LeasedTimer[]): Promise<LeasedTimer[]> {
    const { context, tenantId, queue } = this.#options;
    const held = await findHeldTasks(context, tenantId, queue, timers);
    const outcomes: Outcome[] = [];
    const wanted = timers.filter((timer) => {
      if (timer.lost > LOST_IN_A_ROW_MAX) outcomes.push(giveUpLost(timer));
      else if (timer.run_status === 'cancelled') outcomes.push(postpone(timer, 0));
      else if (held.has(timer) || timer.run_status === 'paused')
        outcomes.push(hold(timer, listTaskGates(tenantId, queue, timer)));
      else return true;
      return false;
    });
    this.#write(outcomes);
    return wanted;
  }

  #deliver(waiting: Waiting, tasks: LeasedTimer[]): void {
    const { metrics } = this.#options.context;
    this.#settle(waiting, tasks);
    metrics.tasksLeased.inc(tasks.length);
    if (waiting.wish.signal.aborted) {
      // Nobody is there to do them: others get them at once, and the attempts do not count.
      this.#write(tasks.map((timer) => postpone(timer, 0)));
      return;
    }
    for (const { started_at, wake_at } of tasks) metrics.taskLatenessSeconds.observe((started_at - wake_at) / 1000);
  }

  // What can not be written now comes back when its lease ends.
  #write(outcomes: readonly Outcome[]): void {
    if (outcomes.length === 0) return;
    const { context, tenantId } = this.#options;
    writeOutcomes(context, tenantId, outcomes).then(
      () => this.hint(),
      (error: unknown) => context.logger.debug({ err: error }, 'tasks could not be given back; their leases will end'),
    );
  }

  // Sets the alarm for the next instant at which something may be due that nobody announces: a lease that ends.
  async #planLook(): Promise<void> {
    const { context, tenantId, queue, readLookMaxMs } = this.#options;
    const ring = (inMs: number, look: () => void) => {
      clearTimeout(this.#alarm);
      if (this.#waiting.length > 0 && !this.#isLeasing && !this.#isStopped) this.#alarm = setTimeout(look, inMs);
    };
    const serve = () => {
      this.#deepAt = Number.NEGATIVE_INFINITY;
      void this.#serve();
    };
    const sinceLook = readMonotonicMs() - this.#lookedAt;
    if (sinceLook < NEXT_LOOK_INTERVAL_MS) {
      ring(NEXT_LOOK_INTERVAL_MS - sinceLook, () => void this.#planLook());
      return;
    }
    this.#lookedAt = readMonotonicMs();
    let waitMs = readLookMaxMs();
    try {
      const { at, serverAt } = await readNextLease(asTenant(context.database, tenantId).hot, tenantId, queue);
      waitMs = Math.min(waitMs, at > serverAt ? Math.ceil(at - context.clock.nowAtLeast()) : LOCKED_PAUSE_MS);
    } catch (error) {
      context.logger.debug({ err: error }, 'could not look when the next task is due; looking again later');
    }
    ring(Math.max(1, waitMs), serve);
  }
}
