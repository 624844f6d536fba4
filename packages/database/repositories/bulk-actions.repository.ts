import { checkWait, computeDueAt, type DelayRule, LAST_INSTANT_MS } from '@punctual/domain';
import type { Transaction } from '../connect.ts';
import {
  type BulkPlan,
  lockBulkOperation,
  PORTION_TARGETS_MAX,
  type Reschedule,
  readPlan,
} from '../queries/bulk-operations.ts';
import type { BulkFailure } from '../queries/bulk-portions.ts';
import { cancelTimers, TIMERS_PER_CANCEL_MAX } from '../queries/cancel-timers.ts';
import {
  fireTimers,
  type NewDueTime,
  readWaitingTimers,
  recordBulkChanges,
  rescheduleTimers,
  shiftTimers,
  shiftTimersByPause,
  type WaitingTimer,
} from '../queries/change-many-timers.ts';
import { nameParking } from '../queries/gates.ts';
import { pauseTimers, releaseTimers, resumeTimers } from '../queries/pause-timers.ts';
import { readRunIdsOfTimers, readTimers, TIMERS_PER_READ_MAX } from '../queries/read-timers.ts';
import type { ChangeOrigin } from '../queries/record-changes.ts';
import { countLiveTimers } from '../queries/tenant-limits.ts';
import type { TimerRecord } from '../queries/timer-record.ts';
import { nameStatement } from '../statement.ts';
import type { BulkOperationRow } from '../tables.ts';
import type { WorkflowVersions } from '../workflow-versions.ts';
import { moveRuns } from './move-runs.repository.ts';
import { redriveDeadLetters } from './redrive.repository.ts';
import { advanceRuns, type LockedRun, lockRuns } from './run-progress.repository.ts';

/** What became of a portion. */
export interface BulkResult {
  done: number;
  failures: BulkFailure[];
}

/** Of the targets, those that were changed; the others are looked at to say why not. */
interface Changed {
  ids: readonly string[];
  /** States in which a timer is as the operation wants it, without a change. */
  fine: readonly TimerRecord['state'][];
  failures?: readonly BulkFailure[];
}

/**
 * Does one portion of an operation in the transaction of `client`: all runs are locked before the first timer. What can not
 * be changed is a failure and leaves the others alone.
 */
export async function doBulkPortion(
  client: Transaction,
  versions: WorkflowVersions,
  operation: BulkOperationRow,
  ids: readonly string[],
): Promise<BulkResult> {
  if (ids.length > PORTION_TARGETS_MAX) throw new RangeError(`${ids.length} targets in one portion`);
  const { plan } = readPlan(operation);
  const tenantId = operation.tenant_id;
  const origin = describeChange(operation);
  if (plan.do === 'cancelRuns') return cancelRuns(client, versions, tenantId, ids, plan, origin);
  if (plan.do === 'moveRuns') return moveRuns(client, versions, tenantId, ids, plan, origin);
  if (plan.do === 'redrive') return redrive(client, versions, operation, ids, plan, origin);
  const changed = await change(client, versions, tenantId, ids, plan, origin);
  return explainRest(client, tenantId, ids, changed);
}

function describeChange({ id, action, actor, key_id: keyId, request_id: requestId }: BulkOperationRow): ChangeOrigin {
  const details = JSON.stringify({ bulkOperationId: id, action });
  return { action: 'bulk-operation.change', actor, keyId, requestId, details };
}

async function change(
  client: Transaction,
  versions: WorkflowVersions,
  tenantId: string,
  ids: readonly string[],
  plan: Exclude<BulkPlan, { do: 'cancelRuns' | 'moveRuns' | 'redrive' }>,
  origin: ChangeOrigin,
): Promise<Changed> {
  const wanted = ids.map((id) => ({ id, origin }));
  const toIds = (records: readonly { id: string }[]) => records.map(({ id }) => id);
  const recorded = async (changed: readonly string[]) => {
    await recordBulkChanges(client, tenantId, changed, origin);
    return changed;
  };
  switch (plan.do) {
    case 'cancel':
      return { ids: await cancelSome(client, versions, tenantId, ids, origin), fine: ['cancelled'] };
    case 'pause':
      return { ids: toIds(await pauseTimers(client, tenantId, wanted)), fine: ['paused'] };
    case 'resume': {
      await lockRuns(client, await readRunIdsOfTimers(client, tenantId, ids));
      const held = await findOfPausedRuns(client, ids);
      const free = wanted.filter(({ id }) => !held.has(id));
      return { ids: toIds(await resumeTimers(client, tenantId, free, plan)), fine: ['scheduled'] };
    }
    case 'fire':
      return { ids: await recorded(await fireTimers(client, tenantId, ids)), fine: [] };
    case 'reschedule': {
      const { changed, failures } = await reschedule(client, versions, tenantId, ids, plan);
      return { ids: await recorded(changed), fine: [], failures };
    }
    case 'release': {
      const released = await releaseTimers(client, tenantId, ids, nameParking(plan.gate), plan);
      // Whoever ended, or was paused by itself, meanwhile needs no release.
      return { ids: released, fine: ['scheduled', 'running', 'paused', 'succeeded', 'dead', 'cancelled', 'skipped'] };
    }
    case 'shift': {
      const shifted = await shiftTimersByPause(client, tenantId, ids, plan);
      return { ids: await recorded(shifted), fine: ['running', 'succeeded', 'dead', 'cancelled', 'skipped'] };
    }
  }
}

