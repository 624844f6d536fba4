import { SYSTEM_TENANT_ID } from '@punctual/domain';
import type { Queryable } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import type { DueTimer } from './read-due-timers.ts';

/** Where a read begins among one tenant's timers: behind this `(dueAt, id)`. */
export interface TenantReadFrom {
  tenantId: string;
  dueAt: number;
  id: string;
}

/** A timer that is due or soon will be, with its place among its tenant's. `dueAt` in epoch ms. */
export interface TenantDueTimer extends DueTimer {
  tenantId: string;
  dueAt: number;
}

/**
 * Rows of one tenant that a read looks at. Before the first that is due there are few that wait for a retry or run; but there
 * may be a million that wait for a worker of the customer, and then the tenant has to do without its turn.
 */
const ROWS_PASSED_MAX = 2_000;

// Takes no lock. One index descent of `timers_list` a tenant. That index knows due times and no wake times, so it also
// passes timers that wait for a retry or run.
const selectDueOfTenants = nameStatement<TenantDueTimer>(
  'read_due_timers_of_tenants',
  `SELECT t.id, t.version, t.partition, coalesce(t.priority, 0) AS priority, date_part('epoch', t.wake_at) * 1000 AS "wakeAt",
     date_part('epoch', t.wake_at) * 1000 AS "overdueFrom",
     t.tenant_id AS "tenantId", date_part('epoch', t.due_at) * 1000 AS "dueAt"
   FROM unnest($1::uuid[], $2::float8[], $3::uuid[]) AS f(tenant_id, due_at, id)
   CROSS JOIN LATERAL (
     SELECT * FROM (
       SELECT t.id, t.version, t.partition, t.priority, t.wake_at, t.tenant_id, t.due_at, t.state, t.pull_queue FROM timers t
       WHERE t.tenant_id = f.tenant_id AND (t.due_at, t.id) > (to_timestamp(f.due_at / 1000)::timestamptz(3), f.id)
         AND t.due_at <= statement_timestamp() + $6::float8 * interval '1 millisecond'
       ORDER BY t.tenant_id, t.due_at, t.id LIMIT ${ROWS_PASSED_MAX}
     ) AS t
     WHERE t.wake_at <= statement_timestamp() + $6::float8 * interval '1 millisecond' AND t.state = 'scheduled' AND t.pull_queue IS NULL
       AND t.partition = ANY ($4::smallint[])
     ORDER BY t.tenant_id, t.due_at, t.id LIMIT $5
   ) AS t`,
);

/** Reads, for each tenant and in the order `(dueAt, id)`, timers behind `from` that are due until `untilMs` from now, at most `limit` a tenant. */
export function readDueTimersOfTenants(
  database: Queryable,
  from: readonly TenantReadFrom[],
  partitions: readonly number[],
  untilMs: number,
  limit: number,
): Promise<TenantDueTimer[]> {
  return selectDueOfTenants(database, [
    toPlainArray(from.map((f) => f.tenantId)),
    toPlainArray(from.map((f) => f.dueAt)),
    toPlainArray(from.map((f) => f.id)),
    toPlainArray(partitions),
    limit,
    untilMs,
  ]);
}

const selectTenantIds = nameStatement<{ id: string }>(
  'read_tenant_ids',
  `(SELECT id FROM tenants ORDER BY id LIMIT $1)
   UNION ALL SELECT '${SYSTEM_TENANT_ID}' WHERE EXISTS (SELECT FROM timers WHERE tenant_id = '${SYSTEM_TENANT_ID}')`,
);

/** The ids of all tenants, at most `limit`, and the system's own while timers of it are live. */
export async function readTenantIds(database: Queryable, limit: number): Promise<string[]> {
  const rows = await selectTenantIds(database, [limit]);
  return rows.map((row) => row.id);
}
