import { setTimeout as sleep } from 'node:timers/promises';
import type { Queue } from 'bullmq';
import { type BackendName, nameBackend, type OpenedQueue, openQueue, type QueueConnection } from './backend.ts';
import { encodeChunk, type Hint, TIMERS_PER_CHUNK_MAX } from './chunk.ts';
import { nameChunkQueue } from './names.ts';

const JOB_NAME = 'chunk';
/** BullMQ takes the job that came last next. */
const FIRST = { lifo: true };

/**
 * How long a caller waits for a backend that has not been reached since this end was opened (ms). Afterwards its own
 * clients tell at once when it is away; before, BullMQ would wait for it without limit.
 */
const FIRST_REACH_TIMEOUT_MS = 1_000;

/** How long BullMQ may take to close (ms): it would wait without limit for a backend that is away. */
const CLOSE_TIMEOUT_MS = 2_000;

/** The backend has not been reached since this end of the queue was opened. */
class QueueUnreachedError extends Error {
  readonly code = 'queue_unreached';
  readonly isRetryable = true;

  constructor() {
    super('The queue has not been reached yet.');
    this.name = 'QueueUnreachedError';
  }
}

/** Figures of the queue, for health, the operators' list and back-pressure. */
export interface QueueFigures {
  name: string;
  backend: BackendName;
  /** Chunks that wait for a worker, and that a worker is starting. */
  waiting: number;
  active: number;
}

/**
 * The schedulers' end of the queue: hands chunks of hints to the workers. Everything in it may be lost or arrive
 * twice; nothing depends on it but punctuality.
 */
export class ChunkQueue {
  readonly backend: BackendName;
  readonly #name = nameChunkQueue(0);
  readonly #open: () => OpenedQueue;
  readonly #onError: (error: Error) => void;
  #opened: OpenedQueue;
  #reached: Promise<unknown>;
  #state: 'unreached' | 'reached' | 'failed' | 'closed' = 'unreached';

  constructor(connection: QueueConnection, onError: (error: Error) => void) {
    this.backend = nameBackend(connection);
    this.#open = () => openQueue(this.#name, connection);
    this.#onError = onError;
    this.#opened = this.#open();
    this.#reached = this.#watch();
  }

  /**
   * For a service's start: rejects when BullMQ's tables in Postgres are missing, since nothing would ever be delivered.
   * Redis needs none, and may come later.
   */
  async checkTables(): Promise<void> {
    if (this.backend === 'postgres') await this.#reach();
  }

  /**
   * Adds `hints` in chunks of at most TIMERS_PER_CHUNK_MAX, behind all that wait, or `first`: before them. Resolves to
   * the number of chunks. When it rejects, some of them may have been added.
   */
  async dispatch(hints: readonly Hint[], place: 'last' | 'first' = 'last'): Promise<number> {
    const queue = await this.#reach();
    const jobs = [];
    for (let start = 0; start < hints.length; start += TIMERS_PER_CHUNK_MAX) {
      const data = encodeChunk(hints.slice(start, start + TIMERS_PER_CHUNK_MAX));
      jobs.push({ name: JOB_NAME, data, opts: place === 'first' ? FIRST : {} });
    }
    // Of what goes first, the job that is added last is taken next.
    if (place === 'first') jobs.reverse();
    if (jobs.length === 1) await queue.add(JOB_NAME, jobs[0]!.data, jobs[0]!.opts);
    else await queue.addBulk(jobs);
    return jobs.length;
  }

  /** Chunks that wait for a worker. Rejects when the backend can not be reached. */
  async countWaiting(): Promise<number> {
    return (await this.#reach()).getWaitingCount();
  }

  /** Rejects when the backend can not be reached. */
  async readFigures(): Promise<QueueFigures> {
    const counts = await (await this.#reach()).getJobCounts('waiting', 'active');
    return {
      name: this.#name,
      backend: this.backend,
      waiting: counts.waiting ?? 0,
      active: counts.active ?? 0,
    };
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
