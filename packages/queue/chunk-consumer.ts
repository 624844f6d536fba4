import type { Worker } from 'bullmq';
import { openWorker, type QueueConnection } from './backend.ts';
import { decodeChunk, type Hint } from './chunk.ts';
import { nameChunkQueue } from './names.ts';

/** A workers' end of the queue. */
export class ChunkConsumer {
  readonly #worker: Worker;
  #running: Promise<void> | undefined;

  /**
   * `process` gets each chunk and resolves when the next may come; while `concurrency` calls are under way no more
   * are fetched. A call that rejects loses its chunk: the schedulers find those timers again.
   */
  constructor(
    connection: QueueConnection,
    concurrency: number,
    process: (hints: Hint[]) => Promise<void>,
    onError: (error: Error) => void,
  ) {
    this.#worker = openWorker(nameChunkQueue(0), connection, (data) => process(decodeChunk(data)), concurrency);
    this.#worker.on('error', onError);
    this.#worker.on('failed', (_job, error) => onError(error));
  }

  start(onError: (error: unknown) => void): void {
    this.#running ??= this.#worker.run().catch(onError);
  }

  /** Whether BullMQ still believes that it fetches. */
  get isRunning(): boolean {
    return this.#worker.isRunning();
  }

  /** Fetches no more, waits for the calls under way, and disconnects. */
  async stop(): Promise<void> {
    await this.#worker.close();
    await this.#running;
  }
}
