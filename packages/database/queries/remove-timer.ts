import type { Transaction } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import { BOOK_DISMISSALS } from './remove-runs.ts';

// A dead letter leaves the ledger's books as somebody's dismissal would. Waits for whoever redrives or dismisses it.
const deleteTimer = nameStatement<{ id: string }>(
  'remove_ended_timer',
  `WITH gone AS (
     DELETE FROM dead_letters WHERE id = $2 AND tenant_id IS NOT DISTINCT FROM $1::uuid AND run_id IS NULL
     RETURNING id, tenant_id, partition
   ), ledger AS (${BOOK_DISMISSALS}), finished AS (
     DELETE FROM finished_timers WHERE id = $2 AND tenant_id IS NOT DISTINCT FROM $1::uuid AND run_id IS NULL RETURNING id
   )
   SELECT id FROM gone UNION ALL SELECT id FROM finished`,
);
const deleteAttempts = nameStatement(
  'remove_attempts_of_timer',
  'DELETE FROM attempts WHERE timer_id = $2 AND tenant_id IS NOT DISTINCT FROM $1::uuid',
);
const deleteExternalId = nameStatement(
  'remove_external_id_of_timer',
  `DELETE FROM external_ids WHERE tenant_id = $1 AND kind = 'timer' AND external_id = $3 AND target_id = $2`,
);

/**
 * Removes a tenant's timer that has ended and belongs to no run, with its attempts and its external id. False when there is
 * none (any more).
 */
export async function removeEndedTimer(
  client: Transaction,
  tenantId: string,
  { id, externalId }: { id: string; externalId: string | null },
): Promise<boolean> {
  if ((await deleteTimer(client, [tenantId, id])).length === 0) return false;
  await deleteAttempts(client, [tenantId, id]);
  if (externalId !== null) await deleteExternalId(client, [tenantId, id, externalId]);
  return true;
}
