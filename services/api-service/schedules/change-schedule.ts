import type { ScheduleChange, ScheduleRequest } from '@punctual/contracts';
import {
  armSchedule,
  asTenant,
  type ChangeOrigin,
  createSchedule,
  deleteSchedule,
  hasSchedulesEnough,
  lockSchedule,
  openOccurrences,
  readSpec,
  readWorkflowHeads,
  recordChanges,
  SCHEDULES_PER_TENANT_MAX,
  type ScheduleRow,
  saveSchedule,
  type Transaction,
} from '@punctual/database';
import { createId } from '@punctual/domain';
import { type ApiContext, readAnchorAt } from '../context.ts';
import { refuseFaults } from '../plugins/problems.ts';
import { ProblemError } from '../problem.ts';
import { findKeyFaults } from '../runs/key-faults.ts';
import { withTransaction } from '../transaction.ts';
import { formatETag, parseIfMatch } from '../workflows/etag.ts';
import { createWorkflowNotFound } from '../workflows/workflow-problems.ts';
import { prepareSpec, prepareTarget } from './prepare-schedule.ts';

/** Which schedule a change is for, and on what condition (`If-Match`). */
export interface ScheduleTarget {
  tenantId: string;
  id: string;
  ifMatch: string | undefined;
  origin: ChangeOrigin;
}

/** The tenant has no such schedule; another's is none. */
export function createScheduleNotFound(): ProblemError {
  return new ProblemError(404, 'schedule_not_found', 'There is no such schedule.');
}

function createScheduleEnded(): ProblemError {
  return new ProblemError(
    409,
    'schedule_ended',
    'The schedule has ended: it occurs no more. Change its rule or its end.',
  );
}

/** Stores a new schedule with its timer. Throws ProblemError: 400, 404 or 409 for its workflow, 429 with too many. */
export async function addSchedule(
  context: ApiContext,
  client: Transaction | undefined,
  tenantId: string,
  request: ScheduleRequest,
  origin: ChangeOrigin,
): Promise<ScheduleRow> {
  const now = readAnchorAt(context);
  const { spec, faults } = prepareSpec(request, undefined, { now, maxWaitMs: context.maxWaitMs });
  const { target, faults: targetFaults } = prepareTarget(context, tenantId, request, undefined);
  refuseFaults([...faults, ...targetFaults]);
  const row = planNext({
    id: createId(),
    tenant_id: tenantId,
    name: request.name ?? null,
    status: 'active',
    version: 1,
    spec: JSON.stringify(spec),
    ...target!,
    anchor_at: now,
    handled_at: now,
    waiting: [],
    next_at: null,
    next_due_at: null,
    timer_id: null,
    last_target_id: null,
    last_begun_at: null,
    last_occurrence_at: null,
    failure: null,
    live_timers_max: readLimit(context, tenantId),
    created_at: now,
    updated_at: now,
  });
  refuseIfNever(row);
  return withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    await checkWorkflow(context, transaction, row);
    if (await hasSchedulesEnough(transaction, tenantId)) {
      throw new ProblemError(
        429,
        'too_many_schedules',
        `The tenant has ${SCHEDULES_PER_TENANT_MAX} schedules; delete some that are not needed.`,
        { headers: { 'retry-after': '60' } },
      );
    }
    const armed = await armSchedule(transaction, row, context.partitionCount);
    await createSchedule(transaction, armed);
    await recordChanges(transaction, [{ targetId: row.id, tenantId, origin }]);
    return armed;
  });
}

/** Changes what a request names of a schedule. Throws ProblemError: 400, 404, 409 for its workflow, 412. */
export function changeSchedule(
  context: ApiContext,
  client: Transaction | undefined,
  target: ScheduleTarget,
  change: ScheduleChange,
): Promise<ScheduleRow> {
  return applyChange(context, client, target, async (transaction, row, now) => {
    const before = readSpec(row);
    const { spec, faults } = prepareSpec(change, before, { now, maxWaitMs: context.maxWaitMs });
    const prepared = prepareTarget(context, target.tenantId, change, row);
    refuseFaults([...faults, ...prepared.faults]);
    const hasNewTimes =
      change.rule !== undefined ||
      change.timeZone !== undefined ||
      change.startAt !== undefined ||
      change.endAt !== undefined;
    const hasEnded = row.status === 'ended';
    const changed: ScheduleRow = {
      ...row,
      ...prepared.target,
      ...(change.name !== undefined && { name: change.name }),
      spec: JSON.stringify(spec),
      // What was due by the rule before and has not begun never will, nor what would have occurred since the end.
      ...((hasNewTimes || hasEnded) && { handled_at: Math.max(now, row.handled_at), waiting: [] }),
      ...(hasNewTimes && { anchor_at: now }),
      ...(prepared.target && { failure: null, ...forgetLast(row, prepared.target) }),
    };
    // Of one that has ended, what made it end has to change.
    if (hasEnded && !hasNewTimes && !prepared.target) return changed;
    const planned = planNext(changed);
    if (hasNewTimes) refuseIfNever(planned);
    if (prepared.target) await checkWorkflow(context, transaction, planned);
    return hasEnded && planned.next_at !== null ? { ...planned, status: 'active' } : planned;
  });
}

