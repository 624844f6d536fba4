import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import type { TenantRow } from '../tables.ts';

/** What a tenant may do at most; null: what the api's settings say. */
export type TenantLimits = Pick<TenantRow, 'requests_per_second_max' | 'live_timers_max'>;

/** SQL: the limits, of a row `t` of `tenants`. */
export const LIMIT_COLUMNS = 't.requests_per_second_max, t.live_timers_max';

const selectLimits = nameStatement<TenantLimits>(
  'read_tenant_limits',
  `SELECT ${LIMIT_COLUMNS} FROM tenants AS t WHERE t.id = $1`,
);

/** The limits of a tenant; undefined when there is none. */
export async function readTenantLimits(database: Queryable, tenantId: string): Promise<TenantLimits | undefined> {
  const [row] = await selectLimits(database, [tenantId]);
  return row;
}

// By the books: counting the rows would cost as much as there are. The totals are one row a partition; the entries that
// are not yet folded into them are read whole, a few seconds' worth.
const selectLiveCount = nameStatement<{ live: number }>(
  'count_live_timers',
  `SELECT coalesce(sum(created - succeeded - dead - cancelled - skipped), 0)::bigint AS live
   FROM (
     SELECT created, succeeded, dead, cancelled, skipped FROM ledger_totals WHERE tenant_id = $1
     UNION ALL SELECT created, succeeded, dead, cancelled, skipped FROM ledger_entries WHERE tenant_id = $1
   ) AS booked`,
);

/** How many timers of a tenant are live, by the ledger. */
export async function countLiveTimers(database: Queryable, tenantId: string): Promise<number> {
  const [row] = await selectLiveCount(database, [tenantId]);
  return row!.live;
}
