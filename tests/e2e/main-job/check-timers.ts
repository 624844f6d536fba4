import { forEachConcurrently } from '../api-client.ts';
import { type Delivery, FLAKY_FAILURES, RETRY_AFTER_SECONDS, type Target } from './delivery.ts';
import type { JobRecord } from './job.ts';
import { nameAttempt } from './kills.ts';
import { type BookedTimer, readFirstBackoffMs } from './timer-book.ts';

interface Attempt {
  attempt: number;
  outcome: string;
  httpStatus?: number;
}

const READS_AT_ONCE = 16;
const DEAD_LETTERS_READ = 100;

// Each check returns one sentence for each offence, so that a failure names the timers.

/** Attempts that a timer gets from its receiver: the third succeeds; four are all that there are by default. */
const ATTEMPTS: Record<Target, number> = { good: 1, flaky: FLAKY_FAILURES + 1, failing: 4 };

export function groupByTimer(deliveries: readonly Delivery[]): Map<string, Delivery[]> {
  return Map.groupBy(deliveries, (delivery) => delivery.timerId);
}

/** What an attempt must show: that of the last change that was acknowledged before the attempt began. */
function expectAttempt({ created, changes }: BookedTimer, attempt: number): { dueAt: number; revision: number } {
  const change = changes.findLast((candidate) => candidate.attempt < attempt);
  return change ?? { dueAt: Date.parse(created.dueAt), revision: 1 };
}

/** How the timer must have ended, by what was acknowledged. */
function expectStatus(timer: BookedTimer): string {
  if (timer.cancelledAfter !== undefined) return 'cancelled';
  if (timer.role === 'skip') return 'skipped';
  return timer.target === 'failing' ? 'dead' : 'succeeded';
}

/** Creation acknowledged the due time that the rule means. */
export function findWrongDueTimes({ timers }: JobRecord): string[] {
  return timers.flatMap(({ rule, created }) => {
    const { expected } = rule;
    const wanted = 'dueAt' in expected ? expected.dueAt : Date.parse(created.createdAt) + expected.afterCreationMs;
    const wantedText = new Date(wanted).toISOString();
    return created.dueAt === wantedText
      ? []
      : [`${JSON.stringify(rule.fields)} is due at ${created.dueAt}, not ${wantedText}`];
  });
}

/** Every acknowledged timer is there, ended as it should, and was delivered as often as that takes. */
export function findLost({ timers, runs, listed, receivers }: JobRecord): string[] {
  const offences: string[] = [];
  const statuses = new Map(listed.map(({ id, status }) => [id, status]));
  const received = groupByTimer(receivers.deliveries);
  if (statuses.size !== listed.length) offences.push('the list names a timer twice');
  for (const timer of timers) {
    const { id } = timer.created;
    const expected = expectStatus(timer);
    if (statuses.get(id) !== expected)
      offences.push(`timer ${id} (${timer.role}) is ${statuses.get(id)}, not ${expected}`);
    if (expected === 'cancelled' || expected === 'skipped') continue;
    const attempts = new Set(received.get(id)?.map(({ attempt }) => attempt));
    const missing = Array.from({ length: ATTEMPTS[timer.target] }, (_, index) => index + 1).filter(
      (n) => !attempts.has(n),
    );
    if (missing.length > 0) offences.push(`timer ${id} (${timer.role}, ${timer.target}) misses attempts ${missing}`);
  }
  const known = new Set([
    ...timers.map(({ created }) => created.id),
    ...runs.flatMap(({ ended }) => ended!.tasks.map(({ timerId }) => timerId)),
  ]);
  for (const id of statuses.keys()) if (!known.has(id)) offences.push(`timer ${id} was never acknowledged`);
  for (const id of received.keys()) if (!known.has(id)) offences.push(`a request for an unknown timer ${id} came`);
  return offences;
}

