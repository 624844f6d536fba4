import type { Delivery } from '@punctual/e2e';
import type { BookedTimer } from '../traffic/book.ts';
import { ON_ITS_WAY_MS, ROUNDING_MS } from './allowances.ts';
import type { EndedTimer, Evidence, Offence } from './evidence.ts';

/** Attempts that a timer gets from its receiver: the third succeeds; four are all that there are by default. */
const ATTEMPTS = { good: 1, flaky: 3, failing: 4 } as const;
/** The task of a run that waits for a signal; see `traffic.ts`. */
const SIGNALLED = 'second';
/** Of the first retry, without jitter (ms); see `traffic.ts`. */
const BACKOFF_MS = 300;

export interface JudgeOptions {
  /** In which everything due by the heal must be delivered (ms). */
  recoveryLimitMs: number;
  /** Without a fault there are no repeats. */
  allowsRepeats: boolean;
  /** The way to the receivers was disturbed: of attempts that failed on it, some were received and others were not. */
  allowsFailedAttempts: boolean;
}

/** What a run of the harness came to. */
export interface Verdict {
  offences: Offence[];
  acknowledged: number;
  delivered: number;
  dead: number;
  cancelled: number;
  edited: number;
  /** Requests of attempts that had been received before. */
  repeats: number;
  /** From the heal to the last delivery of what was due by then (ms). */
  recoveryMs: number;
  /** Lateness of first attempts that were due after the heal, at 95%, and of all (ms). */
  latenessP95Ms: number;
  latenessMaxMs: number;
}

/** Judges by the receivers' log and the API's acknowledgements alone. */
export function judge(evidence: Evidence, options: JudgeOptions): Verdict {
  const received = Map.groupBy(evidence.deliveries, ({ timerId }) => timerId);
  const statuses = new Map(evidence.timers.map((timer) => [timer.id, timer]));
  const offences: Offence[] = [];
  const told = new Map<string, number>();
  const accuse = (check: Offence['check'], text: string) => {
    const count = (told.get(check) ?? 0) + 1;
    told.set(check, count);
    if (count <= OFFENCES_TOLD_MAX) offences.push({ check, text });
  };
  const acknowledged = evidence.book.timers.filter(({ id }) => id !== undefined);
  for (const timer of acknowledged) {
    const requests = received.get(timer.id!) ?? [];
    judgeEnd(timer, statuses.get(timer.id!), requests, options, accuse);
    judgeTimes(timer, requests, accuse);
    judgeOvertaken(timer, requests, options, accuse);
  }
  judgeStrangers(evidence, accuse);
  judgeRuns(evidence, received, options, accuse);
  judgeSchedules(evidence, accuse);
  judgeLedgers(evidence, accuse);
  const repeats = judgeRepeats(evidence.deliveries, options, accuse);
  const times = measureTimes(evidence, acknowledged, received);
  if (times.recoveryMs > options.recoveryLimitMs) {
    accuse('late', `the last of what was due by the heal came ${Math.round(times.recoveryMs)} ms after it`);
  }
  for (const { text } of evidence.processFaults) accuse('ends', text);
  for (const text of [...evidence.book.answers.slow, ...evidence.book.answers.wrong]) accuse('answers', text);
  for (const [check, count] of told) {
    if (count > OFFENCES_TOLD_MAX)
      offences.push({ check: check as Offence['check'], text: `and ${count - OFFENCES_TOLD_MAX} more` });
  }
  const having = (status: string) => evidence.timers.filter((timer) => timer.status === status).length;
  return {
    offences,
    acknowledged: acknowledged.length,
    delivered: having('succeeded'),
    dead: having('dead'),
    cancelled: having('cancelled'),
    edited: acknowledged.filter(({ edited }) => edited === 'yes').length,
    repeats,
    ...times,
  };
}

/** Of each kind. */
const OFFENCES_TOLD_MAX = 10;

