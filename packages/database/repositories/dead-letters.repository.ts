import type { Queryable } from '../connect.ts';
import { CARRIED_COLUMNS } from '../queries/carried-columns.ts';

const COLUMNS = `${CARRIED_COLUMNS}, version, attempt, started_at, lateness_ms, duration_ms, state, outcome, http_status, error,
  response_body`;

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
