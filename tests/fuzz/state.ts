import type { Database } from '@punctual/database';
import { SYSTEM_TENANT_ID } from '@punctual/domain';

/** One line a table: how many rows, and a sum that differs when any of them does. */
export type State = Readonly<Record<string, string>>;

/** What of the database to look at. */
export interface StateScope {
  /** Leave out what belongs to this tenant, and what the system does for it. */
  exceptTenantId?: string;
  exceptTables?: readonly string[];
}

/** Processes write there by themselves, all the time. */
const MOVING: ReadonlySet<string> = new Set(['service_instances', 'run_review', 'pull_workers']);

/** Counts the changes of all tenants. */
const OF_EVERYBODY: ReadonlySet<string> = new Set(['gates_epoch']);

/** How a table's rows tell whose they are; tables with a column `tenant_id` need not be named. */
const OWNERS: Readonly<Record<string, string>> = {
  tenants: 'id',
  workflow_versions: '(SELECT w.tenant_id FROM workflows AS w WHERE w.id = workflow_id)',
};

/** Reads the state of every table, those that later migrations add included. */
export async function readState({ ordinary }: Pick<Database, 'ordinary'>, scope: StateScope = {}): Promise<State> {
  const { rows: tables } = await ordinary.query<{ name: string; has_tenant: boolean }>(
    `SELECT c.relname AS name, EXISTS (
       SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
     ) AS has_tenant
     FROM pg_class AS c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
     ORDER BY c.relname`,
  );
  const state: Record<string, string> = {};
  for (const { name, has_tenant: hasTenant } of tables) {
    if (scope.exceptTables?.includes(name) || MOVING.has(name)) continue;
    if (scope.exceptTenantId !== undefined && OF_EVERYBODY.has(name)) continue;
    const owner = OWNERS[name] ?? (hasTenant ? 'tenant_id' : undefined);
    const isFiltered = scope.exceptTenantId !== undefined && owner !== undefined;
    // A sum knows no order, so that nothing needs to be sorted.
    const { rows } = await ordinary.query<{ line: string }>(
      `SELECT count(*) || ' rows, ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) AS line
       FROM ${name} AS t ${isFiltered ? `WHERE ${owner} IS DISTINCT FROM $1::uuid AND ${owner} IS DISTINCT FROM $2::uuid` : ''}`,
      isFiltered ? [scope.exceptTenantId, SYSTEM_TENANT_ID] : [],
    );
    state[name] = rows[0]!.line;
  }
  return state;
}

/** Tables that differ, each with what it was and what it is. */
export function compareStates(before: State, after: State): string[] {
  return Object.keys({ ...before, ...after })
    .filter((table) => before[table] !== after[table])
    .map((table) => `${table}: ${before[table]} before, ${after[table]} after`);
}
