import type { Actor, SystemAction } from '@punctual/domain';
import type { Queryable, Transaction } from '../connect.ts';
import { queryBuilder } from '../query-builder.ts';
import { type CreatedAfter, readCreatedPage, type StoredPage } from '../repositories/keyset.ts';
import type { TimerCondition } from '../repositories/timers.repository.ts';
import { runQuery } from '../run-query.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import type { BulkFailureRow, BulkOperationRow } from '../tables.ts';
import { withOwnRights } from '../tenant-pool.ts';
import { createTimers } from './create-timers.ts';
import type { GateKey } from './gates.ts';
import { lockCountOf } from './lock-count.ts';
import type { DueTimes } from './pause-timers.ts';
import { DEAD_LETTERS_PER_REDRIVE_MAX } from './redrive-timers.ts';
import { makeSystemTimer } from './system-timer.ts';

/** What a timer's due time becomes: JSON of a rule that counts from its anchor, an instant (epoch ms), or so much later (ms). */
export type Reschedule = { delay: object } | { dueAt: number } | { shiftMs: number };

/** How an operation is carried out. Instants in epoch ms. */
export type BulkPlan =
  | { do: 'cancel' | 'pause' | 'fire' }
  /** `liveTimersMax`: of the tenant, when it has a limit. */
  | { do: 'redrive'; liveTimersMax?: number }
  | { do: 'resume'; dueTimes: DueTimes; paceMs: number }
  /** `maxWaitMs`: the longest that a timer may wait; as in the domain when it is absent. */
  | { do: 'reschedule'; change: Reschedule; maxWaitMs?: number }
  | { do: 'cancelRuns'; workflowId: string; before: number }
  /** Of what a gate held back that is open by now. */
  | { do: 'release'; gate: Omit<GateKey, 'tenantId'>; dueTimes: DueTimes; paceMs: number }
  /** Moves what waits in a paused workflow by its pause; then its gate is opened, and what was held back released. */
  | { do: 'shift'; workflowId: string; pausedAt: number; resumedAt: number; ratePerSecond: number }
  /** Of a workflow's runs, with all that sleeps in them, to a version of it. */
  | { do: 'moveRuns'; workflowId: string; version: number };

/** What an operation is about, listed when it begins: every target once, however it changes meanwhile. */
export type BulkSource =
  | { of: 'timers' | 'deadLetters'; condition: TimerCondition }
  | { of: 'parked'; parkedFor: string }
  | { of: 'liveRuns'; workflowId: string; before?: number; timers?: TimerCondition }
  | { of: 'ids'; ids: readonly string[] };

export interface NewBulkOperation {
  id: string;
  tenantId: string;
  action: string;
  target: BulkOperationRow['target'];
  /** JSON text of what was asked for. */
  request: string;
  plan: BulkPlan;
  source: BulkSource;
  ratePerSecond: number | null;
  origin: { actor: Actor; keyId: string | null; requestId: string };
}

/** Targets of one transaction: it takes some hundred milliseconds at most. */
export const PORTION_TARGETS_MAX = 2_000;
/** Runs may have a thousand timers each, and dead letters are redriven by statements that take no more. */
const PORTIONS_MAX = { timer: PORTION_TARGETS_MAX, deadLetter: DEAD_LETTERS_PER_REDRIVE_MAX, run: 200 };
/** A slow operation goes on so often (per second), rather than with many at a time. */
const PORTIONS_PER_SECOND = 4;
/** Portions of one operation under way at once. One that has a rate is a single lane. */
const LANES = 2;
/**
 * Of one turn of a lane, to which a worker's lease adds its margin: when a worker dies its lanes lie still for so long. A turn takes
 * 3 s and some for its last portion; one that takes longer, as to list millions, may find another beside it, which waits for it.
 */
const LANE_TIMEOUT_MS = 10_000;
/** Failures that are kept of one operation. The number of all is in `failed`. */
export const BULK_FAILURES_MAX = 10_000;

/** Operations of one tenant that have not ended. Each has lanes that look at it again and again. */
export const BULK_OPERATIONS_UNFINISHED_MAX = 100;

const countUnfinished = nameStatement<{ count: number }>(
  'count_unfinished_bulk_operations',
  'SELECT count(*) AS count FROM bulk_operations WHERE tenant_id = $1 AND finished_at IS NULL',
);