type Accuse = (check: Offence['check'], text: string) => void;

function describe({ id, n, target, deed }: BookedTimer): string {
  return `timer ${id} (${n}, ${target}, ${deed})`;
}

function judgeEnd(
  timer: BookedTimer,
  ended: EndedTimer | undefined,
  requests: readonly Delivery[],
  { allowsFailedAttempts }: JudgeOptions,
  accuse: Accuse,
): void {
  const ends = new Set<string>();
  if (timer.cancelled !== 'no') ends.add('cancelled');
  if (timer.cancelled !== 'yes') {
    ends.add(timer.target === 'failing' ? 'dead' : 'succeeded');
    if (allowsFailedAttempts) ends.add('dead');
  }
  if (ended === undefined || !ends.has(ended.status)) {
    accuse('lost', `${describe(timer)} is ${ended?.status ?? 'not there'}, not ${[...ends].join(' or ')}`);
    return;
  }
  const { status } = ended;
  const attempts = new Set(requests.map(({ attempt }) => attempt));
  const most = allowsFailedAttempts ? ended.attempt : ATTEMPTS[timer.target];
  const beyond = [...attempts].filter((attempt) => !(attempt >= 1 && attempt <= most));
  if (beyond.length > 0) accuse('lost', `${describe(timer)} got attempt ${beyond[0]} of ${most}`);
  if (status === 'cancelled') return;
  if (allowsFailedAttempts) {
    if (status === 'succeeded' && !attempts.has(most))
      accuse('lost', `${describe(timer)} succeeded by attempt ${most}, which nobody received`);
    if (status === 'dead' && most !== ATTEMPTS.failing)
      accuse('lost', `${describe(timer)} is dead after ${most} attempts of ${ATTEMPTS.failing}`);
    return;
  }
  for (let attempt = 1; attempt <= most; attempt += 1) {
    if (!attempts.has(attempt)) accuse('lost', `${describe(timer)} is ${status} without attempt ${attempt} of ${most}`);
  }
}

/** When a timer was due, for a request: the earliest instant that what was acknowledged allows. */
function findDueAt(timer: BookedTimer, { attempt, receivedAt }: Delivery): number {
  if (timer.deed === 'fire') return Math.min(timer.firedAt ?? timer.dueAt, timer.dueAt);
  if (timer.edited === 'yes' && attempt > timer.editedAfter! && receivedAt > timer.editAskedAt!)
    return timer.editedDueAt;
  return timer.dueAt;
}

function judgeTimes(timer: BookedTimer, requests: readonly Delivery[], accuse: Accuse): void {
  const firstOf = new Map<number, Delivery>();
  // An edit, or a fire, moves a timer that waits for its retry, to wherever it likes.
  const isFireLate = timer.isFireRepeated || (timer.firedAt ?? 0) > (requests[0]?.receivedAt ?? Infinity);
  for (const request of requests) {
    const { attempt, receivedAt } = request;
    if (!firstOf.has(attempt)) firstOf.set(attempt, request);
    const dueAt = findDueAt(timer, request);
    if (receivedAt < dueAt)
      accuse('early', `attempt ${attempt} of ${describe(timer)} came ${dueAt - receivedAt} ms early`);
    const before = firstOf.get(attempt - 1);
    const waitMs = BACKOFF_MS * 2 ** (attempt - 2) - ROUNDING_MS;
    if (before !== undefined && timer.edited === 'no' && !isFireLate && receivedAt - before.receivedAt < waitMs) {
      accuse(
        'early',
        `attempt ${attempt} of ${describe(timer)} came ${receivedAt - before.receivedAt} ms after the one before`,
      );
    }
  }
}

/**
 * Whether a request came too late for an acknowledgement that promised otherwise. Of an attempt that had not begun by
 * then: as soon as it came after the question (a crash of Postgres may make the database forget that it had begun). Of
 * one that had: when it can not have been on its way any more.
 */
