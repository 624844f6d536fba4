// The proof itself, as plain functions: it runs inside k6 and in the tests, so it imports neither k6 nor Node.

/** A timer as far as answers of the api have promised anything about it. */
export interface PromisedTimer {
  /** Of the last change that was acknowledged (epoch ms). */
  dueAt: number;
  isCancelled: boolean;
}

export interface Journal {
  timers: Map<string, PromisedTimer>;
  created: number;
  changed: number;
  /** Distinct timers: a cancel may be repeated. */
  cancelled: number;
  /** The latest due time of all, the cancelled included (epoch ms); 0 of none. */
  lastDueAt: number;
}

/** One request that reached the receiver. */
export interface Receipt {
  id: string;
  /** Epoch ms, by the clock that the database of the same machine reads, too. */
  receivedAt: number;
}

export interface Proof {
  delivered: number;
  /** Ids, in the order of the journal. */
  missing: string[];
  early: string[];
  repeated: string[];
  afterCancel: string[];
  /** Received, but never acknowledged: the journal has a hole, or an answer was lost. */
  unknown: string[];
  /** Receipt minus due time of each delivered timer, in the order of the due times (ms). */
  latenessMs: number[];
}

/**
 * Reads the lines `created|changed ID DUE_AT` and `cancelled ID`. Throws on any other line, and on a promise about a
 * timer that was not created: a proof over a broken journal would prove nothing.
 */
export function readJournal(text: string): Journal {
  const journal: Journal = { timers: new Map(), created: 0, changed: 0, cancelled: 0, lastDueAt: 0 };
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const [word, id = '', instant] = line.split(' ');
    const timer = journal.timers.get(id);
    const dueAt = Number(instant);
    if (word === 'created' && timer === undefined && dueAt > 0) {
      journal.timers.set(id, { dueAt, isCancelled: false });
      journal.created += 1;
    } else if (word === 'changed' && timer !== undefined && dueAt > 0) {
      timer.dueAt = dueAt;
      journal.changed += 1;
    } else if (word === 'cancelled' && timer !== undefined) {
      if (!timer.isCancelled) journal.cancelled += 1;
      timer.isCancelled = true;
    } else {
      throw new Error(`The journal has a line that makes no sense: ${line.slice(0, 200)}`);
    }
    if (dueAt > journal.lastDueAt) journal.lastDueAt = dueAt;
  }
  return journal;
}

/** Reads the receiver's lines, `ID RECEIVED_AT`. */
export function readReceipts(text: string): Receipt[] {
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => {
    const [id = '', receivedAt] = line.split(' ');
    return { id, receivedAt: Number(receivedAt) };
  });
}

/** Holds what arrived against what was promised. */
export function reconcile(journal: Journal, receipts: readonly Receipt[]): Proof {
  const proof: Proof = {
    delivered: 0,
    missing: [],
    early: [],
    repeated: [],
    afterCancel: [],
    unknown: [],
    latenessMs: [],
  };
  const counts = new Map<string, number>();
  const arrivals: { dueAt: number; latenessMs: number }[] = [];
  for (const { id, receivedAt } of receipts) {
    const count = (counts.get(id) ?? 0) + 1;
    counts.set(id, count);
    if (count === 2) proof.repeated.push(id);
    const timer = journal.timers.get(id);
    if (timer === undefined) {
      if (count === 1) proof.unknown.push(id);
      continue;
    }
    // Early is each request that is; late, a timer whose first request is.
    if (receivedAt < timer.dueAt) proof.early.push(id);
    if (count > 1) continue;
    if (timer.isCancelled) {
      proof.afterCancel.push(id);
    } else {
      proof.delivered += 1;
      arrivals.push({ dueAt: timer.dueAt, latenessMs: receivedAt - timer.dueAt });
    }
  }
  for (const [id, timer] of journal.timers) {
    if (!timer.isCancelled && !counts.has(id)) proof.missing.push(id);
  }
  arrivals.sort((a, b) => a.dueAt - b.dueAt);
  proof.latenessMs = arrivals.map(({ latenessMs }) => latenessMs);
  return proof;
}

/** How much later the last quarter is than the first, by their 95th percentiles (ms); 0 when there are too few to say. */
export function computeDrift(latenessMs: readonly number[]): number {
  const quarter = Math.floor(latenessMs.length / 4);
  if (quarter < DRIFT_SAMPLE_MIN) return 0;
  return findP95(latenessMs.slice(-quarter)) - findP95(latenessMs.slice(0, quarter));
}

/** A 95th percentile of fewer is one of the worst five values, whatever the rest did. */
const DRIFT_SAMPLE_MIN = 100;

function findP95(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.95)] ?? 0;
}

/** The part of `GET /v1/ledger` that is judged. */
export interface LedgerAnswer {
  isBalanced: boolean;
  overdueCount: number;
  total: Record<
    'created' | 'scheduled' | 'running' | 'paused' | 'succeeded' | 'dead' | 'cancelled' | 'skipped',
    number
  >;
}

/** Created minus live and finished: 0 when nothing was lost. Added up here, not taken from the answer's own verdict. */
export function computeImbalance({ total }: LedgerAnswer): number {
  const live = total.scheduled + total.running + total.paused;
  return total.created - live - (total.succeeded + total.dead + total.cancelled + total.skipped);
}
