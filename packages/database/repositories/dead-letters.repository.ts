import type { Queryable } from '../connect.ts';

const COLUMNS = `id, tenant_id, run_id, workflow_id, due_at, created_at, started_at, lateness_ms, version, workflow_version,
  timeout_ms, duration_ms, state, outcome, partition, attempt, http_status, task_key, time_zone, delay, action, payload, retry,
  external_id, labels, path, concurrency, error, response_body`;

/**
 * Puts a dead letter with the finished timers, where retention will drop it: nobody needs to look at it any more. It
 * stays `dead`, so the ledger does not change. False when there is no such dead letter.
 */
export async function dismissDeadLetter(database: Queryable, tenantId: string, id: string): Promise<boolean> {
  const result = await database.query(
    `WITH gone AS (
       DELETE FROM dead_letters WHERE id = $2 AND tenant_id IS NOT DISTINCT FROM $1::uuid RETURNING *
     ), ledger AS (
       INSERT INTO ledger_entries (tenant_id, partition, dismissed) SELECT tenant_id, partition, 1 FROM gone
     )
     INSERT INTO finished_timers (${COLUMNS}, finished_at) SELECT ${COLUMNS}, clock_timestamp() FROM gone`,
    [tenantId, id],
  );
  return result.rowCount === 1;
}
