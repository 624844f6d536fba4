import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

// Takes the ids in their own order, so that two statements wait for each other in one direction only.
const claimRows = nameStatement<{ targetId: string }>(
  'claim_timer_external_ids',
  `INSERT INTO external_ids (tenant_id, kind, external_id, target_id)
   SELECT $1, 'timer', c.external_id, c.target_id
   FROM unnest($2::text[], $3::uuid[]) WITH ORDINALITY AS c(external_id, target_id, position)
   ORDER BY c.external_id, c.position
   ON CONFLICT DO NOTHING
   RETURNING target_id AS "targetId"`,
);

/**
 * Takes a tenant's external ids for timers that the same transaction stores. Returns the ids of the timers that got
 * theirs; of several timers with one external id at most one does, and that is the first.
 */
export async function claimTimerExternalIds(
  client: Queryable,
  tenantId: string,
  claims: readonly { externalId: string; timerId: string }[],
): Promise<Set<string>> {
  if (claims.length === 0) return new Set();
  const rows = await claimRows(client, [tenantId, claims.map((c) => c.externalId), claims.map((c) => c.timerId)]);
  return new Set(rows.map((row) => row.targetId));
}

const selectTimers = nameStatement<{ externalId: string; timerId: string }>(
  'find_timers_by_external_id',
  `SELECT external_id AS "externalId", target_id AS "timerId" FROM external_ids
   WHERE tenant_id = $1 AND kind = 'timer' AND external_id = ANY ($2::text[])`,
);

/** The ids of the timers that a tenant's external ids stand for. */
export async function findTimersByExternalId(
  database: Queryable,
  tenantId: string,
  externalIds: readonly string[],
): Promise<Map<string, string>> {
  const rows = await selectTimers(database, [tenantId, externalIds]);
  return new Map(rows.map((row) => [row.externalId, row.timerId]));
}

const deleteClaim = nameStatement(
  'release_timer_external_id',
  `DELETE FROM external_ids WHERE tenant_id = $1 AND kind = 'timer' AND external_id = $2 AND target_id = $3`,
);

/** Gives an external id free whose timer is gone for good, unless it stands for another by now. */
export async function releaseTimerExternalId(
  database: Queryable,
  tenantId: string,
  externalId: string,
  timerId: string,
): Promise<void> {
  await deleteClaim(database, [tenantId, externalId, timerId]);
}
