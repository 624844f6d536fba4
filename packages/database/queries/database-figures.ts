import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

/** Tables whose rows come and go all the time, and those that only people make smaller. */
export const WATCHED_TABLES = [
  'timers',
  'runs',
  'dead_letters',
  'task_outputs',
  'ledger_entries',
  'ledger_totals',
  'idempotency_keys',
  'external_ids',
  'lanes',
  'partition_leases',
] as const;

/** What an operator wants to know of the database, and Postgres knows without looking at rows. Bytes, seconds, counts. */
export interface DatabaseFigures {
  bytes: number;
  connections: number;
  connectionsMax: number;
  /** Age of the oldest transaction of this database: what is deleted since stays on the disk while it is open. */
  oldestTransactionSeconds: number;
  tables: readonly TableFigures[];
}

export interface TableFigures {
  name: string;
  /** With its indexes. */
  bytes: number;
  /** As autovacuum counts them: about right. */
  liveRows: number;
  deadRows: number;
}

// Takes no lock but the weakest on the tables, for an instant. What other users do is hidden from one who is no superuser.
const selectFigures = nameStatement<Omit<DatabaseFigures, 'tables'>>(
  'read_database_figures',
  `SELECT pg_database_size(current_database()) AS bytes,
     (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
     current_setting('max_connections')::int AS "connectionsMax",
     (SELECT coalesce(max(date_part('epoch', clock_timestamp() - xact_start)), 0) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid()) AS "oldestTransactionSeconds"`,
);
const selectTables = nameStatement<TableFigures>(
  'read_table_figures',
  `SELECT relname AS name, pg_total_relation_size(relid) AS bytes, n_live_tup AS "liveRows", n_dead_tup AS "deadRows"
   FROM pg_stat_user_tables WHERE schemaname = current_schema() AND relname = ANY ($1::text[])`,
);

/** Some milliseconds, whatever the tables hold. */
export async function readDatabaseFigures(database: Queryable): Promise<DatabaseFigures> {
  const [figures] = await selectFigures(database, []);
  return { ...figures!, tables: await selectTables(database, [WATCHED_TABLES]) };
}

/** A tenant's timers since its beginning, of which `live` have not ended. */
export interface TenantFigures {
  tenantId: string;
  created: number;
  succeeded: number;
  dead: number;
  cancelled: number;
  skipped: number;
  live: number;
}

/** Tenants that are told of: each is a handful of time series for as long as anybody keeps them. */
export const TENANTS_SHOWN_MAX = 20;

// Reads the totals of all tenants: a row for each tenant and partition. They are seconds behind.
const selectTenants = nameStatement<TenantFigures>(
  'read_tenant_figures',
  `SELECT tenant_id AS "tenantId", sum(created)::bigint AS created, sum(succeeded)::bigint AS succeeded, sum(dead)::bigint AS dead,
     sum(cancelled)::bigint AS cancelled, sum(skipped)::bigint AS skipped,
     sum(created - succeeded - dead - cancelled - skipped)::bigint AS live
   FROM ledger_totals GROUP BY tenant_id ORDER BY live DESC, created DESC, tenant_id LIMIT ${TENANTS_SHOWN_MAX}`,
);

/** Those with the most live timers. */
export function readTenantFigures(database: Queryable): Promise<TenantFigures[]> {
  return selectTenants(database, []);
}
