import { setTimeout as sleep } from 'node:timers/promises';
import type { Queue } from 'bullmq';
import { type OpenedQueue, openQueue, type QueueConnection } from './backend.ts';

/**
 * How long a caller waits for a backend that has not been reached since this end was opened (ms). Afterwards its own
 * clients tell at once when it is away; before, BullMQ would wait for it without limit.
 */
const FIRST_REACH_TIMEOUT_MS = 1_000;

/** How long BullMQ may take to close (ms): it would wait without limit for a backend that is away. */
const CLOSE_TIMEOUT_MS = 2_000;

/** Between two questions whether an end that is not well is well again (ms). */
const PROBE_INTERVAL_MS = 100;

/** The backend has not been reached since this end of the queue was opened. */
class QueueUnreachedError extends Error {
  readonly code = 'queue_unreached';
  readonly isRetryable = true;

  constructor() {
    super('The queue has not been reached yet.');
    this.name = 'QueueUnreachedError';
  }
}

/** The queue has not answered as soon as it should; it may still do what it was asked. */
class QueueSilentError extends Error {
  readonly code = 'queue_silent';
  readonly isRetryable = true;

  constructor(name: string, patienceMs: number) {
    super(`The queue ${name} has not answered within ${patienceMs} ms.`);
    this.name = 'QueueSilentError';
  }
}

/** The sending side of one of BullMQ's queues, opened anew as often as need be. */
export class QueueEnd {
  readonly name: string;
  /** Chunks that wait there, as far as is known: as last counted, and what its user has added since. */
  depth = 0;
  readonly #open: () => OpenedQueue;
  readonly #onError: (error: Error) => void;
  #opened: OpenedQueue;
  #reached: Promise<unknown>;
  #state: 'unreached' | 'reached' | 'failed' | 'closed' = 'unreached';
  #isWell = true;
  readonly #patienceMs: number | undefined;
  #probe: Promise<unknown> | undefined;
  #probedAt = Number.NEGATIVE_INFINITY;

  /**
   * With `patienceMs` a call ends by then, without an answer; without it a call takes as long as the backend's own time-out,
   * some seconds.
   */
  constructor(
    name: string,
    connection: QueueConnection,
    { onError, patienceMs }: { onError: (error: Error) => void; patienceMs?: number | undefined },
  ) {
    this.name = name;
    this.#patienceMs = patienceMs;
    this.#open = () => openQueue(name, connection);
    this.#onError = onError;
    this.#opened = this.#open();
    this.#reached = this.#watch();
  }

  /** Whether no call has failed, or gone without its answer, since the last one that was answered. */
  get isWell(): boolean {
    return this.#isWell;
  }

  /** Rejects when the backend can not be reached, or is silent, and as `call` does. */
  async call<T>(call: (queue: Queue) => Promise<T>): Promise<T> {
    const answer = this.#ask(call);
    const patienceMs = this.#patienceMs;
    if (patienceMs === undefined) return await answer;
    const silence = Promise.withResolvers<never>();
    const giveUp = () => {
      this.#isWell = false;
      silence.reject(new QueueSilentError(this.name, patienceMs));
    };
    let turn: NodeJS.Immediate | undefined;
    // An answer that came while this process itself was held up is taken before the immediate.
    const timer = setTimeout(() => {
      turn = setImmediate(giveUp);
    }, patienceMs);
    const forget = () => {
      clearTimeout(timer);
      clearImmediate(turn);
    };
    // It may come too late for this caller, and tells all the same whether the end is well.
    answer.then(forget, forget);
    return await Promise.race([answer, silence.promise]);
  }

  /** Counts the chunks that wait there. Rejects as `call` does. */
  async countWaiting(): Promise<number> {
    this.depth = await this.call((queue) => queue.getWaitingCount());
    return this.depth;
  }

  /** Finds out, unless that is under way, whether an end that is not well is well again. Nobody waits for it. */
  probe(): void {
    const now = performance.now();
    if (this.#isWell || this.#probe !== undefined || now - this.#probedAt < PROBE_INTERVAL_MS) return;
    this.#probedAt = now;
    this.#probe = this.#ask((queue) => queue.getWaitingCount()).then(
      (count) => {
        this.depth = count;
        this.#probe = undefined;
      },
      () => {
        this.#probe = undefined;
      },
    );
  }

  /** Rejects what still waits for an answer. Resolves whether or not the backend can be reached. */
  async close(): Promise<void> {
    this.#state = 'closed';
    await closeQueue(this.#opened);
  }

  async #ask<T>(call: (queue: Queue) => Promise<T>): Promise<T> {
    try {
      const answer = await call(await this.#reach());
      this.#isWell = true;
      return answer;
    } catch (error) {
      this.#isWell = false;
      throw error;
    }
  }

  #watch(): Promise<unknown> {
    const { queue } = this.#opened;
    queue.on('error', this.#onError);
    this.#state = 'unreached';
    const reached = queue.waitUntilReady();
    // A failure is told of by the `error` event, and to each caller.
    const note = (state: 'reached' | 'failed') => {
      if (this.#state !== 'closed') this.#state = state;
    };
    reached.then(
      () => note('reached'),
      () => note('failed'),
    );
    return reached;
  }

  async #reach(): Promise<Queue> {
    if (this.#state === 'reached') return this.#opened.queue;
    if (this.#state === 'closed') throw new QueueUnreachedError();
    if (this.#state === 'failed') {
      // BullMQ remembers for good that its first connection was refused or broke.
      void closeQueue(this.#opened);
      this.#opened = this.#open();
      this.#reached = this.#watch();
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new QueueUnreachedError()), FIRST_REACH_TIMEOUT_MS);
    });
    await Promise.race([this.#reached, late]).finally(() => clearTimeout(timer));
    return this.#opened.queue;
  }
}

async function closeQueue({ queue, disconnect }: OpenedQueue): Promise<void> {
  const closed = queue.close().catch(() => {});
  await Promise.race([closed, sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false })]);
  disconnect();
}
