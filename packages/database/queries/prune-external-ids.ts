import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

/** Where pruning stands: behind this key. */
export interface ExternalIdCursor {
  tenantId: string;
  kind: 'timer' | 'run';
  externalId: string;
}

const BEGINNING: ExternalIdCursor = { tenantId: '00000000-0000-0000-0000-000000000000', kind: 'run', externalId: '' };

interface Row {
  tenant_id: string;
  kind: 'timer' | 'run';
  external_id: string;
  deleted: number;
}

// Walks the primary key, so every row has its turn although most are kept. A row goes when what it names has gone:
// rows of the last day are left alone, because their timer may not be committed yet.
const pruneRows = nameStatement<Row>(
  'prune_external_ids',
  `WITH page AS (
     SELECT tenant_id, kind, external_id, target_id, created_at FROM external_ids
     WHERE (tenant_id, kind, external_id) > ($1::uuid, $2::text, $3::text)
     ORDER BY tenant_id, kind, external_id LIMIT $4
   ), gone AS (
     DELETE FROM external_ids AS e USING page AS p
     WHERE e.tenant_id = p.tenant_id AND e.kind = p.kind AND e.external_id = p.external_id AND e.target_id = p.target_id
       AND p.created_at < clock_timestamp() - interval '1 day'
       AND NOT EXISTS (SELECT FROM timers WHERE id = p.target_id)
       AND NOT EXISTS (SELECT FROM dead_letters WHERE id = p.target_id)
       AND NOT EXISTS (SELECT FROM finished_timers WHERE id = p.target_id)
       AND NOT EXISTS (SELECT FROM runs WHERE id = p.target_id)
     RETURNING 1
   )
   SELECT tenant_id, kind, external_id, (SELECT count(*)::int FROM gone) AS deleted
   FROM page ORDER BY tenant_id DESC, kind DESC, external_id DESC LIMIT 1`,
);

/**
 * Looks at the next `limit` external ids behind `cursor` (undefined: from the beginning) and forgets those whose timer or
 * run retention has dropped. Returns how many, and where to go on: undefined at the end.
 */
export async function pruneExternalIds(
  database: Queryable,
  cursor: ExternalIdCursor | undefined,
  limit: number,
): Promise<{ deleted: number; next: ExternalIdCursor | undefined }> {
  const { tenantId, kind, externalId } = cursor ?? BEGINNING;
  const [last] = await pruneRows(database, [tenantId, kind, externalId, limit]);
  if (!last) return { deleted: 0, next: undefined };
  return {
    deleted: last.deleted,
    next: { tenantId: last.tenant_id, kind: last.kind, externalId: last.external_id },
  };
}
