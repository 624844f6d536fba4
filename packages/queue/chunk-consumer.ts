import { setTimeout as sleep } from 'node:timers/promises';
import { listQueueNames, type OpenedWorker, openWorker, type Processed, type QueueConnection } from './backend.ts';
import { decodeChunk, type Hint } from './chunk.ts';

/**
 * How long BullMQ may take to close when no call is under way any more (ms). It would wait without limit for a backend
 * that is away, to write down jobs whose loss is harmless.
 */
const CLOSE_TIMEOUT_MS = 2_000;
/**
 * Errors of BullMQ within one turn of the event loop, beyond which it is opened anew. It remembers for good that its first
 * connection was refused or broke, and asks again without a pause and without a word to the backend: nothing else in the
 * process would ever get its turn.
 */
const ERRORS_PER_TURN_MAX = 100;
/** Before BullMQ is opened anew (ms). */
const REOPEN_PAUSE_MS = 500;

/** A workers' end of the queue. */
export class ChunkConsumer {
  /** One a queue. */
  readonly #opens: readonly (() => OpenedWorker)[];
  readonly #onError: (error: Error) => void;
  readonly #underWay = new Set<Promise<Processed>>();
  #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  /**
   * `process` gets each chunk and resolves when the next may come; while `concurrency` calls are under way no more
   * are fetched. Several queues share them equally, rounded up. `isFirst`: it was put before all that waited. A chunk that
   * it leaves goes back to the queue. A call that rejects loses its chunk: the schedulers find those timers again.
   */
  constructor(
    connection: QueueConnection,
    concurrency: number,
    process: (hints: Hint[], isFirst: boolean) => Promise<Processed>,
    onError: (error: Error) => void,
  ) {
    this.#onError = onError;
    const names = listQueueNames(connection);
    const share = Math.ceil(concurrency / names.length);
    const processData = (data: unknown, isFirst: boolean) => this.#track(process(decodeChunk(data), isFirst));
    this.#opens = names.map((name) => () => openWorker(name, connection, processData, share));
  }

  /** Fetches until it is stopped, whatever becomes of the backend in between. It may be started again after that. */
  start(): void {
    this.#stop = new AbortController();
    this.#running = Promise.all(this.#opens.map((open) => this.#run(open)));
  }

  /** Fetches no more, waits for the calls under way, and disconnects, whether or not the backend can be reached. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(open: () => OpenedWorker): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#runOne(open()).catch(this.#onError);
      await sleep(REOPEN_PAUSE_MS, undefined, { signal }).catch(() => {});
    }
  }

  // Resolves or rejects when the worker is to fetch no more, or can not, and is closed.
  async #runOne({ worker, disconnect }: OpenedWorker): Promise<void> {
    const { signal } = this.#stop;
    const ended = Promise.withResolvers<void>();
    const end = () => ended.resolve();
    signal.addEventListener('abort', end);
    worker.on('error', countErrors(this.#onError, end));
    worker.on('failed', (_job, error) => this.#onError(error));
    const fetching = worker.waitUntilReady().then(() => worker.run());
    try {
      await Promise.race([fetching, ended.promise]);
    } finally {
      signal.removeEventListener('abort', end);
      fetching.catch(() => {});
      await Promise.race([worker.close().then(() => fetching.catch(() => {})), this.#waitInVain()]);
      // What of BullMQ still waits then is rejected, or waits for ever for an event of a closed client; nothing runs on.
      disconnect();
    }
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

/** Tells `onError` of each error, and calls `onSpinning` when there are ERRORS_PER_TURN_MAX of them in one turn of the event loop. */
function countErrors(onError: (error: Error) => void, onSpinning: () => void): (error: Error) => void {
  let ofTurn = 0;
  return (error) => {
    onError(error);
    if (ofTurn === 0) {
      setImmediate(() => {
        ofTurn = 0;
      });
    }
    ofTurn += 1;
    if (ofTurn === ERRORS_PER_TURN_MAX) onSpinning();
  };
}