/** No request came before its due time, no retry before its backoff. */
export function findEarly({ timers, receivers }: JobRecord): string[] {
  const received = groupByTimer(receivers.deliveries);
  const offences: string[] = [];
  for (const delivery of receivers.deliveries) {
    const earlyMs = delivery.dueAt - delivery.receivedAt;
    if (!(earlyMs <= 0))
      offences.push(`timer ${delivery.timerId} came ${earlyMs} ms before the due time that it names`);
  }
  for (const timer of timers) {
    const first = new Map<number, Delivery>();
    for (const delivery of received.get(timer.created.id) ?? []) {
      const { attempt, receivedAt, timerId } = delivery;
      if (!first.has(attempt)) first.set(attempt, delivery);
      const { dueAt } = expectAttempt(timer, attempt);
      if (delivery.dueAt !== dueAt)
        offences.push(`attempt ${attempt} of timer ${timerId} names another due time than was acknowledged`);
      if (receivedAt < dueAt)
        offences.push(`attempt ${attempt} of timer ${timerId} came ${dueAt - receivedAt} ms early`);
      const before = first.get(attempt - 1);
      const waitMs = readBackoffMs(timer, attempt - 1);
      if (before && receivedAt - before.receivedAt < waitMs) {
        offences.push(
          `attempt ${attempt} of timer ${timerId} came ${receivedAt - before.receivedAt} ms after the one before, not ${waitMs}`,
        );
      }
    }
  }
  return offences;
}

/** The least wait after a failed attempt (ms): the backoff, or what the receiver asked for when that is longer. */
function readBackoffMs({ role, target }: BookedTimer, attempt: number): number {
  const backoffMs = readFirstBackoffMs(role) * 2 ** (attempt - 1);
  return target === 'flaky' && attempt === 1 ? Math.max(backoffMs, RETRY_AFTER_SECONDS * 1000) : backoffMs;
}

/** No attempt began after an acknowledged cancel, or with what an acknowledged change had replaced. */
export function findOvertaken({ timers, receivers }: JobRecord): string[] {
  const received = groupByTimer(receivers.deliveries);
  const offences: string[] = [];
  for (const timer of timers) {
    const { id } = timer.created;
    for (const { attempt, body } of received.get(id) ?? []) {
      if (timer.cancelledAfter !== undefined && attempt > timer.cancelledAfter) {
        offences.push(
          `attempt ${attempt} of timer ${id} (${timer.role}) came although it was cancelled after ${timer.cancelledAfter}`,
        );
      }
      const { revision } = expectAttempt(timer, attempt);
      if (body.payload?.revision !== revision || body.payload.n !== timer.n) {
        offences.push(
          `attempt ${attempt} of timer ${id} (${timer.role}) has payload ${JSON.stringify(body.payload)}, not revision ${revision}`,
        );
      }
    }
    for (const { version } of timer.changes) {
      if (version <= timer.created.version) offences.push(`a change of timer ${id} led to version ${version}`);
    }
  }
  return offences;
}

/** Attempts were repeated only where a worker was killed, once a kill, under the same number and id. */
export function findRepeats({ kills, receivers }: JobRecord): { repeats: number; bound: number; offences: string[] } {
  const counts = new Map<string, number>();
  const offences: string[] = [];
  for (const { timerId, attempt, idempotencyKey, dueAt, body } of receivers.deliveries) {
    const name = nameAttempt(timerId, attempt);
    counts.set(name, (counts.get(name) ?? 0) + 1);
    const isConsistent = body.timerId === timerId && body.attempt === attempt && Date.parse(body.dueAt) === dueAt;
    if (!isConsistent || idempotencyKey !== timerId) {
      offences.push(
        `headers and body of timer ${timerId} differ: ${JSON.stringify({ attempt, idempotencyKey, dueAt, body })}`,
      );
    }
  }
  const workers = kills.filter(({ name }) => name.startsWith('worker'));
  let repeats = 0;
  for (const [name, count] of counts) {
    repeats += count - 1;
    const allowed = workers.filter(({ underWay }) => underWay.has(name)).length;
    if (count - 1 > allowed)
      offences.push(`attempt ${name} came ${count} times, though ${allowed} kills may have met it`);
  }
  return { repeats, bound: workers.reduce((sum, { underWay }) => sum + underWay.size, 0), offences };
}

