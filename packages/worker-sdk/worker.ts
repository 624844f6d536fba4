import { randomUUID } from 'node:crypto';
import { Backoff } from './backoff.ts';
import { Client, RequestError } from './client.ts';
import { FinalError, type Handler, type LeasedTask, type Task } from './task.ts';
import { TaskEnds } from './task-ends.ts';

export interface PullWorkerOptions {
  /** Where Punctual's interface is, for example `http://127.0.0.1:8088`. */
  url: string;
  apiKey?: string;
  /**
   * Names this worker, the same after a restart: then it gets back what it was doing. No two that run at once may share it.
   * Absent: a name that nobody else has; what it was doing goes to others when its leases end.
   */
  workerId?: string;
  /** How long a task is its own without a sign of life (s). Longer ones are kept by heartbeats. */
  leaseSeconds?: number;
  /** How long one request waits for a task (s). */
  waitSeconds?: number;
  /** Told of everything that goes wrong: requests without an answer, leases that were lost, handlers that threw. */
  onError?: (error: unknown, task?: Pick<Task, 'id' | 'queue'>) => void;
}

export interface QueueOptions {
  /** Tasks of the queue in hand at once. */
  concurrency?: number;
}

const LEASE_SECONDS_DEFAULT = 30;
const WAIT_SECONDS_DEFAULT = 30;
const CONCURRENCY_DEFAULT = 10;
/** What one request may ask for. */
const TASKS_PER_LEASE_MAX = 500;
/** Heartbeats in the time of a lease: two may be lost. */
const HEARTBEATS_PER_LEASE = 3;
/** More is asked for when so much of the concurrency is free (share), or nothing is in hand: a request costs the same for many. */
const ASK_AT_FREE_SHARE = 0.25;
/** Tokens of ended tasks that are remembered: what may have ended while one answer was under way. */
const ENDED_MAX = 10_000;
/** Of a handler's error (characters). */
const ERROR_LENGTH_MAX = 4_000;

/**
 * Leases tasks from queues of Punctual, does them by the handlers, and tells how they went. It connects again for as long as
 * it runs. Killed, it leaves leases that end; started again under its name, it gets their tasks at once.
 */
export class PullWorker {
  readonly workerId: string;
  readonly #options: PullWorkerOptions;
  readonly #leaseSeconds: number;
  readonly #client: Client;
  readonly #ends: TaskEnds;
  readonly #queues = new Map<string, { handler: Handler; concurrency: number }>();
  /** Tokens of tasks in hand, and of those that ended lately: an answer that was long under way may name them once more. */
  readonly #held = new Set<string>();
  readonly #ended = new Set<string>();
  readonly #stopping = new AbortController();
  #lanes: Promise<void>[] = [];

  constructor(options: PullWorkerOptions) {
    this.#options = options;
    this.workerId = options.workerId ?? randomUUID();
    this.#leaseSeconds = options.leaseSeconds ?? LEASE_SECONDS_DEFAULT;
    this.#client = new Client({ url: options.url, apiKey: options.apiKey });
    this.#ends = new TaskEnds(this.#client);
  }