async function cancelSome(
  client: Transaction,
  versions: WorkflowVersions,
  tenantId: string,
  ids: readonly string[],
  origin: ChangeOrigin | undefined,
  markRuns: (run: LockedRun) => LockedRun = (run) => run,
  locked?: readonly LockedRun[],
): Promise<string[]> {
  const runs = locked ?? (await lockRuns(client, await readRunIdsOfTimers(client, tenantId, ids)));
  const cancelled = [];
  // The portions of one transaction are locked in one order.
  const sorted = ids.toSorted();
  for (let start = 0; start < sorted.length; start += TIMERS_PER_CANCEL_MAX) {
    const some = sorted.slice(start, start + TIMERS_PER_CANCEL_MAX);
    cancelled.push(
      ...(await cancelTimers(client, tenantId, origin === undefined ? some : some.map((id) => ({ id, origin })))),
    );
  }
  if (runs.length > 0) {
    const ended = cancelled.map((timer) => ({ ...timer, state: 'cancelled' as const }));
    await advanceRuns(client, versions, runs.map(markRuns), ended);
  }
  return cancelled.map(({ id }) => id);
}

const selectWaitingOfRuns = nameStatement<{ id: string }>(
  'read_cancellable_timers_of_runs',
  `SELECT id FROM timers WHERE run_id = ANY ($1::uuid[]) AND state IN ('scheduled', 'paused')`,
);

/** Whole runs: as `POST /v1/runs/{id}/cancel` does it. One that has ended by now is as it should be. */
async function cancelRuns(
  client: Transaction,
  versions: WorkflowVersions,
  tenantId: string,
  ids: readonly string[],
  { before }: { before: number },
  origin: ChangeOrigin,
): Promise<BulkResult> {
  const runs = (await lockRuns(client, ids)).filter(
    (run) => run.created_at < before && (run.status === 'running' || run.status === 'paused'),
  );
  const runIds = runs.map(({ id }) => id);
  const timers = (await selectWaitingOfRuns(client, [runIds])).map(({ id }) => id);
  await cancelSome(client, versions, tenantId, timers, undefined, (run) => ({ ...run, status: 'cancelled' }), runs);
  await recordBulkChanges(client, tenantId, runIds, origin);
  return { done: ids.length, failures: [] };
}

async function redrive(
  client: Transaction,
  versions: WorkflowVersions,
  { id: operationId, tenant_id: tenantId }: BulkOperationRow,
  ids: readonly string[],
  { liveTimersMax }: { liveTimersMax?: number },
  origin: ChangeOrigin,
): Promise<BulkResult> {
  const failures: BulkFailure[] = [];
  // One lane at a time, so that each counts what the others let in.
  if (liveTimersMax !== undefined) await lockBulkOperation(client, tenantId, operationId);
  const admit = async (count: number) => {
    if (liveTimersMax === undefined) return count;
    return Math.max(0, Math.min(count, liveTimersMax - (await countLiveTimers(client, tenantId))));
  };
  const { all: redriven, refused, left } = await redriveDeadLetters(client, versions, tenantId, ids, admit);
  await recordBulkChanges(client, tenantId, [...redriven], origin);
  for (const id of ids) {
    if (redriven.has(id)) continue;
    if (left.has(id)) {
      const detail = `The tenant may have ${liveTimersMax} live timers; there was no room for one more.`;
      failures.push({ id, code: 'quota_exceeded', detail });
      continue;
    }
    failures.push(
      refused.has(id)
        ? { id, code: 'run_cancelled', detail: 'The run of the timer was cancelled; it begins nothing more.' }
        : { id, code: 'not_a_dead_letter', detail: 'The timer is no dead letter, or not any more.' },
    );
  }
  return { done: redriven.size, failures };
}

const selectOfPausedRuns = nameStatement<{ id: string }>(
  'read_timers_of_paused_runs',
  `SELECT t.id FROM timers AS t JOIN runs AS r ON r.id = t.run_id WHERE t.id = ANY ($1::uuid[]) AND r.status = 'paused'`,
);