/**
 * Each repeated attempt is on record as lost with its worker, and what the record says of timers that became dead letters
 * is what their receiver saw: four attempts, all answered 500. Looks at every repeat and at some dead letters.
 */
export async function findUnrecordedAttempts({ api, timers, receivers, deadLetters }: JobRecord): Promise<string[]> {
  const counts = Map.groupBy(receivers.deliveries, ({ timerId, attempt }) => nameAttempt(timerId, attempt));
  const repeated = [...counts.values()].filter(({ length }) => length > 1).map(([delivery]) => delivery!);
  const own = new Set(timers.map(({ created }) => created.id));
  const offences: string[] = [];
  await forEachConcurrently(repeated, READS_AT_ONCE, async ({ timerId, attempt }) => {
    const attempts = await api.list<Attempt>(`/v1/timers/${timerId}/attempts`);
    const isLost = attempts.some((record) => record.attempt === attempt && record.outcome === 'lost');
    if (!isLost) offences.push(`attempt ${attempt} of timer ${timerId} was repeated without being on record as lost`);
  });
  const dead = deadLetters.filter(({ id }) => own.has(id)).slice(0, DEAD_LETTERS_READ);
  await forEachConcurrently(dead, READS_AT_ONCE, async ({ id }) => {
    const attempts = (await api.list<Attempt>(`/v1/timers/${id}/attempts`)).filter(({ outcome }) => outcome !== 'lost');
    const seen = attempts.map(({ attempt, outcome, httpStatus }) => `${attempt} ${outcome} ${httpStatus}`).join(', ');
    const expected = [1, 2, 3, 4].map((attempt) => `${attempt} retryable 500`).join(', ');
    if (seen !== expected) offences.push(`timer ${id} has on record: ${seen}`);
  });
  return offences;
}

/** No timer got more attempts than its receiver's answers call for, and those that used them up are dead letters. */
export function findExcessAttempts({ timers, runs, receivers, deadLetters }: JobRecord): string[] {
  const received = groupByTimer(receivers.deliveries);
  const offences: string[] = [];
  for (const [id, deliveries] of received) {
    const limit = ATTEMPTS[deliveries[0]!.target];
    const excess = deliveries.filter(({ attempt }) => !(attempt >= 1 && attempt <= limit));
    if (excess.length === 0) continue;
    const came = deliveries.map(({ attempt, receivedAt, dueAt }) => `${attempt} after ${receivedAt - dueAt} ms`);
    offences.push(`timer ${id} got attempt ${excess[0]!.attempt} of ${limit}: ${came.join(', ')}`);
  }
  const expected = new Set([
    ...timers.filter((timer) => expectStatus(timer) === 'dead').map(({ created }) => created.id),
    ...runs.flatMap(({ ended }) =>
      ended!.tasks.filter(({ status }) => status === 'dead').map(({ timerId }) => timerId!),
    ),
  ]);
  const found = new Set(deadLetters.map(({ id }) => id));
  for (const id of expected.symmetricDifference(found)) {
    offences.push(
      found.has(id) ? `timer ${id} is a dead letter by mistake` : `timer ${id} is missing among the dead letters`,
    );
  }
  return offences;
}

/** The time from due to received of first attempts, at a share of them from 0 to 1 (ms). */
export function readLatenessMs({ receivers }: JobRecord, share: number): number {
  const lateness = receivers.deliveries
    .filter(({ attempt }) => attempt === 1)
    .map(({ receivedAt, dueAt }) => receivedAt - dueAt)
    .toSorted((a, b) => a - b);
  return lateness[Math.floor(share * (lateness.length - 1))]!;
}
