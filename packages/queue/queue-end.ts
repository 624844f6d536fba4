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

/** After a call that failed, others are chosen while there are such (ms). */
const AVOIDED_MS = 1_000;

/** The backend has not been reached since this end of the queue was opened. */
class QueueUnreachedError extends Error {
  readonly code = 'queue_unreached';
  readonly isRetryable = true;

  constructor() {
    super('The queue has not been reached yet.');
    this.name = 'QueueUnreachedError';
  }
}

/** The sending side of one of BullMQ's queues, opened anew as often as need be. */
export class QueueEnd {
  readonly name: string;
  readonly #open: () => OpenedQueue;
  readonly #onError: (error: Error) => void;
  #opened: OpenedQueue;
  #reached: Promise<unknown>;
  #state: 'unreached' | 'reached' | 'failed' | 'closed' = 'unreached';
  #failedAt = Number.NEGATIVE_INFINITY;

  constructor(name: string, connection: QueueConnection, onError: (error: Error) => void) {
    this.name = name;
    this.#open = () => openQueue(name, connection);
    this.#onError = onError;
    this.#opened = this.#open();
    this.#reached = this.#watch();
  }

  /** Whether no call has failed lately. */
  get isWell(): boolean {
    return performance.now() - this.#failedAt > AVOIDED_MS;
  }

  /** Rejects when the backend can not be reached, and as `call` does. */
  async call<T>(call: (queue: Queue) => Promise<T>): Promise<T> {
    try {
      return await call(await this.#reach());
    } catch (error) {
      this.#failedAt = performance.now();
      throw error;
    }
  }

  /** Rejects what still waits for an answer. Resolves whether or not the backend can be reached. */
  async close(): Promise<void> {
    this.#state = 'closed';
    await closeQueue(this.#opened);
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
