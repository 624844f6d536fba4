import {
  createOccurrences,
  type MissedPolicy,
  type Occurrences,
  type Overlap,
  type ScheduleRule,
  SYSTEM_TENANT_ID,
} from '@punctual/domain';
import type { Queryable, Transaction } from '../connect.ts';
import { queryBuilder } from '../query-builder.ts';
import { type CreatedAfter, readCreatedPage, type StoredPage } from '../repositories/keyset.ts';
import { nameStatement } from '../statement.ts';
import type { ScheduleRow } from '../tables.ts';
import { withOwnRights } from '../tenant-pool.ts';
import { cancelTimers } from './cancel-timers.ts';
import { createTimers } from './create-timers.ts';
import { lockCountOf } from './lock-count.ts';
import { makeSystemTimer } from './system-timer.ts';

/** When a schedule occurs, and what becomes of what overlaps and of what was missed. Instants in epoch ms. */
export interface ScheduleSpec {
  rule: ScheduleRule;
  timeZone: string;
  startAt: number | null;
  endAt: number | null;
  jitterMs: number;
  overlap: Overlap;
  missedRuns: MissedPolicy;
}

/** Schedules of one tenant. Each that is active has a timer of the system. */
export const SCHEDULES_PER_TENANT_MAX = 10_000;
/** Of one attempt of a schedule's timer: one that was lost with its worker is begun again soon after. */
const TURN_TIMEOUT_MS = 5_000;

/** What `spec` holds. */
export function readSpec({ spec }: Pick<ScheduleRow, 'spec'>): ScheduleSpec {
  return JSON.parse(spec) as ScheduleSpec;
}

/** The occurrences of a stored schedule. */
export function openOccurrences(row: Pick<ScheduleRow, 'id' | 'spec' | 'anchor_at'>): Occurrences {
  const { rule, timeZone, startAt, endAt, jitterMs } = readSpec(row);
  return createOccurrences({ rule, timeZone, startAt, endAt, jitterMs, anchorAt: row.anchor_at, seed: row.id });
}

const countRows = nameStatement<{ count: number }>(
  'count_schedules',
  'SELECT count(*) AS count FROM schedules WHERE tenant_id = $1',
);

/** Whether a tenant has as many schedules as it may. Exact: whoever asks the same for it waits until this transaction ends. */
export async function hasSchedulesEnough(client: Transaction, tenantId: string): Promise<boolean> {
  await lockCountOf(client, 'schedules', tenantId);
  const [row] = await countRows(client, [tenantId]);
  return row!.count >= SCHEDULES_PER_TENANT_MAX;
}

const instant = (parameter: string) => `to_timestamp(${parameter}::float8 / 1000)`;

const insertRow = nameStatement(
  'create_schedule',
  `INSERT INTO schedules (id, tenant_id, name, status, version, spec, workflow_id, input, action, payload, retry, timeout_ms, labels,
     anchor_at, handled_at, waiting, next_at, next_due_at, timer_id, last_target_id, last_begun_at, last_occurrence_at, failure,
     live_timers_max, updated_at, priority, created_at)
   VALUES ($1, $2, $3, $4, $5, $6::json, $7, $8::json, $9::json, $10::json, $11::json, $12, $13::jsonb,
     ${instant('$14')}, ${instant('$15')}, $16, ${instant('$17')}, ${instant('$18')}, $19, $20, ${instant('$21')}, ${instant('$22')},
     $23::json, $24, ${instant('$25')}, $26, ${instant('$27')})`,
);
// The caller holds the lock of the row.
const updateRow = nameStatement(
  'save_schedule',
  `UPDATE schedules SET name = $3, status = $4, version = $5, spec = $6::json, workflow_id = $7, input = $8::json, action = $9::json,
     payload = $10::json, retry = $11::json, timeout_ms = $12, labels = $13::jsonb, anchor_at = ${instant('$14')},
     handled_at = ${instant('$15')}, waiting = $16, next_at = ${instant('$17')}, next_due_at = ${instant('$18')}, timer_id = $19,
     last_target_id = $20, last_begun_at = ${instant('$21')}, last_occurrence_at = ${instant('$22')}, failure = $23::json,
     live_timers_max = $24, updated_at = ${instant('$25')}, priority = $26
   WHERE id = $1 AND tenant_id = $2`,
);

