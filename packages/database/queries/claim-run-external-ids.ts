import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

/** A client's own id for a run that is about to be stored. */
export interface RunExternalId {
  tenantId: string;
  externalId: string;
  runId: string;
}

// Runs of several tenants are stored together, so this takes several. It inserts in the order (tenant, external id), so
// that two claims of the same ids can not deadlock. One that another transaction is inserting is waited for: it is
// taken when that commits, ours when it rolls back.
const insertIds = nameStatement<{ target_id: string }>(
  'claim_run_external_ids',
  `INSERT INTO external_ids (tenant_id, kind, external_id, target_id)
   SELECT tenant_id, 'run', external_id, target_id
   FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS c(tenant_id, external_id, target_id)
   ORDER BY tenant_id, external_id
   ON CONFLICT DO NOTHING
   RETURNING target_id`,
);

/**
 * Claims external ids inside the transaction that stores their runs. Returns the runs whose claim holds;
 * the others' external ids name a run that exists already (`findRunsByExternalId`, in a later statement).
 * Of claims that name the same external id at most one holds.
 */
export async function claimRunExternalIds(client: Queryable, claims: readonly RunExternalId[]): Promise<Set<string>> {
  if (claims.length === 0) return new Set();
  const rows = await insertIds(client, [
    claims.map((claim) => claim.tenantId),
    claims.map((claim) => claim.externalId),
    claims.map((claim) => claim.runId),
  ]);
  return new Set(rows.map((row) => row.target_id));
}

const selectIds = nameStatement<{ tenant_id: string; external_id: string; target_id: string }>(
  'find_runs_by_external_id',
  `SELECT e.tenant_id, e.external_id, e.target_id
   FROM unnest($1::uuid[], $2::text[]) AS c(tenant_id, external_id)
   JOIN external_ids AS e ON e.tenant_id = c.tenant_id AND e.kind = 'run' AND e.external_id = c.external_id`,
);

/** What these external ids name; those that name nothing are left out. */
export async function findRunsByExternalId(
  database: Queryable,
  ids: readonly { tenantId: string; externalId: string }[],
): Promise<RunExternalId[]> {
  if (ids.length === 0) return [];
  const rows = await selectIds(database, [ids.map((id) => id.tenantId), ids.map((id) => id.externalId)]);
  return rows.map((row) => ({ tenantId: row.tenant_id, externalId: row.external_id, runId: row.target_id }));
}
