import type { Queue } from 'bullmq';
import { type BackendName, nameBackend, openQueue, type QueueConnection } from './backend.ts';
import { encodeChunk, type Hint, TIMERS_PER_CHUNK_MAX } from './chunk.ts';
import { nameChunkQueue } from './names.ts';

const JOB_NAME = 'chunk';

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
  readonly #queue: Queue;

  constructor(connection: QueueConnection, onError: (error: Error) => void) {
    this.backend = nameBackend(connection);
    this.#queue = openQueue(nameChunkQueue(0), connection);
    this.#queue.on('error', onError);
  }

  /** Adds `hints` in chunks of at most TIMERS_PER_CHUNK_MAX. When it rejects, some of them may have been added. */
  async dispatch(hints: readonly Hint[]): Promise<number> {
    const jobs = [];
    for (let start = 0; start < hints.length; start += TIMERS_PER_CHUNK_MAX) {
      jobs.push({ name: JOB_NAME, data: encodeChunk(hints.slice(start, start + TIMERS_PER_CHUNK_MAX)) });
    }
    if (jobs.length === 1) await this.#queue.add(JOB_NAME, jobs[0]!.data);
    else await this.#queue.addBulk(jobs);
    return jobs.length;
  }

  /** Chunks that wait for a worker. */
  async countWaiting(): Promise<number> {
    return this.#queue.getWaitingCount();
  }

  /** Rejects when the backend can not be reached. */
  async readFigures(): Promise<QueueFigures> {
    const counts = await this.#queue.getJobCounts('waiting', 'active');
    return {
      name: this.#queue.name,
      backend: this.backend,
      waiting: counts.waiting ?? 0,
      active: counts.active ?? 0,
    };
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}
