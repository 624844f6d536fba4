import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'bullmq';
import { openWorker, type Processed, type QueueConnection } from './backend.ts';
import { decodeChunk, type Hint } from './chunk.ts';
import { nameChunkQueue } from './names.ts';

/**
 * How long BullMQ may take to close when no call is under way any more (ms). It would wait without limit for a backend
 * that is away, to write down jobs whose loss is harmless.
 */
const CLOSE_TIMEOUT_MS = 2_000;
/**
 * Errors of BullMQ within one turn of the event loop, beyond which it is ended. A client that was refused as it introduced
 * itself (by an access list without INFO, say) is refused again at each call, without a word to Redis, and BullMQ calls again
 * without a pause: nothing else in the process would ever get its turn.
 */
const ERRORS_PER_TURN_MAX = 100;

/** A workers' end of the queue. */
export class ChunkConsumer {
  readonly #worker: Worker;
  readonly #disconnect: () => void;
  readonly #underWay = new Set<Promise<Processed>>();
  #running: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #errorsOfTurn = 0;

  /**
   * `process` gets each chunk and resolves when the next may come; while `concurrency` calls are under way no more
   * are fetched. `isFirst`: it was put before all that waited. A chunk that it leaves goes back to the queue. A call that rejects loses its chunk: the schedulers find
   * those timers again.
   */
  constructor(
    connection: QueueConnection,
    concurrency: number,
    process: (hints: Hint[], isFirst: boolean) => Promise<Processed>,
    onError: (error: Error) => void,
  ) {
    const { worker, disconnect } = openWorker(
      nameChunkQueue(0),
      connection,
      (data, isFirst) => this.#track(process(decodeChunk(data), isFirst)),
      concurrency,
    );
    this.#worker = worker;
    this.#disconnect = disconnect;
    worker.on('error', (error) => {
      onError(error);
      this.#endWhenSpinning();
    });
    worker.on('failed', (_job, error) => onError(error));
  }

  start(onError: (error: unknown) => void): void {
    this.#running ??= this.#worker.run().catch(onError);
  }

  /** Whether BullMQ still believes that it fetches. False without a stop: it failed for good, and only a new process helps. */
  get isRunning(): boolean {
    return this.#worker.isRunning();
  }

  /** Fetches no more, waits for the calls under way, and disconnects, whether or not the backend can be reached. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const closed = this.#worker.close().then(() => this.#running);
    await Promise.race([closed, this.#waitInVain()]);
    // What of BullMQ still waits then is rejected, or waits for ever for an event of a closed client; nothing runs on.
    this.#disconnect();
  }

  #endWhenSpinning(): void {
    if (this.#errorsOfTurn === 0) {
      setImmediate(() => {
        this.#errorsOfTurn = 0;
      });
    }
    this.#errorsOfTurn += 1;
    if (this.#errorsOfTurn === ERRORS_PER_TURN_MAX) void this.stop();
  }

  // Resolves CLOSE_TIMEOUT_MS after the last call has ended.
  async #waitInVain(): Promise<void> {
    do {
      await Promise.allSettled(this.#underWay);
      await sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false });
    } while (this.#underWay.size > 0);
  }

  #track(call: Promise<Processed>): Promise<Processed> {
    this.#underWay.add(call);
    const forget = () => this.#underWay.delete(call);
    call.then(forget, forget);
    return call;
  }
}
