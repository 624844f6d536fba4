import type { Delivery, PullEvent } from '@punctual/e2e';
import { ON_ITS_WAY_MS, ROUNDING_MS } from './allowances.ts';
import type { Offence } from './evidence.ts';

// What is judged of the traffic that cases have of their own: runs that map, pauses, bulk operations, pull workers.

/** A run of which a task runs once per element, as it ended. */
export interface MappedRun {
  id: string;
  status: string;
}

/** Each element was sent as one timer, the join as one, after all of them and with all of their outputs in order. */
export function judgeMappedRuns(
  runs: readonly MappedRun[],
  deliveries: readonly Delivery[],
  elements: readonly (readonly number[])[],
): Offence[] {
  const byRun = Map.groupBy(deliveries, ({ body }) => body.runId);
  return runs.flatMap(({ id, status }) => {
    if (status !== 'succeeded') return [{ check: 'lost' as const, text: `run ${id} is ${status}, not succeeded` }];
    const requests = Map.groupBy(byRun.get(id) ?? [], ({ body }) => body.taskKey);
    const offences: Offence[] = [];
    const leaves = Map.groupBy(requests.get('leaf') ?? [], ({ body }) => body.item as number);
    for (const element of elements.flat()) {
      const timers = new Set((leaves.get(element) ?? []).map(({ timerId }) => timerId));
      if (timers.size === 0) offences.push({ check: 'lost', text: `element ${element} of run ${id} was never sent` });
      if (timers.size > 1)
        offences.push({ check: 'repeated', text: `element ${element} of run ${id} became ${timers.size} timers` });
    }
    const joins = requests.get('join') ?? [];
    const timers = new Set(joins.map(({ timerId }) => timerId));
    if (timers.size !== 1) offences.push({ check: 'lost', text: `the join of run ${id} became ${timers.size} timers` });
    const sentAt = Math.max(...[...leaves.values()].map(([first]) => first!.receivedAt));
    for (const { receivedAt, body } of joins) {
      if (receivedAt < sentAt)
        offences.push({ check: 'early', text: `the join of run ${id} came before its elements` });
      if (JSON.stringify(body.inputs?.reduce) !== JSON.stringify(elements))
        offences.push({ check: 'lost', text: `the join of run ${id} got ${JSON.stringify(body.inputs)}` });
    }
    return offences;
  });
}

/** A pause that was acknowledged. Instants in epoch ms. */
export interface AcknowledgedPause {
  runIds: ReadonlySet<string>;
  ackAt: number;
  /** When its resume was asked for. */
  resumedAt: number;
}

/** No request of a paused run begins between the answer to the pause and the resume; in the end every task was sent. */
export function judgePauses(
  pauses: readonly AcknowledgedPause[],
  runs: readonly MappedRun[],
  taskKeys: readonly string[],
  deliveries: readonly Delivery[],
): Offence[] {
  const offences: Offence[] = [];
  for (const { runIds, ackAt, resumedAt } of pauses) {
    for (const { body, receivedAt } of deliveries) {
      if (body.runId === null || !runIds.has(body.runId)) continue;
      if (receivedAt > ackAt + ON_ITS_WAY_MS && receivedAt < resumedAt) {
        const text = `task ${body.taskKey} of run ${body.runId} came ${receivedAt - ackAt} ms after the pause was answered`;
        offences.push({ check: 'overtaken', text });
      }
    }
  }
  const sent = new Set(deliveries.map(({ body }) => `${body.runId}/${body.taskKey}`));
  for (const { id, status } of runs) {
    if (status !== 'succeeded') offences.push({ check: 'lost', text: `run ${id} is ${status}, not succeeded` });
    const missing = taskKeys.filter((key) => !sent.has(`${id}/${key}`));
    if (missing.length > 0) offences.push({ check: 'lost', text: `of run ${id} nobody got ${missing.join(', ')}` });
  }
  return offences;
}

/** A bulk operation as it ended, and what it was to do. */
export interface EndedOperation {
  id: string;
  status: string;
  matched: number;
  done: number;
  failed: number;
}

/** It met each of its targets once, and could change all of them. */
export function judgeOperation({ id, status, matched, done, failed }: EndedOperation, targets: number): Offence[] {
  if (status === 'succeeded' && matched === targets && done === targets && failed === 0) return [];
  const text = `operation ${id} is ${status}: ${matched} of ${targets} matched, ${done} done, ${failed} failed`;
  return [{ check: 'lost', text }];
}

/** A timer that operations moved. Instants in epoch ms. */
export interface MovedTimer {
  id: string;
  version: number;
  dueAt: number;
  /** As it should be. */
  wantedAt: number;
}

/** Each was moved once by each operation, by as much as was asked for. */
export function judgeMoves(timers: readonly MovedTimer[], moves: number): Offence[] {
  return timers.flatMap(({ id, version, dueAt, wantedAt }) => {
    if (dueAt === wantedAt && version === 1 + moves) return [];
    const text = `timer ${id}, moved ${moves} times, has version ${version} and is due ${dueAt - wantedAt} ms from where it should be`;
    return [{ check: version > 1 + moves ? ('repeated' as const) : ('lost' as const), text }];
  });
}

/** A process of a pull worker, what it said, and when it was killed (epoch ms). */
export interface PullLog {
  events: readonly PullEvent[];
  killedAt: number | undefined;
}

/** A task for pull workers as it ended. Instants in epoch ms. */
export interface PulledTask {
  id: string;
  status: string;
  attempt: number;
  dueAt: number;
  finishedAt: number;
  /** Attempts that the API shows as lost: their leases had lapsed when others got the task. */
  lost: number;
}

/**
 * Each task ended well by its first attempt, since losses do not count; nobody had it early, after its end, or while another
 * had it who was not killed and whose lease had not lapsed.
 */
export function judgePulledTasks(tasks: readonly PulledTask[], logs: readonly PullLog[]): Offence[] {
  const begins = Map.groupBy(
    logs
      .flatMap((log) => log.events.filter(({ event }) => event === 'began').map(({ id, at }) => ({ id, at, log })))
      .toSorted((a, b) => a.at - b.at),
    ({ id }) => id,
  );
  return tasks.flatMap(({ id, status, attempt, dueAt, finishedAt, lost }) => {
    const own = begins.get(id) ?? [];
    const offences: Offence[] = [];
    if (status !== 'succeeded' || own.length === 0)
      offences.push({ check: 'lost', text: `task ${id} is ${status}, begun ${own.length} times` });
    if (attempt !== 1) offences.push({ check: 'lost', text: `task ${id} ended with attempt ${attempt}` });
    let besides = 0;
    for (const [index, { at }] of own.entries()) {
      if (at < dueAt - ROUNDING_MS)
        offences.push({ check: 'early', text: `task ${id} was begun ${dueAt - at} ms early` });
      if (at > finishedAt + ON_ITS_WAY_MS)
        offences.push({ check: 'repeated', text: `task ${id} was begun ${at - finishedAt} ms after its end` });
      const killedAt = own[index - 1]?.log.killedAt ?? Number.POSITIVE_INFINITY;
      if (index > 0 && at < killedAt) besides += 1;
    }
    if (besides > lost)
      offences.push({ check: 'repeated', text: `task ${id} was begun ${besides} times while another worker had it` });
    return offences;
  });
}
