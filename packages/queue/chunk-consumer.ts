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

/** One of the queues. */
interface Source {
  open(): OpenedWorker;
  /** Its chunks that are being processed. */
  underWay: Set<Promise<Processed>>;
}

/** A workers' end of the queue. */
export class ChunkConsumer {
  readonly #sources: readonly Source[];
  readonly #onError: (error: Error) => void;
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
    this.#sources = names.map((name) => {
      const underWay: Source['underWay'] = new Set();
      const processData = (data: unknown, isFirst: boolean) => track(underWay, process(decodeChunk(data), isFirst));
      return { open: () => openWorker(name, connection, processData, share), underWay };
    });
  }

  /** Fetches until it is stopped, whatever becomes of the backend in between. It may be started again after that. */
  start(): void {
    this.#stop = new AbortController();
    this.#running = Promise.all(this.#sources.map((source) => this.#run(source)));
  }

  /** Fetches no more, waits for the calls under way, and disconnects, whether or not the backend can be reached. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run({ open, underWay }: Source): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#runOne(open(), underWay).catch(this.#onError);
      await sleep(REOPEN_PAUSE_MS, undefined, { signal }).catch(() => {});
    }
  }

  // Resolves or rejects when the worker is to fetch no more, or can not, and is closed.
  async #runOne({ worker, disconnect }: OpenedWorker, underWay: Source['underWay']): Promise<void> {
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
      await Promise.race([worker.close().then(() => fetching.catch(() => {})), waitInVain(underWay)]);
      // What of BullMQ still waits then is rejected, or waits for ever for an event of a closed client; nothing runs on.
      disconnect();
    }
  }
}

// Resolves CLOSE_TIMEOUT_MS after the last call has ended.
async function waitInVain(underWay: Source['underWay']): Promise<void> {
  do {
    await Promise.allSettled(underWay);
    await sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false });
  } while (underWay.size > 0);
}

function track(underWay: Source['underWay'], call: Promise<Processed>): Promise<Processed> {
  underWay.add(call);
  const forget = () => underWay.delete(call);
  call.then(forget, forget);
  return call;
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