function isTooLate(request: Delivery, after: number, askedAt: number, ackAt: number): boolean {
  return request.receivedAt > (request.attempt > after ? askedAt : ackAt + ON_ITS_WAY_MS);
}

function judgeOvertaken(
  timer: BookedTimer,
  requests: readonly Delivery[],
  { allowsRepeats, allowsFailedAttempts }: JudgeOptions,
  accuse: Accuse,
): void {
  // A good receiver's timer never waits for a retry: once sent, it is too late for a cancel.
  const isOneShot = timer.target === 'good' && !allowsRepeats && !allowsFailedAttempts;
  for (const request of requests) {
    const { attempt, receivedAt, body } = request;
    const name = `attempt ${attempt} of ${describe(timer)}`;
    if (timer.cancelled === 'yes') {
      const { cancelledAfter, cancelAskedAt, cancelledAckAt } = timer;
      if (isTooLate(request, cancelledAfter!, cancelAskedAt!, cancelledAckAt!))
        accuse('overtaken', `${name} came after its cancel`);
      if (isOneShot && receivedAt < cancelAskedAt!)
        accuse('overtaken', `${name} had been sent when its cancel was acknowledged`);
    }
    if (timer.edited === 'yes' && body.payload?.revision !== 2) {
      if (isTooLate(request, timer.editedAfter!, timer.editAskedAt!, timer.editedAckAt!))
        accuse('overtaken', `${name} shows what an edit had replaced`);
    }
    if (timer.edited === 'no' && body.payload?.revision !== 1)
      accuse('overtaken', `${name} shows an edit that was refused`);
    if (body.payload?.n !== timer.n) accuse('overtaken', `${name} has another's payload`);
  }
}

function judgeStrangers({ book, deliveries, timers, runs }: Evidence, accuse: Accuse): void {
  const known = new Set(timers.map(({ id }) => id));
  for (const { id } of book.timers) if (id !== undefined) known.add(id);
  for (const run of runs) for (const { timerId } of run.tasks) if (timerId !== undefined) known.add(timerId);
  const strangers = new Set(deliveries.map(({ timerId }) => timerId).filter((id) => !known.has(id)));
  for (const id of strangers) accuse('lost', `a request came for a timer ${id} that nobody knows`);
}

function judgeRuns(
  { book, runs }: Evidence,
  received: ReadonlyMap<string, readonly Delivery[]>,
  { allowsFailedAttempts }: JudgeOptions,
  accuse: Accuse,
): void {
  const ended = new Map(runs.map((run) => [run.id, run]));
  for (const { id, n, signal } of book.runs) {
    if (id === undefined) continue;
    const run = ended.get(id);
    // One of its tasks may have become a dead letter.
    if (run?.status === 'failed' && allowsFailedAttempts) continue;
    if (run?.status !== 'succeeded') {
      accuse('lost', `run ${id} is ${run?.status ?? 'not there'}, not succeeded`);
      continue;
    }
    let beforeAt = 0;
    for (const { key, timerId } of run.tasks) {
      const first = received.get(timerId ?? '')?.[0];
      if (first === undefined) accuse('lost', `task ${key} of run ${id} was never sent`);
      else if (first.receivedAt < beforeAt) accuse('early', `task ${key} of run ${id} came before the one it follows`);
      beforeAt = first?.receivedAt ?? beforeAt;
      if (key !== SIGNALLED || signal === undefined) continue;
      const told = signal === 'taken' ? n : undefined;
      if ((received.get(timerId ?? '') ?? []).some(({ body }) => body.payload?.n !== told))
        accuse(
          'lost',
          `task ${key} of run ${id} was sent ${signal === 'taken' ? 'without' : 'with'} its signal, which was ${signal}`,
        );
    }
  }
}

/** What the external ids of a schedule's timers are made of: its id and the occurrence. */
const SCHEDULED_NAME = /^schedule:([^:]+):(.+)$/;
const OCCURRENCES_EVERY_MS = 1_000;