/** Pauses or resumes a schedule; again when it is so already does nothing. What would have occurred meanwhile does not. */
export function steerSchedule(
  context: ApiContext,
  client: Transaction | undefined,
  target: ScheduleTarget,
  wanted: 'active' | 'paused',
): Promise<ScheduleRow> {
  return applyChange(context, client, target, async (_, row, now) => {
    if (row.status === wanted) return undefined;
    if (row.status === 'ended') throw createScheduleEnded();
    const steered: ScheduleRow = { ...row, status: wanted, waiting: [], failure: null };
    if (wanted === 'paused') return steered;
    const resumed = planNext({ ...steered, handled_at: Math.max(now, row.handled_at) });
    return resumed.next_at === null ? { ...resumed, status: 'ended' } : resumed;
  });
}

/** Forgets a schedule; what it has begun goes on. Throws a 404. */
export function removeSchedule(
  context: ApiContext,
  client: Transaction | undefined,
  { tenantId, id, ifMatch, origin }: ScheduleTarget,
): Promise<void> {
  return withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    await lockMatching(transaction, { tenantId, id, ifMatch });
    await deleteSchedule(transaction, tenantId, id);
    await recordChanges(transaction, [{ targetId: id, tenantId, origin }]);
  });
}

/** Locks a schedule, and throws a 404 when there is none, and a 412 when it has another version. */
export async function lockMatching(
  client: Transaction,
  { tenantId, id, ifMatch }: Omit<ScheduleTarget, 'origin'>,
): Promise<ScheduleRow> {
  const matches = parseIfMatch(ifMatch);
  const row = await lockSchedule(client, tenantId, id);
  if (!row) throw createScheduleNotFound();
  if (!matches(row.version)) {
    throw new ProblemError(412, 'version_mismatch', `The schedule has version ${row.version} by now.`, {
      headers: { etag: formatETag(row.version) },
    });
  }
  return row;
}

// `change` says what the row becomes, or that nothing is to be done.
async function applyChange(
  context: ApiContext,
  client: Transaction | undefined,
  target: ScheduleTarget,
  change: (client: Transaction, row: ScheduleRow, now: number) => Promise<ScheduleRow | undefined>,
): Promise<ScheduleRow> {
  const { tenantId, origin } = target;
  return withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    const row = await lockMatching(transaction, target);
    const now = readAnchorAt(context);
    const changed = await change(transaction, row, now);
    if (!changed) return row;
    const armed = await armSchedule(transaction, changed, context.partitionCount);
    const saved = {
      ...armed,
      version: row.version + 1,
      live_timers_max: readLimit(context, tenantId),
      updated_at: now,
    };
    await saveSchedule(transaction, saved);
    await recordChanges(transaction, [{ targetId: row.id, tenantId, origin }]);
    return saved;
  });
}

/** What was begun last is not shown as one of another kind. Its id stays: while it is under way, the next one overlaps. */
function forgetLast(before: ScheduleRow, target: Pick<ScheduleRow, 'workflow_id'>): Partial<ScheduleRow> {
  const isOfThatKind = (before.workflow_id === null) === (target.workflow_id === null);
  return isOfThatKind ? {} : { last_begun_at: null, last_occurrence_at: null };
}

function planNext(row: ScheduleRow): ScheduleRow {
  const next = openOccurrences(row).next(row.handled_at);
  return { ...row, next_at: next?.at ?? null, next_due_at: next?.dueAt ?? null };
}

function refuseIfNever({ next_at }: ScheduleRow): void {
  if (next_at !== null) return;
  refuseFaults([{ pointer: '/endAt', detail: 'It would not occur any more before that.' }]);
}

function readLimit(context: ApiContext, tenantId: string): number | null {
  return context.limits.find(tenantId)?.liveTimersMax ?? null;
}

async function checkWorkflow(context: ApiContext, client: Transaction, row: ScheduleRow): Promise<void> {
  if (row.workflow_id === null) return;
  const [head] = await readWorkflowHeads(client, [row.workflow_id]);
  if (head?.tenant_id !== row.tenant_id) throw createWorkflowNotFound();
  if (head.status === 'archived') {
    throw new ProblemError(409, 'workflow_archived', 'The workflow is archived and begins no runs.');
  }
  // By the present version. A later one may have other keys: what those can not be told of stands as it is written.
  const { tasks } = await context.workflowVersions.read(client, head.id, head.version);
  refuseFaults(findKeyFaults(tasks, row.input, '/run/input'));
}