/**
 * Whether a tenant has as many unfinished operations as it may. Exact: whoever asks the same for the tenant waits until this
 * transaction ends. After all locks of rows but that of the gates' epoch.
 */
export async function hasBulkOperationsEnough(client: Transaction, tenantId: string): Promise<boolean> {
  await lockCountOf(client, 'bulk operations', tenantId);
  const [row] = await countUnfinished(client, [tenantId]);
  return row!.count >= BULK_OPERATIONS_UNFINISHED_MAX;
}

const insertOperation = nameStatement<BulkOperationRow>(
  'create_bulk_operation',
  `INSERT INTO bulk_operations (id, tenant_id, action, status, target, request, plan, rate_per_second, next_at, actor, key_id, request_id, created_at)
   VALUES ($1, $2, $3, 'running', $4, $5::json, $6::json, $7, clock_timestamp(), $8, $9, $10, clock_timestamp()) RETURNING *`,
);
const insertPortions = nameStatement(
  'create_bulk_portions',
  `INSERT INTO bulk_portions (operation_id, tenant_id, number, target_ids)
   SELECT $1, $2, (place - 1) / $4::int, array_agg(id) FROM unnest($3::uuid[]) WITH ORDINALITY AS i(id, place) GROUP BY 3`,
);
/** SQL statement: all targets of an operation are known. */
export const markListed = nameStatement<{ matched: number }>(
  'mark_bulk_operation_listed',
  `UPDATE bulk_operations SET is_listed = true,
     matched = (SELECT coalesce(sum(cardinality(target_ids)), 0) FROM bulk_portions WHERE operation_id = $1)
   WHERE id = $1 RETURNING matched`,
);

/**
 * Stores an operation, and the system's timers that carry it out, in the transaction of the tenant that wants it: with its
 * commit it begins.
 */
export async function createBulkOperation(
  client: Transaction,
  operation: NewBulkOperation,
  partitionCount: number,
): Promise<BulkOperationRow> {
  const { id, tenantId, action, target, request, plan, source, ratePerSecond, origin } = operation;
  const [row] = await insertOperation(client, [
    id,
    tenantId,
    action,
    target,
    request,
    JSON.stringify({ plan, source: source.of === 'ids' ? { of: 'ids' } : source }),
    ratePerSecond,
    origin.actor,
    origin.keyId,
    origin.requestId,
  ]);
  if (source.of === 'ids') {
    await insertPortions(client, [id, tenantId, toPlainArray(source.ids), countPortion(row!)]);
    const [{ matched } = { matched: 0 }] = await markListed(client, [id]);
    Object.assign(row!, { is_listed: true, matched });
  }
  await startLanes(client, row!, partitionCount);
  return row!;
}

/** Has an operation carried out from here on, by timers of the system. */
export async function startLanes(
  client: Transaction,
  { id, rate_per_second: rate }: Pick<BulkOperationRow, 'id' | 'rate_per_second'>,
  partitionCount: number,
): Promise<void> {
  const action: SystemAction = { type: 'system', task: 'bulk-operation', id };
  const count = rate === null ? LANES : 1;
  const lanes = Array.from({ length: count }, () =>
    makeSystemTimer(action, { dueAt: 0, timeoutMs: LANE_TIMEOUT_MS, partitionCount }),
  );
  await withOwnRights(client, (own) => createTimers(own, lanes));
}

const insertDryRun = nameStatement<BulkOperationRow>(
  'create_dry_run',
  `INSERT INTO bulk_operations (id, tenant_id, action, status, target, request, plan, is_listed, matched, samples, next_at, actor, key_id,
     request_id, created_at, finished_at)
   VALUES ($1, $2, $3, 'succeeded', $4, $5::json, '{}', true, $6, $7::json, clock_timestamp(), $8, $9, $10, clock_timestamp(), clock_timestamp())
   RETURNING *`,
);

/** Stores what an operation would have been about. `samples` is JSON text. */
export async function createDryRun(
  client: Queryable,
  operation: Omit<NewBulkOperation, 'plan' | 'source' | 'ratePerSecond'> & { matched: number; samples: string },
): Promise<BulkOperationRow> {
  const { id, tenantId, action, target, request, matched, samples, origin } = operation;
  const { actor, keyId, requestId } = origin;
  const [row] = await insertDryRun(client, [
    id,
    tenantId,
    action,
    target,
    request,
    matched,
    samples,
    actor,
    keyId,
    requestId,
  ]);
  return row!;
}