/** Each second from a schedule's first occurrence to its last has one timer, which succeeded. */
function judgeSchedules({ timers }: Evidence, accuse: Accuse): void {
  const bySchedule = new Map<string, number[]>();
  for (const { id, status, externalId = '' } of timers) {
    const [, scheduleId, occurrence] = SCHEDULED_NAME.exec(externalId) ?? [];
    if (scheduleId === undefined || occurrence === undefined) continue;
    bySchedule.set(scheduleId, [...(bySchedule.get(scheduleId) ?? []), Date.parse(occurrence)]);
    if (status !== 'succeeded') accuse('lost', `timer ${id} of a schedule is ${status}, not succeeded`);
  }
  for (const [scheduleId, occurrences] of bySchedule) {
    const sorted = occurrences.toSorted((a, b) => a - b);
    for (const [index, at] of sorted.entries()) {
      const before = sorted[index - 1];
      if (before === undefined || at - before === OCCURRENCES_EVERY_MS) continue;
      const text = `${new Date(before).toISOString()} and ${new Date(at).toISOString()}`;
      accuse('lost', `schedule ${scheduleId} has no timers, or too many, between ${text}`);
    }
  }
}

function judgeLedgers({ ledgers }: Evidence, accuse: Accuse): void {
  for (const { at, isBalanced, differences } of ledgers) {
    if (!isBalanced)
      accuse('ledger', `it does not balance at ${new Date(at).toISOString()}: ${JSON.stringify(differences)}`);
  }
  const last = ledgers.at(-1);
  if (last === undefined) accuse('ledger', 'it was never read');
  else if (last.live + last.overdueCount + last.stuckRunCount > 0) {
    const { live, overdueCount, stuckRunCount } = last;
    accuse('ledger', `in the end ${live} timers are live, ${overdueCount} overdue, and ${stuckRunCount} runs stuck`);
  }
}

function judgeRepeats(deliveries: readonly Delivery[], { allowsRepeats }: JudgeOptions, accuse: Accuse): number {
  const seen = new Set<string>();
  let repeats = 0;
  for (const { timerId, attempt, idempotencyKey, body } of deliveries) {
    const name = `${timerId}/${attempt}`;
    if (seen.has(name)) {
      repeats += 1;
      if (!allowsRepeats) accuse('repeated', `attempt ${attempt} of timer ${timerId} came again without a fault`);
    }
    seen.add(name);
    if (idempotencyKey !== timerId || body.timerId !== timerId || body.attempt !== attempt) {
      accuse('repeated', `attempt ${attempt} of timer ${timerId} has another id or number in its body`);
    }
  }
  return repeats;
}

function measureTimes(
  { faultAt, healedAt }: Evidence,
  timers: readonly BookedTimer[],
  received: ReadonlyMap<string, readonly Delivery[]>,
): Pick<Verdict, 'recoveryMs' | 'latenessP95Ms' | 'latenessMaxMs'> {
  let recoveryMs = 0;
  const lateness: number[] = [];
  for (const timer of timers) {
    const first = received.get(timer.id!)?.[0];
    // When it was created during the fault, it may have been due before anybody could know of it.
    if (first === undefined || timer.edited === 'unknown') continue;
    const dueAt = findDueAt(timer, first);
    if (healedAt !== undefined && faultAt !== undefined && dueAt <= healedAt) {
      recoveryMs = Math.max(recoveryMs, first.receivedAt - healedAt);
    } else if (timer.deed !== 'fire') {
      lateness.push(first.receivedAt - dueAt);
    }
  }
  lateness.sort((a, b) => a - b);
  return {
    recoveryMs,
    latenessP95Ms: lateness[Math.floor(0.95 * (lateness.length - 1))] ?? 0,
    latenessMaxMs: lateness.at(-1) ?? 0,
  };
}
