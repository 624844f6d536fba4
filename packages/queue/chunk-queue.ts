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

/** Of several queues, one that says nothing for so long is passed by (ms). */
const PATIENCE_MS = 500;

interface Job {
  name: string;
  data: ReturnType<typeof encodeChunk>;
  opts: typeof FIRST | Record<string, never>;
}

/** What goes to one queue in a hand-over. */
interface Share {
  end: QueueEnd;
  jobs: Job[];
  hints: Hint[];
}

/** What became of a hand-over. */
export interface Dispatched {
  /** Chunks that were added. */
  chunks: number;
  /** Hints that were not, or of which that is not known. */
  lost: readonly Hint[];
}

/** Figures of all queues together. */
export interface QueueHealth extends Omit<QueueFigures, 'name'> {
  /** `degraded` while some can not be reached, of which the figures tell nothing. */
  status: 'ok' | 'degraded';
  /** Names of those. */
  unreachable: string[];
}

/**
 * The schedulers' end of the queue: hands chunks of hints to the workers. Everything in it may be lost or arrive
 * twice; nothing depends on it but punctuality.
 *
 * Where there are several queues each chunk goes where the least waits, and in turn where that is the same: a queue that nobody
 * takes from holds up no other. One that fails, or hangs, is passed by until it answers again, as long as there are others.
 */
export class ChunkQueue {
  readonly backend: BackendName;
  readonly #ends: readonly QueueEnd[];
  /** Turns taken so far. */
  #turns = 0;

  constructor(connection: QueueConnection, onError: (error: Error) => void) {
    this.backend = nameBackend(connection);
    const names = listQueueNames(connection);
    // Of one there is nothing to choose, and impatience would only make doubles.
    const patienceMs = names.length > 1 ? PATIENCE_MS : undefined;
    this.#ends = names.map((name) => new QueueEnd(name, connection, { onError, patienceMs }));
  }

  /**
   * For a service's start: rejects when BullMQ's tables in Postgres are missing, since nothing would ever be delivered.
   * Redis needs none, and may come later.
   */
  async checkTables(): Promise<void> {
    if (this.backend === 'postgres') await this.#ends[0]!.call(() => Promise.resolve());
  }

  /**
   * Adds `hints` in chunks of at most TIMERS_PER_CHUNK_MAX, behind all that wait, or `first`: before them. Rejects when no queue
   * took any; some of them may have been added all the same.
   */
  async dispatch(hints: readonly Hint[], place: 'last' | 'first' = 'last'): Promise<Dispatched> {
    const shares = this.#share(hints, place);
    const results = await Promise.allSettled(shares.map((share) => addJobs(share, place)));
    const dispatched = { chunks: 0, lost: [] as Hint[] };
    for (const [index, { status }] of results.entries()) {
      const { jobs, hints: own } = shares[index]!;
      if (status === 'fulfilled') dispatched.chunks += jobs.length;
      else dispatched.lost.push(...own);
    }
    const [first] = results;
    if (dispatched.chunks === 0 && first?.status === 'rejected') throw first.reason;
    return dispatched;
  }

  /** Chunks that wait for a worker, in queues that can be reached. Rejects when none can. */
  async countWaiting(): Promise<number> {
    const counts = await askAll(this.#listWell(), (end) => end.countWaiting());
    return counts.reduce((sum, { answer }) => sum + answer, 0);
  }

  /** Of all queues together. Rejects when none can be reached. */
  async readFigures(): Promise<QueueHealth> {
    const all = await this.listFigures();
    const sum = (name: 'waiting' | 'active') => all.reduce((total, figures) => total + figures[name], 0);
    const reached = new Set(all.map(({ name }) => name));
    const unreachable = this.#ends.map(({ name }) => name).filter((name) => !reached.has(name));
    const status = unreachable.length > 0 ? 'degraded' : 'ok';
    return { status, backend: this.backend, waiting: sum('waiting'), active: sum('active'), unreachable };
  }

  /** Of each queue that can be reached, in the order of their names. Rejects when none can. */
  async listFigures(): Promise<QueueFigures[]> {
    const counts = await askAll(this.#ends, (end) => end.call((queue) => queue.getJobCounts('waiting', 'active')));
    return counts.map(({ end, answer }) => ({
      name: end.name,
      backend: this.backend,
      waiting: answer.waiting ?? 0,
      active: answer.active ?? 0,
    }));
  }

  /** Rejects what still waits for an answer. Resolves whether or not the backend can be reached. */
  async close(): Promise<void> {
    await Promise.all(this.#ends.map((end) => end.close()));
  }

  /** Those that are well, or all when none is. Asks the others whether they are again. */
  #listWell(): readonly QueueEnd[] {
    if (this.#ends.length === 1) return this.#ends;
    for (const end of this.#ends) end.probe();
    const well = this.#ends.filter(({ isWell }) => isWell);
    return well.length > 0 ? well : this.#ends;
  }

  #share(hints: readonly Hint[], place: 'last' | 'first'): Share[] {
    const shares = this.#listWell().map((end): Share => ({ end, jobs: [], hints: [] }));
    const opts = place === 'first' ? FIRST : {};
    for (let start = 0; start < hints.length; start += TIMERS_PER_CHUNK_MAX) {
      const some = hints.slice(start, start + TIMERS_PER_CHUNK_MAX);
      const share = this.#takeTurn(shares);
      share.end.depth += 1;
      share.jobs.push({ name: JOB_NAME, data: encodeChunk(some), opts });
      share.hints.push(...some);
    }
    return shares.filter(({ jobs }) => jobs.length > 0);
  }

  #takeTurn(shares: readonly Share[]): Share {
    const turn = this.#turns;
    this.#turns += 1;
    let shortest = shares[turn % shares.length]!;
    for (let step = 1; step < shares.length; step += 1) {
      const share = shares[(turn + step) % shares.length]!;
      if (share.end.depth < shortest.end.depth) shortest = share;
    }
    return shortest;
  }
}

/** The answers of those that gave one; rejects when none did. */
async function askAll<T>(
  ends: readonly QueueEnd[],
  ask: (end: QueueEnd) => Promise<T>,
): Promise<{ end: QueueEnd; answer: T }[]> {
  const results = await Promise.allSettled(ends.map(ask));
  const answers = results.flatMap((result, index) =>
    result.status === 'fulfilled' ? [{ end: ends[index]!, answer: result.value }] : [],
  );
  const [first] = results;
  if (answers.length === 0 && first?.status === 'rejected') throw first.reason;
  return answers;
}

async function addJobs({ end, jobs }: Share, place: 'last' | 'first'): Promise<void> {
  // Of what goes first, the job that is added last is taken next.
  if (place === 'first') jobs.reverse();
  await end.call(async (queue) => {
    if (jobs.length === 1) await queue.add(JOB_NAME, jobs[0]!.data, jobs[0]!.opts);
    else await queue.addBulk(jobs);
  });
}