/** What `plan` holds. */
export function readPlan(row: Pick<BulkOperationRow, 'plan'>): { plan: BulkPlan; source: BulkSource } {
  return JSON.parse(row.plan) as { plan: BulkPlan; source: BulkSource };
}

/** Targets of one portion of an operation. */
export function countPortion({
  target,
  rate_per_second: rate,
}: Pick<BulkOperationRow, 'target' | 'rate_per_second'>): number {
  const most = PORTIONS_MAX[target];
  return rate === null ? most : Math.max(1, Math.min(most, Math.floor(rate / PORTIONS_PER_SECOND)));
}

const selectOne = nameStatement<BulkOperationRow>(
  'read_bulk_operation',
  'SELECT * FROM bulk_operations WHERE id = $1 AND tenant_id IS NOT DISTINCT FROM coalesce($2::uuid, tenant_id)',
);

/** An operation, of whatever tenant when `tenantId` is null. */
export async function readBulkOperation(
  database: Queryable,
  id: string,
  tenantId: string | null,
): Promise<BulkOperationRow | undefined> {
  const [row] = await selectOne(database, [id, tenantId]);
  return row;
}

/** A tenant's operations in the order `(createdAt, id)`. */
export async function listBulkOperations(
  database: Queryable,
  filter: { tenantId: string; status: readonly BulkOperationRow['status'][] | undefined },
  page: { after: CreatedAfter | undefined; limit: number },
): Promise<StoredPage<BulkOperationRow>> {
  let query = queryBuilder.selectFrom('bulk_operations').selectAll().where('tenant_id', '=', filter.tenantId);
  if (filter.status) query = query.where('status', 'in', filter.status);
  return readCreatedPage(database, query, page);
}

/** Targets of an operation that could not be changed, in the order of their ids, behind `after`. */
export async function listBulkFailures(
  database: Queryable,
  operationId: string,
  page: { after: string | undefined; limit: number },
): Promise<BulkFailureRow[]> {
  let query = queryBuilder
    .selectFrom('bulk_failures')
    .selectAll()
    .where('operation_id', '=', operationId)
    .orderBy('target_id')
    .limit(page.limit);
  if (page.after !== undefined) query = query.where('target_id', '>', page.after);
  return runQuery(database, query);
}

const lockOne = nameStatement<BulkOperationRow>(
  'lock_bulk_operation',
  'SELECT * FROM bulk_operations WHERE id = $1 AND tenant_id IS NOT DISTINCT FROM $2::uuid FOR UPDATE',
);
const setStatus = nameStatement<BulkOperationRow>(
  'set_bulk_operation_status',
  `UPDATE bulk_operations SET status = $2, finished_at = CASE WHEN $2 IN ('running', 'paused') THEN NULL ELSE clock_timestamp() END
   WHERE id = $1 RETURNING *`,
);

/** Locks a tenant's operation until the transaction ends. A portion under way finishes before, or has no effect. */
export async function lockBulkOperation(
  client: Transaction,
  tenantId: string,
  id: string,
): Promise<BulkOperationRow | undefined> {
  const [row] = await lockOne(client, [id, tenantId]);
  return row;
}

/** Sets the status of a locked operation. */
export async function setBulkStatus(
  client: Transaction,
  id: string,
  status: BulkOperationRow['status'],
): Promise<BulkOperationRow> {
  const [row] = await setStatus(client, [id, status]);
  return row!;
}

// Lanes that have one in hand roll back, and drop what is left then. To wait for them here, while they wait for the operation,
// would be a circle.
const dropFreePortions = nameStatement(
  'drop_free_bulk_portions',
  `DELETE FROM bulk_portions WHERE (operation_id, number) IN (
     SELECT operation_id, number FROM bulk_portions WHERE operation_id = ANY ($1::uuid[]) FOR UPDATE SKIP LOCKED
   )`,
);
const abortReleases = nameStatement<{ id: string }>(
  'abort_releases',
  `UPDATE bulk_operations SET status = 'aborted', finished_at = clock_timestamp()
   WHERE tenant_id IS NOT DISTINCT FROM $1::uuid AND finished_at IS NULL AND plan -> 'plan' ->> 'do' = 'release'
     AND plan -> 'plan' -> 'gate' ->> 'kind' = $2 AND plan -> 'plan' -> 'gate' ->> 'name' = $3
   RETURNING id`,
);