function toParameters(row: ScheduleRow): unknown[] {
  return [
    row.id,
    row.tenant_id,
    row.name,
    row.status,
    row.version,
    row.spec,
    row.workflow_id,
    row.input,
    row.action,
    row.payload,
    row.retry,
    row.timeout_ms,
    row.labels && JSON.stringify(row.labels),
    row.anchor_at,
    row.handled_at,
    row.waiting,
    row.next_at,
    row.next_due_at,
    row.timer_id,
    row.last_target_id,
    row.last_begun_at,
    row.last_occurrence_at,
    row.failure,
    row.live_timers_max,
    row.updated_at,
    row.priority,
  ];
}

/** Stores a new schedule. Its timer is made before (`armSchedule`). */
export async function createSchedule(client: Transaction, row: ScheduleRow): Promise<void> {
  await insertRow(client, [...toParameters(row), row.created_at]);
}

/** Stores all that may change of a schedule that the transaction has locked. */
export async function saveSchedule(client: Transaction, row: ScheduleRow): Promise<void> {
  await updateRow(client, toParameters(row));
}

const selectRow = nameStatement<ScheduleRow>(
  'read_schedule',
  'SELECT * FROM schedules WHERE id = $1 AND tenant_id = $2',
);
const lockRow = nameStatement<ScheduleRow>(
  'lock_schedule',
  'SELECT * FROM schedules WHERE id = $1 AND tenant_id = $2 FOR UPDATE',
);

export async function readSchedule(
  database: Queryable,
  tenantId: string,
  id: string,
): Promise<ScheduleRow | undefined> {
  const [row] = await selectRow(database, [id, tenantId]);
  return row;
}

/** Locks a tenant's schedule until the transaction ends: what it begins, it has begun before, or begins as it is then. */
export async function lockSchedule(
  client: Transaction,
  tenantId: string,
  id: string,
): Promise<ScheduleRow | undefined> {
  const [row] = await lockRow(client, [id, tenantId]);
  return row;
}

/** Characters of what occurrences carry on one page, which ends behind the schedule that reaches them. */
const PAGE_LENGTH_MAX = 4_194_304;

/** A tenant's schedules in the order `(createdAt, id)`. */
export async function listSchedules(
  database: Queryable,
  filter: { tenantId: string; status: readonly ScheduleRow['status'][] | undefined; workflowId: string | undefined },
  page: { after: CreatedAfter | undefined; limit: number },
): Promise<StoredPage<ScheduleRow>> {
  let query = queryBuilder.selectFrom('schedules').selectAll().where('tenant_id', '=', filter.tenantId);
  if (filter.status) query = query.where('status', 'in', filter.status);
  if (filter.workflowId !== undefined) query = query.where('workflow_id', '=', filter.workflowId);
  const { rows, hasMore } = await readCreatedPage(database, query, page);
  let length = 0;
  const cut = rows.findIndex(({ input, action, payload }) => {
    length += (input?.length ?? 0) + (action?.length ?? 0) + (payload?.length ?? 0);
    return length > PAGE_LENGTH_MAX;
  });
  return cut === -1 ? { rows, hasMore } : { rows: rows.slice(0, cut + 1), hasMore: hasMore || cut + 1 < rows.length };
}

const deleteRow = nameStatement<{ timer_id: string | null }>(
  'delete_schedule',
  'DELETE FROM schedules WHERE id = $1 AND tenant_id = $2 RETURNING timer_id',
);

/** Forgets a schedule and its timer. False when there is none. */
export async function deleteSchedule(client: Transaction, tenantId: string, id: string): Promise<boolean> {
  const [row] = await deleteRow(client, [id, tenantId]);
  if (row) await cancelTimer(client, row.timer_id);
  return row !== undefined;
}

/**
 * Gives a schedule whose next occurrence may have changed a timer for it, in place of the one that it has: one that has started by
 * now finds that it is not the schedule's any more. One that is not active gets none. The row is stored by the caller.
 */
export async function armSchedule(client: Transaction, row: ScheduleRow, partitionCount: number): Promise<ScheduleRow> {
  await cancelTimer(client, row.timer_id);
  if (row.status !== 'active') return { ...row, timer_id: null };
  const dueAt = row.waiting.length > 0 ? 0 : (row.next_due_at ?? 0);
  const action = { type: 'system' as const, task: 'schedule' as const, id: row.id, tenantId: row.tenant_id };
  const timer = makeSystemTimer(action, { dueAt, timeoutMs: TURN_TIMEOUT_MS, partitionCount });
  await withOwnRights(client, (own) => createTimers(own, [timer]));
  return { ...row, timer_id: timer.id };
}

async function cancelTimer(client: Transaction, timerId: string | null): Promise<void> {
  if (timerId !== null) await withOwnRights(client, (own) => cancelTimers(own, SYSTEM_TENANT_ID, [timerId]));
}
