import { sql } from 'kysely';
import type { QueryConfig } from 'pg';
import type { Queryable, Transaction } from '../connect.ts';
import { queryBuilder } from '../query-builder.ts';
import { toInstant } from '../repositories/keyset.ts';
import { writeTimerCondition } from '../repositories/timers.repository.ts';
import { nameStatement } from '../statement.ts';
import type { BulkOperationRow } from '../tables.ts';
import { BULK_FAILURES_MAX, type BulkSource, countPortion, markListed, readPlan } from './bulk-operations.ts';

/** How long all targets of an operation may take to be listed (ms): ten million timers, and more. */
const LISTING_TIMEOUT_MS = 300_000;

// Workers work for all tenants, each statement for the one of its operation.

const tryLock = nameStatement<BulkOperationRow>(
  'try_lock_bulk_operation',
  'SELECT * FROM bulk_operations WHERE id = $1 FOR UPDATE SKIP LOCKED',
);

/** Lists the targets of a locked operation, in portions, as they are at this moment. */
export async function listBulkTargets(client: Transaction, operation: BulkOperationRow): Promise<void> {
  const { source } = readPlan(operation);
  const targets = writeTargets(operation, source);
  const portion = countPortion(operation);
  const { sql: text, parameters } = sql`
    INSERT INTO bulk_portions (operation_id, tenant_id, number, target_ids)
    SELECT ${operation.id}::uuid, ${operation.tenant_id}::uuid, number, array_agg(id)
    FROM (SELECT id, (row_number() OVER (ORDER BY at, id) - 1) / ${portion}::int AS number FROM (${targets}) AS found) AS numbered
    GROUP BY number`.compile(queryBuilder);
  // pg takes the time-out of a single query too, which its types do not say.
  const query: QueryConfig & { query_timeout: number } = {
    text,
    values: [...parameters],
    query_timeout: LISTING_TIMEOUT_MS,
  };
  await client.query(`SET LOCAL statement_timeout = ${LISTING_TIMEOUT_MS}`);
  await client.query(query);
  await markListed(client, [operation.id]);
}

function writeTargets({ tenant_id: tenantId }: BulkOperationRow, source: BulkSource) {
  switch (source.of) {
    case 'timers':
      return sql`SELECT id, due_at AS at FROM timers WHERE ${writeTimerCondition('timers', source.condition)}`;
    case 'deadLetters':
      return sql`SELECT id, due_at AS at FROM dead_letters WHERE ${writeTimerCondition('dead_letters', source.condition)}`;
    case 'parked':
      return sql`SELECT id, due_at AS at FROM timers WHERE tenant_id = ${tenantId}::uuid AND parked_for = ${source.parkedFor}`;
    case 'liveRuns': {
      const before = source.before === undefined ? sql`true` : sql`created_at < ${toInstant(source.before)}`;
      const withTimers =
        source.timers === undefined
          ? sql`true`
          : sql`id IN (SELECT run_id FROM timers WHERE ${writeTimerCondition('timers', source.timers)})`;
      return sql`SELECT id, created_at AS at FROM runs WHERE workflow_id = ${source.workflowId}::uuid
        AND tenant_id = ${tenantId}::uuid AND status IN ('running', 'paused') AND ${before} AND ${withTimers}`;
    }
    case 'ids':
      throw new Error('targets that were named are listed from the first');
  }
}

/** Locks an operation unless somebody else has; undefined then. */
export async function tryLockBulkOperation(client: Transaction, id: string): Promise<BulkOperationRow | undefined> {
  const [row] = await tryLock(client, [id]);
  return row;
}

const takePortion = nameStatement<{ number: number; target_ids: string[] }>(
  'take_bulk_portion',
  `DELETE FROM bulk_portions WHERE (operation_id, number) = (
     SELECT operation_id, number FROM bulk_portions WHERE operation_id = $1 ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED
   ) RETURNING number, target_ids`,
);

/** Some targets of an operation, to be done in one transaction. */
export interface BulkPortion {
  number: number;
  ids: string[];
}

/** Takes the next portion for the transaction, which is to do it: rolled back, it is there for others. */
export async function takeBulkPortion(client: Transaction, operationId: string): Promise<BulkPortion | undefined> {
  const [row] = await takePortion(client, [operationId]);
  return row && { number: row.number, ids: row.target_ids };
}

