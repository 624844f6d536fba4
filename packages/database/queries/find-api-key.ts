import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

// Takes no lock; one descent of the unique index on `key_hash`.
const selectKey = nameStatement<{ id: string; tenant_id: string; scope: 'read' | 'write' | 'admin' }>(
  'find_api_key',
  'SELECT id, tenant_id, scope FROM api_keys WHERE key_hash = $1 AND revoked_at IS NULL',
);

/** The id, tenant and scope of a key that was not revoked, by the SHA-256 of its text. */
export async function findApiKey(database: Queryable, keyHash: Buffer) {
  const [row] = await selectKey(database, [keyHash]);
  return row;
}
