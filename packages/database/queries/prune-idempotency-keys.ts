import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

/** How long an idempotency key is remembered. */
export const IDEMPOTENCY_KEY_TTL_MS = 86_400_000;

const deleteOld = nameStatement<{ key: string }>(
  'prune_idempotency_keys',
  `DELETE FROM idempotency_keys WHERE (tenant_id, key) IN (
     SELECT tenant_id, key FROM idempotency_keys
     WHERE created_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
     ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
   ) RETURNING key`,
);

/** Forgets up to `limit` keys older than IDEMPOTENCY_KEY_TTL_MS. Returns how many. */
export async function pruneIdempotencyKeys(database: Queryable, limit: number): Promise<number> {
  return (await deleteOld(database, [IDEMPOTENCY_KEY_TTL_MS, limit])).length;
}