/** Ends the releases of what a gate had held back: it is closed again, and what is left stays parked for it. */
export async function abortReleasesOf(client: Transaction, { tenantId, kind, name }: GateKey): Promise<void> {
  const aborted = await abortReleases(client, [tenantId, kind, name]);
  if (aborted.length === 0) return;
  // One that was paused has no lane that would do it. Tenants may not lock portions, so it takes rights of our own.
  await withOwnRights(client, (own) => dropFreePortions(own, [aborted.map(({ id }) => id)]));
}

const findRelease = nameStatement<{ id: string }>(
  'find_release_of_gate',
  `SELECT id FROM bulk_operations
   WHERE tenant_id IS NOT DISTINCT FROM $1::uuid AND finished_at IS NULL AND plan -> 'plan' ->> 'do' = 'release'
     AND plan -> 'plan' -> 'gate' ->> 'kind' = $2 AND plan -> 'plan' -> 'gate' ->> 'name' = $3
   ORDER BY created_at DESC LIMIT 1`,
);

/** The operation that releases what a gate had held back. */
export async function findReleaseOf(client: Queryable, { tenantId, kind, name }: GateKey): Promise<string | undefined> {
  const [row] = await findRelease(client, [tenantId, kind, name]);
  return row?.id;
}

const findShift = nameStatement<{ id: string }>(
  'find_shift_of_workflow',
  `SELECT id FROM bulk_operations
   WHERE tenant_id IS NOT DISTINCT FROM $1::uuid AND finished_at IS NULL AND plan -> 'plan' ->> 'do' = 'shift' AND plan -> 'plan' ->> 'workflowId' = $2
   ORDER BY created_at DESC LIMIT 1`,
);

/** The operation that is moving what waits in a paused workflow, before it goes on. */
export async function findShiftOf(
  client: Queryable,
  tenantId: string,
  workflowId: string,
): Promise<string | undefined> {
  const [row] = await findShift(client, [tenantId, workflowId]);
  return row?.id;
}

// One that failed for the pause that still holds: `finished_at` is that of the failure. By the index of lists.
const findFailedShift = nameStatement<BulkOperationRow>(
  'find_failed_shift_of_workflow',
  `SELECT * FROM bulk_operations
   WHERE tenant_id IS NOT DISTINCT FROM $1::uuid AND status = 'failed' AND plan -> 'plan' ->> 'do' = 'shift'
     AND plan -> 'plan' ->> 'workflowId' = $2 AND (plan -> 'plan' ->> 'pausedAt')::float8 = $3::float8
     AND created_at >= to_timestamp($3::float8 / 1000)
   ORDER BY created_at DESC LIMIT 1 FOR UPDATE`,
);

/**
 * The operation that has failed to move all that waits in a workflow that is paused since `pausedAt` (epoch ms): some of it may
 * have been moved. Locks it.
 */
export async function lockFailedShiftOf(
  client: Transaction,
  tenantId: string,
  workflowId: string,
  pausedAt: number,
): Promise<BulkOperationRow | undefined> {
  const [row] = await findFailedShift(client, [tenantId, workflowId, pausedAt]);
  return row;
}

const countRuns = nameStatement<{ count: number }>(
  'count_live_runs',
  `SELECT count(*) AS count FROM (
     SELECT FROM runs WHERE workflow_id = $2 AND tenant_id = $1 AND status IN ('running', 'paused') LIMIT $3
   ) AS r`,
);

/** How many runs of a workflow have not ended, up to `max`. */
export async function countLiveRuns(
  database: Queryable,
  tenantId: string,
  workflowId: string,
  max: number,
): Promise<number> {
  const [row] = await countRuns(database, [tenantId, workflowId, max]);
  return row!.count;
}

const findParked = nameStatement<{ id: string }>(
  'find_parked_timer',
  `SELECT id FROM timers WHERE tenant_id = $1 AND parked_for = $2 LIMIT 1`,
);

/** Whether anything is parked for a gate. */
export async function hasParked(database: Queryable, tenantId: string, parkedFor: string): Promise<boolean> {
  return (await findParked(database, [tenantId, parkedFor])).length > 0;
}
