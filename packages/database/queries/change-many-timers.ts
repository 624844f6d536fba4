import type { Queryable, Transaction } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import { type ChangeOrigin, recordChanges } from './record-changes.ts';
import { shiftDue, shiftDueByPause } from './shift-due.ts';

// What bulk operations do to many timers at once. All of these lock the timers in the order of the ids they are given (callers
// sort them), as a start does; only those that wait match, so an attempt that started first wins. Each returns the ids of
// those that it changed. To lock all rows before the update, as a cancel does, would cost as much again as the update.
// IS NOT DISTINCT FROM: see `cancel_timers`.
const WAITING = `t.tenant_id IS NOT DISTINCT FROM $1::uuid AND t.state IN ('scheduled', 'paused')`;

const sortIds = (ids: readonly string[]) => toPlainArray(ids.toSorted());

const fireRows = nameStatement<{ id: string }>(
  'fire_timers',
  `UPDATE timers AS t SET version = t.version + 1, due_at = least(t.due_at, clock_timestamp()),
     wake_at = CASE t.state WHEN 'scheduled' THEN clock_timestamp() ELSE t.wake_at END
   FROM unnest($2::uuid[]) AS c(id) WHERE t.id = c.id AND ${WAITING}
   RETURNING t.id`,
);

/** Makes those of a tenant's timers due now that wait; paused ones stay paused. */
export async function fireTimers(client: Transaction, tenantId: string, ids: readonly string[]): Promise<string[]> {
  return (await fireRows(client, [tenantId, sortIds(ids)])).map(({ id }) => id);
}

// A new due time moves the wake time of a scheduled timer, never behind the schedulers' cursors.
const rescheduleRows = nameStatement<{ id: string }>(
  'reschedule_timers',
  `UPDATE timers AS t SET version = t.version + 1, due_at = to_timestamp(c.due_at / 1000), delay = $4::json,
     wake_at = CASE t.state WHEN 'scheduled' THEN greatest(to_timestamp(c.due_at / 1000), clock_timestamp()) ELSE t.wake_at END
   FROM unnest($2::uuid[], $3::float8[]) AS c(id, due_at) WHERE t.id = c.id AND ${WAITING}
   RETURNING t.id`,
);

/** A timer, and when it is to be due (epoch ms). */
export interface NewDueTime {
  id: string;
  dueAt: number;
}

/** Gives those of a tenant's timers that wait a new due time, and the rule from which it came as JSON text. */
export async function rescheduleTimers(
  client: Transaction,
  tenantId: string,
  dueTimes: readonly NewDueTime[],
  delay: string | null,
): Promise<string[]> {
  const sorted = dueTimes.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const rows = await rescheduleRows(client, [
    tenantId,
    toPlainArray(sorted.map(({ id }) => id)),
    toPlainArray(sorted.map(({ dueAt }) => dueAt)),
    delay,
  ]);
  return rows.map(({ id }) => id);
}

const shiftRows = nameStatement<{ id: string }>(
  'shift_timers',
  `UPDATE timers AS t SET version = t.version + 1, due_at = ${shiftDue("$3::float8 * interval '1 millisecond'")}, delay = NULL,
     wake_at = CASE t.state WHEN 'scheduled' THEN greatest(${shiftDue("$3::float8 * interval '1 millisecond'")}, clock_timestamp()) ELSE t.wake_at END
   FROM unnest($2::uuid[]) AS c(id) WHERE t.id = c.id AND ${WAITING}
   RETURNING t.id`,
);

/** Moves the due times of those of a tenant's timers that wait. */
export async function shiftTimers(
  client: Transaction,
  tenantId: string,
  ids: readonly string[],
  shiftMs: number,
): Promise<string[]> {
  return (await shiftRows(client, [tenantId, sortIds(ids), shiftMs])).map(({ id }) => id);
}

// By the length of the pause, or of the part of it that the timer has waited through.
const SHIFTED = shiftDueByPause(
  `greatest(to_timestamp($4::float8 / 1000) - greatest(to_timestamp($3::float8 / 1000), t.created_at), '0')`,
);
const shiftByPauseRows = nameStatement<{ id: string }>(
  'shift_timers_by_pause',
  `UPDATE timers AS t SET version = t.version + 1, due_at = ${SHIFTED},
     wake_at = CASE t.state WHEN 'scheduled' THEN greatest(${SHIFTED}, clock_timestamp()) ELSE t.wake_at END
   FROM unnest($2::uuid[]) AS c(id) WHERE t.id = c.id AND ${WAITING}
   RETURNING t.id`,
);

/** Moves the due times of those of a tenant's timers that wait by a pause that began and ended then (epoch ms). */
export async function shiftTimersByPause(
  client: Transaction,
  tenantId: string,
  ids: readonly string[],
  { pausedAt, resumedAt }: { pausedAt: number; resumedAt: number },
): Promise<string[]> {
  return (await shiftByPauseRows(client, [tenantId, sortIds(ids), pausedAt, resumedAt])).map(({ id }) => id);
}

/** What a rule is reckoned from. */
export interface WaitingTimer {
  id: string;
  createdAt: number;
  dueAt: number;
  /** The database's time. */
  readAt: number;
  timeZone: string | null;
  runId: string | null;
  workflowId: string | null;
  workflowVersion: number | null;
  taskKey: string | null;
}

const selectWaiting = nameStatement<WaitingTimer>(
  'read_waiting_timers',
  `SELECT id, created_at AS "createdAt", due_at AS "dueAt", date_part('epoch', clock_timestamp()) * 1000 AS "readAt", time_zone AS "timeZone", run_id AS "runId", workflow_id AS "workflowId", workflow_version AS "workflowVersion", task_key AS "taskKey"
   FROM timers WHERE id = ANY ($2::uuid[]) AND tenant_id IS NOT DISTINCT FROM $1::uuid AND state IN ('scheduled', 'paused')`,
);

/** Those of a tenant's timers that wait. Takes no lock. */
export function readWaitingTimers(
  database: Queryable,
  tenantId: string,
  ids: readonly string[],
): Promise<WaitingTimer[]> {
  return selectWaiting(database, [tenantId, toPlainArray(ids)]);
}

/** Enters in the audit log that an operation changed these. */
export async function recordBulkChanges(
  client: Transaction,
  tenantId: string,
  ids: readonly string[],
  origin: ChangeOrigin,
): Promise<void> {
  await recordChanges(
    client,
    ids.map((targetId) => ({ targetId, tenantId, origin })),
  );
}
