import type { Queryable } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import type { Change } from './record-changes.ts';

const insertContexts = nameStatement(
  'record_traces',
  `INSERT INTO trace_contexts (target_id, tenant_id, traceparent)
   SELECT target_id, tenant_id, traceparent FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS i(target_id, tenant_id, traceparent)
   ON CONFLICT DO NOTHING`,
);

/**
 * Keeps, of what is created in requests that are traced, which span created it. Before or together with what it is of: what
 * begins must find it. Without traced ones it does nothing; left over by what was not created after all, it is forgotten with
 * the others.
 */
export async function recordTraces(database: Queryable, changes: readonly Change[]): Promise<void> {
  const traced = changes.filter(({ origin }) => origin.traceparent !== undefined);
  if (traced.length === 0) return;
  await insertContexts(database, [
    toPlainArray(traced.map(({ targetId }) => targetId)),
    toPlainArray(traced.map(({ tenantId }) => tenantId)),
    traced.map(({ origin }) => origin.traceparent),
  ]);
}

const selectContexts = nameStatement<{ id: string; traceparent: string }>(
  'read_traces',
  'SELECT target_id AS id, traceparent FROM trace_contexts WHERE target_id = ANY ($1::uuid[])',
);

/** The spans that created these timers and runs; those that are not traced are left out. */
export async function readTraces(database: Queryable, ids: readonly string[]): Promise<Map<string, string>> {
  const rows = await selectContexts(database, [toPlainArray(ids)]);
  return new Map(rows.map(({ id, traceparent }) => [id, traceparent]));
}

const selectOfTimers = nameStatement<{ id: string; traceparent: string }>(
  'read_traces_of_timers',
  `SELECT c.target_id AS id, c.traceparent FROM trace_contexts AS c WHERE c.target_id = ANY ($1::uuid[])
   UNION ALL
   SELECT t.id, c.traceparent FROM timers AS t JOIN trace_contexts AS c ON c.target_id = t.run_id
   WHERE t.id = ANY ($1::uuid[]) AND t.run_id IS NOT NULL`,
);

/** The same for whoever knows the timers only, and not their runs. */
export async function readTracesOfTimers(database: Queryable, ids: readonly string[]): Promise<Map<string, string>> {
  const rows = await selectOfTimers(database, [toPlainArray(ids)]);
  return new Map(rows.map(({ id, traceparent }) => [id, traceparent]));
}

const deleteContexts = nameStatement<{ count: number }>(
  'prune_traces',
  `WITH old AS (
     SELECT target_id FROM trace_contexts WHERE created_at < clock_timestamp() - $1::int * interval '1 day'
     ORDER BY created_at LIMIT $2
   ), gone AS (DELETE FROM trace_contexts AS c USING old WHERE c.target_id = old.target_id RETURNING 1)
   SELECT count(*)::int AS count FROM gone`,
);

/** Forgets up to `limit` of those that are older. Returns how many. What waits for longer goes on untraced. */
export async function pruneTraces(database: Queryable, days: number, limit: number): Promise<number> {
  const [row] = await deleteContexts(database, [days, limit]);
  return row!.count;
}
