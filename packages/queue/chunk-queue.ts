import type { Queue } from 'bullmq';
import { type BackendName, listQueueNames, nameBackend, type QueueConnection } from './backend.ts';
import { encodeChunk, type Hint, TIMERS_PER_CHUNK_MAX } from './chunk.ts';
import { QueueEnd } from './queue-end.ts';

const JOB_NAME = 'chunk';
/** BullMQ takes the job that came last next. */
const FIRST = { lifo: true };

/** Figures of a queue, for health, the operators' list and back-pressure. */
export interface QueueFigures {
  name: string;
  backend: BackendName;
  /** Chunks that wait for a worker, and that a worker is starting. */
  waiting: number;
  active: number;
}

interface Job {
  name: string;
  data: ReturnType<typeof encodeChunk>;
  opts: typeof FIRST | Record<string, never>;
}

/**
 * The schedulers' end of the queue: hands chunks of hints to the workers. Everything in it may be lost or arrive
 * twice; nothing depends on it but punctuality.
 *
 * Where there are several queues the chunks take them in turn. One that fails is left out for a moment, as long as there
 * are others.
 */
export class ChunkQueue {
  readonly backend: BackendName;
  readonly #ends: readonly QueueEnd[];
  /** Turns taken so far. */
  #turns = 0;

  constructor(connection: QueueConnection, onError: (error: Error) => void) {
    this.backend = nameBackend(connection);
    this.#ends = listQueueNames(connection).map((name) => new QueueEnd(name, connection, onError));
  }

  /**
   * For a service's start: rejects when BullMQ's tables in Postgres are missing, since nothing would ever be delivered.
   * Redis needs none, and may come later.
   */
  async checkTables(): Promise<void> {
    if (this.backend === 'postgres') await this.#ends[0]!.call(() => Promise.resolve());
  }

  /**
   * Adds `hints` in chunks of at most TIMERS_PER_CHUNK_MAX, behind all that wait, or `first`: before them. Resolves to
   * the number of chunks. When it rejects, some of them may have been added.
   */
  async dispatch(hints: readonly Hint[], place: 'last' | 'first' = 'last'): Promise<number> {
    const ends = this.#chooseEnds();
    const jobs: Job[][] = ends.map(() => []);
    let chunks = 0;
    for (let start = 0; start < hints.length; start += TIMERS_PER_CHUNK_MAX) {
      const data = encodeChunk(hints.slice(start, start + TIMERS_PER_CHUNK_MAX));
      jobs[(this.#turns + chunks) % ends.length]!.push({ name: JOB_NAME, data, opts: place === 'first' ? FIRST : {} });
      chunks += 1;
    }
    this.#turns += chunks;
    const adding = ends.map((end, index) => addJobs(end, jobs[index]!, place));
    // All of them have ended when the caller hears of a failure.
    for (const result of await Promise.allSettled(adding)) if (result.status === 'rejected') throw result.reason;
    return chunks;
  }

  /** Chunks that wait for a worker, in queues that can be reached. Rejects when none can. */
  async countWaiting(): Promise<number> {
    const counts = await this.#askAll((queue) => queue.getWaitingCount());
    return counts.reduce((sum, { answer }) => sum + answer, 0);
  }

  /** Of all queues together that can be reached. Rejects when none can. */
  async readFigures(): Promise<Omit<QueueFigures, 'name'>> {
    const all = await this.listFigures();
    const sum = (name: 'waiting' | 'active') => all.reduce((total, figures) => total + figures[name], 0);
    return { backend: this.backend, waiting: sum('waiting'), active: sum('active') };
  }

  /** Of each queue that can be reached, in the order of their names. Rejects when none can. */
  async listFigures(): Promise<QueueFigures[]> {
    const counts = await this.#askAll((queue) => queue.getJobCounts('waiting', 'active'));
    return counts.map(({ name, answer }) => ({
      name,
      backend: this.backend,
      waiting: answer.waiting ?? 0,
      active: answer.active ?? 0,
    }));
  }

  /** Rejects what still waits for an answer. Resolves whether or not the backend can be reached. */
  async close(): Promise<void> {
    await Promise.all(this.#ends.map((end) => end.close()));
  }

  #chooseEnds(): readonly QueueEnd[] {
    if (this.#ends.length === 1) return this.#ends;
    const well = this.#ends.filter(({ isWell }) => isWell);
    return well.length > 0 ? well : this.#ends;
  }

  async #askAll<T>(ask: (queue: Queue) => Promise<T>): Promise<{ name: string; answer: T }[]> {
    const results = await Promise.allSettled(
      this.#ends.map(async (end) => ({ name: end.name, answer: await end.call(ask) })),
    );
    const answers = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const [first] = results;
    if (answers.length === 0 && first?.status === 'rejected') throw first.reason;
    return answers;
  }
}

async function addJobs(end: QueueEnd, jobs: Job[], place: 'last' | 'first'): Promise<void> {
  if (jobs.length === 0) return;
  // Of what goes first, the job that is added last is taken next.
  if (place === 'first') jobs.reverse();
  await end.call(async (queue) => {
    if (jobs.length === 1) await queue.add(JOB_NAME, jobs[0]!.data, jobs[0]!.opts);
    else await queue.addBulk(jobs);
  });
}