/** Of these timers, whose runs are locked, those that their run holds back. */
async function findOfPausedRuns(client: Transaction, ids: readonly string[]): Promise<Set<string>> {
  return new Set((await selectOfPausedRuns(client, [ids])).map(({ id }) => id));
}

async function reschedule(
  client: Transaction,
  versions: WorkflowVersions,
  tenantId: string,
  ids: readonly string[],
  { change: wanted, maxWaitMs }: { change: Reschedule; maxWaitMs?: number },
): Promise<{ changed: string[]; failures: BulkFailure[] }> {
  if ('shiftMs' in wanted) {
    const { shiftMs } = wanted;
    const failures = shiftMs > 0 ? await findTooFar(client, tenantId, ids, shiftMs, maxWaitMs) : [];
    const isTooFar = new Set(failures.map(({ id }) => id));
    const near = ids.filter((id) => !isTooFar.has(id));
    return { changed: await shiftTimers(client, tenantId, near, shiftMs), failures };
  }
  if ('dueAt' in wanted) {
    const dueTimes = ids.map((id) => ({ id, dueAt: wanted.dueAt }));
    return { changed: await rescheduleTimers(client, tenantId, dueTimes, null), failures: [] };
  }
  const rule = wanted.delay as DelayRule;
  const dueTimes: NewDueTime[] = [];
  const failures: BulkFailure[] = [];
  for (const timer of await readWaitingTimers(client, tenantId, ids)) {
    const due = computeDueAt(rule, {
      anchorAt: timer.createdAt,
      timeZone: await readZone(client, versions, timer),
    });
    const fault =
      due.kind === 'due' ? checkWait(rule, { anchorAt: timer.createdAt, dueAt: due.dueAt }, maxWaitMs) : undefined;
    if (fault) failures.push({ id: timer.id, code: 'wait_too_long', detail: fault.detail });
    else if (due.kind === 'due') dueTimes.push({ id: timer.id, dueAt: due.dueAt });
    else
      failures.push({
        id: timer.id,
        code: 'date_past',
        detail: 'The date is past, and the rule gives no due time then.',
      });
  }
  return { changed: await rescheduleTimers(client, tenantId, dueTimes, JSON.stringify(rule)), failures };
}

/** Those of the timers that would wait, from now on, for longer than a new one may. */
async function findTooFar(
  client: Transaction,
  tenantId: string,
  ids: readonly string[],
  shiftMs: number,
  maxWaitMs: number | undefined,
): Promise<BulkFailure[]> {
  const timers = await readWaitingTimers(client, tenantId, ids);
  return timers.flatMap(({ id, dueAt, readAt }) => {
    // It waits for a signal without a time-out, which no shift gives it.
    if (dueAt === LAST_INSTANT_MS) return [];
    const fault = checkWait(undefined, { anchorAt: readAt, dueAt: dueAt + shiftMs }, maxWaitMs);
    return fault ? [{ id, code: 'wait_too_long', detail: fault.detail }] : [];
  });
}

async function readZone(client: Transaction, versions: WorkflowVersions, timer: WaitingTimer): Promise<string> {
  if (timer.timeZone !== null) return timer.timeZone;
  if (timer.workflowId === null || timer.workflowVersion === null) return 'UTC';
  return (await versions.read(client, timer.workflowId, timer.workflowVersion)).timeZone;
}

/** Adds why the others were not changed. */
async function explainRest(
  client: Transaction,
  tenantId: string,
  ids: readonly string[],
  { ids: changed, fine, failures = [] }: Changed,
): Promise<BulkResult> {
  const settled = new Set([...changed, ...failures.map(({ id }) => id)]);
  const rest = ids.filter((id) => !settled.has(id));
  const all = [...failures];
  for (let start = 0; start < rest.length; start += TIMERS_PER_READ_MAX) {
    const some = rest.slice(start, start + TIMERS_PER_READ_MAX);
    const records = await readTimers(client, tenantId, some);
    for (const id of some) {
      const failure = explain(id, records.get(id)?.state, fine);
      if (failure) all.push(failure);
    }
  }
  return { done: ids.length - all.length, failures: all };
}

function explain(
  id: string,
  state: TimerRecord['state'] | undefined,
  fine: readonly TimerRecord['state'][],
): BulkFailure | undefined {
  if (state === undefined) return { id, code: 'not_found', detail: 'There is no such timer.' };
  if (fine.includes(state)) return undefined;
  if (state === 'running')
    return {
      id,
      code: 'timer_already_started',
      detail: 'An attempt of the timer has started; it is too late for this.',
    };
  if (state === 'paused')
    return { id, code: 'timer_held', detail: 'Its run, workflow, queue or origin is paused; resume that.' };
  if (state === 'scheduled')
    return { id, code: 'timer_changing', detail: 'The timer was being changed by others at that moment.' };
  return { id, code: 'timer_finished', detail: `The timer has ended: it is ${state}.` };
}
