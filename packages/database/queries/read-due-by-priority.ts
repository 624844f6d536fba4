import { PRIORITY_MAX } from '@punctual/domain';
import type { Queryable } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import type { DueTimer } from './read-due-timers.ts';

/** A due timer that has a priority. */
export interface RaisedDueTimer extends DueTimer {
  tenantId: string;
}

/** Timers of one tenant and one priority that a read looks at: those under way stand among those that wait, and are passed. */
const ROWS_PASSED_MAX = 2_000;

interface Row extends Omit<RaisedDueTimer, 'id'> {
  id: string | null;
}

// Takes no lock. Finds the tenants that have such timers, and for each and each priority what is due, by descents of
// `timers_priority`: in an installation that has none of them, one descent of an empty index.
const selectDueByPriority = nameStatement<Row>(
  'read_due_timers_by_priority',
  `WITH RECURSIVE tenant AS (
     (SELECT t.tenant_id AS id, 1 AS number FROM timers AS t
      WHERE t.priority IS NOT NULL AND t.tenant_id > $1::uuid ORDER BY t.tenant_id LIMIT 1)
     UNION ALL
     SELECT (SELECT t.tenant_id FROM timers AS t WHERE t.priority IS NOT NULL AND t.tenant_id > tenant.id
             ORDER BY t.tenant_id LIMIT 1), tenant.number + 1
     FROM tenant WHERE tenant.id IS NOT NULL AND tenant.number < $2::int
   )
   SELECT tenant.id AS "tenantId", d.id, d.version, d.partition, d.priority, date_part('epoch', d.wake_at) * 1000 AS "wakeAt",
     date_part('epoch', d.wake_at) * 1000 AS "overdueFrom"
   FROM tenant LEFT JOIN LATERAL (
     SELECT t.* FROM generate_series(${PRIORITY_MAX}, 1, -1) AS level CROSS JOIN LATERAL (
       SELECT t.id, t.version, t.partition, t.priority, t.wake_at FROM (
         SELECT t.id, t.version, t.partition, t.priority, t.wake_at, t.state FROM timers AS t
         WHERE t.tenant_id = tenant.id AND t.pull_queue IS NULL AND t.priority = level AND t.wake_at <= statement_timestamp()
         ORDER BY t.tenant_id, t.pull_queue, t.priority, t.wake_at, t.id LIMIT ${ROWS_PASSED_MAX}
       ) AS t
       WHERE t.state = 'scheduled' AND t.partition = ANY ($3::smallint[]) LIMIT $4::int
     ) AS t LIMIT $4::int
   ) AS d ON true
   WHERE tenant.id IS NOT NULL`,
);

/** What was found, and behind which tenant the next read begins: undefined when all have been looked at. */
export interface DueByPriority {
  timers: RaisedDueTimer[];
  lastTenantId: string | undefined;
}

/**
 * Reads, of `tenantsMax` tenants behind `after`, those timers with a priority that are due now in the partitions named, at most
 * `limit` of each: the highest first, those of one priority in the order `(wakeAt, id)`.
 */
export async function readDueByPriority(
  database: Queryable,
  after: string,
  tenantsMax: number,
  partitions: readonly number[],
  limit: number,
): Promise<DueByPriority> {
  const rows = await selectDueByPriority(database, [after, tenantsMax, toPlainArray(partitions), limit]);
  const tenantIds = [...new Set(rows.map(({ tenantId }) => tenantId))].toSorted();
  const timers = rows.filter((row): row is RaisedDueTimer => row.id !== null);
  return {
    timers: timers.toSorted((a, b) => b.priority - a.priority || a.wakeAt - b.wakeAt || (a.id < b.id ? -1 : 1)),
    lastTenantId: tenantIds.length < tenantsMax ? undefined : tenantIds.at(-1),
  };
}