  /** Says what is done with the tasks of a queue. To be called before `start`. */
  handle(queue: string, handler: Handler, { concurrency = CONCURRENCY_DEFAULT }: QueueOptions = {}): this {
    if (this.#lanes.length > 0) throw new Error('The worker has started; handlers come before that.');
    this.#queues.set(queue, { handler, concurrency });
    return this;
  }

  /** Begins to lease. Never throws: what goes wrong is told to `onError`, and tried again. */
  start(): this {
    if (this.#lanes.length === 0) this.#lanes = [...this.#queues.keys()].map((queue) => this.#runLane(queue));
    return this;
  }

  /** Tasks in hand. */
  get inHand(): number {
    return this.#held.size;
  }

  /** Takes no more tasks and resolves when those in hand have ended and Punctual knows. Safe twice. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#lanes);
  }

  /** Stops at SIGTERM and SIGINT, so that a process that is told to end finishes what it began. */
  stopOnSignals(): this {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void this.stop());
    return this;
  }

  // One queue, for as long as the worker runs.
  async #runLane(queue: string): Promise<void> {
    const { concurrency } = this.#queues.get(queue)!;
    const { signal } = this.#stopping;
    const backoff = new Backoff();
    const running = new Set<Promise<void>>();
    const isFull = () => running.size > 0 && concurrency - running.size < Math.max(1, concurrency * ASK_AT_FREE_SHARE);
    let wake = () => {};
    // After a start and after every request without an answer there may be tasks that are ours, and that we know nothing of.
    let mustResume = true;
    while (!signal.aborted) {
      // Not a race among all that run: it would cost as many callbacks for each that ends.
      if (isFull()) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      try {
        const free = concurrency - running.size;
        const tasks = await this.#lease(queue, mustResume ? concurrency : free, mustResume);
        // All of it is known once it brings nothing that is new to us.
        const isNew = ({ leaseToken }: LeasedTask) => !this.#held.has(leaseToken) && !this.#ended.has(leaseToken);
        const fresh = tasks.filter(isNew);
        mustResume &&= fresh.length > 0;
        for (const task of fresh) {
          const run = this.#run(queue, task).finally(() => {
            running.delete(run);
            if (!isFull()) wake();
          });
          running.add(run);
        }
        backoff.succeed();
      } catch (error) {
        if (signal.aborted) break;
        mustResume = true;
        this.#tell(error);
        await backoff.wait(error, signal);
      }
    }
    await Promise.all(running);
  }

  async #lease(queue: string, maxTasks: number, resume: boolean): Promise<LeasedTask[]> {
    const { waitSeconds = WAIT_SECONDS_DEFAULT } = this.#options;
    const { tasks } = await this.#client.post<{ tasks: LeasedTask[] }>(
      `/v1/task-queues/${queue}/leases`,
      {
        workerId: this.workerId,
        maxTasks: Math.min(TASKS_PER_LEASE_MAX, maxTasks),
        leaseSeconds: this.#leaseSeconds,
        // While tasks run, more places become free; who waits long with few asks for few.
        waitSeconds: resume ? 0 : waitSeconds,
        ...(resume && { resume }),
      },
      { waitMs: waitSeconds * 1000, signal: this.#stopping.signal },
    );
    return tasks;
  }

  async #run(queue: string, task: LeasedTask): Promise<void> {
    const lost = new AbortController();
    this.#held.add(task.leaseToken);
    const heartbeats = this.#keep(queue, task, lost);
    try {
      const { leaseToken: _, ...shown } = task;
      let output: unknown;
      try {
        output = await this.#queues.get(queue)!.handler({ ...shown, queue, signal: lost.signal });
      } catch (error) {
        if (lost.signal.aborted) return;
        this.#tell(error, queue, task);
        const isFinal =
          (error as { isRetryable?: boolean } | undefined)?.isRetryable === false || error instanceof FinalError;
        const text = error instanceof Error ? error.message || error.name : String(error);
        const reason = text.slice(0, ERROR_LENGTH_MAX) || 'unknown';
        await this.#ends.fail(task, reason, !isFinal);
        return;
      }
      if (!lost.signal.aborted) await this.#ends.complete(task, output);
    } catch (error) {
      this.#tell(error, queue, task);
    } finally {
      clearInterval(heartbeats);
      this.#held.delete(task.leaseToken);
      this.#ended.add(task.leaseToken);
      if (this.#ended.size > ENDED_MAX) this.#ended.delete(this.#ended.values().next().value!);
    }
  }

  #keep(queue: string, task: LeasedTask, lost: AbortController): NodeJS.Timeout {
    return setInterval(
      () => {
        this.#ends.heartbeat(task, this.#leaseSeconds).catch((error: unknown) => {
          if (isLost(error)) lost.abort(error);
          this.#tell(error, queue, task);
        });
      },
      (this.#leaseSeconds * 1000) / HEARTBEATS_PER_LEASE,
    );
  }

  #tell(error: unknown, queue?: string, task?: LeasedTask): void {
    this.#options.onError?.(error, queue !== undefined && task ? { id: task.id, queue } : undefined);
  }
}

function isLost(error: unknown): boolean {
  return error instanceof RequestError && error.code === 'lease_lost';
}