const takeAgain = nameStatement<{ target_ids: string[] }>(
  'take_bulk_portion_again',
  `DELETE FROM bulk_portions WHERE (operation_id, number) = (
     SELECT operation_id, number FROM bulk_portions WHERE operation_id = $1 AND number = $2 AND cardinality(target_ids) = $3
     FOR UPDATE SKIP LOCKED
   ) RETURNING target_ids`,
);
const insertHalves = nameStatement(
  'halve_bulk_portion',
  `INSERT INTO bulk_portions (operation_id, tenant_id, number, target_ids)
   SELECT $1, $2, least($3, (SELECT min(number) FROM bulk_portions WHERE operation_id = $1)) - h.before, h.ids
   FROM (VALUES (2, $4::uuid[]), (1, $5::uuid[])) AS h(before, ids)`,
);

/**
 * Puts a portion that took too long back as two, which are next. One of a single target can not be halved: it is taken, and its
 * target returned, to be booked in the same transaction. Does nothing when others were quicker. The operation is locked.
 */
export async function halveBulkPortion(
  client: Transaction,
  { id, tenant_id: tenantId }: Pick<BulkOperationRow, 'id' | 'tenant_id'>,
  portion: BulkPortion,
): Promise<string | undefined> {
  const [row] = await takeAgain(client, [id, portion.number, portion.ids.length]);
  if (!row) return undefined;
  const { target_ids: ids } = row;
  if (ids.length === 1) return ids[0];
  const half = Math.ceil(ids.length / 2);
  await insertHalves(client, [id, tenantId, portion.number, ids.slice(0, half), ids.slice(half)]);
  return undefined;
}

const insertFailures = nameStatement(
  'record_bulk_failures',
  `INSERT INTO bulk_failures (operation_id, tenant_id, target_id, code, detail)
   SELECT $1, $2, f.* FROM unnest($3::uuid[], $4::text[], $5::text[]) AS f ON CONFLICT DO NOTHING`,
);
const addProgress = nameStatement<{ failed: number; status: string }>(
  'advance_bulk_operation',
  `UPDATE bulk_operations SET done = done + $2, failed = failed + $3,
     next_at = CASE WHEN rate_per_second IS NULL THEN next_at
       ELSE greatest(next_at, clock_timestamp()) + ($2 + $3) / rate_per_second * interval '1 second' END
   WHERE id = $1 AND status = 'running' RETURNING failed, status`,
);

/** What could not be done, and why. */
export interface BulkFailure {
  id: string;
  code: string;
  detail: string;
}

/**
 * Books a portion, as the last thing of its transaction. False when the operation was paused or aborted meanwhile: then the
 * portion must be rolled back.
 */
export async function bookBulkPortion(
  client: Transaction,
  { id, tenant_id: tenantId, failed: failedBefore }: BulkOperationRow,
  done: number,
  failures: readonly BulkFailure[],
): Promise<boolean> {
  const room = Math.max(0, BULK_FAILURES_MAX - failedBefore);
  const kept = failures.slice(0, room);
  if (kept.length > 0) {
    await insertFailures(client, [
      id,
      tenantId,
      kept.map((failure) => failure.id),
      kept.map((failure) => failure.code),
      kept.map((failure) => failure.detail),
    ]);
  }
  return (await addProgress(client, [id, done, failures.length])).length > 0;
}

const hasPortion = nameStatement<{ number: number }>(
  'find_bulk_portion',
  'SELECT number FROM bulk_portions WHERE operation_id = $1 LIMIT 1',
);

/** Whether anything of an operation is still to be done, by whomever. */
export async function hasBulkPortions(database: Queryable, operationId: string): Promise<boolean> {
  return (await hasPortion(database, [operationId])).length > 0;
}

const deletePortions = nameStatement('drop_bulk_portions', 'DELETE FROM bulk_portions WHERE operation_id = $1');

/** Forgets what was still to be done of an operation. */
export async function dropBulkPortions(database: Queryable, operationId: string): Promise<void> {
  await deletePortions(database, [operationId]);
}

const selectWait = nameStatement<BulkOperationRow & { wait_ms: number }>(
  'look_at_bulk_operation',
  `SELECT *, greatest(date_part('epoch', next_at - clock_timestamp()) * 1000, 0) AS wait_ms FROM bulk_operations WHERE id = $1`,
);

/** An operation, and how long its rate makes it wait (ms). */
export async function lookAtBulkOperation(
  database: Queryable,
  id: string,
): Promise<(BulkOperationRow & { wait_ms: number }) | undefined> {
  const [row] = await selectWait(database, [id]);
  return row;
}
