import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import type { ApiKeyRow } from '../tables.ts';
import { LIMIT_COLUMNS, type TenantLimits } from './tenant-limits.ts';

/** What a key that was not revoked lets in, and the hash under which it is stored. */
export type FoundApiKey = Pick<ApiKeyRow, 'id' | 'tenant_id' | 'scope' | 'key_hash'> & TenantLimits;

// Takes no lock; one descent of the unique index on `key_hash`, and one of the tenants' primary key.
const selectKey = nameStatement<FoundApiKey>(
  'find_api_key',
  `SELECT k.id, k.tenant_id, k.scope, k.key_hash, ${LIMIT_COLUMNS}
   FROM api_keys AS k JOIN tenants AS t ON t.id = k.tenant_id
   WHERE k.key_hash = $1 AND k.revoked_at IS NULL`,
);

/** The key that has this SHA-256, unless it was revoked, with the limits of its tenant. */
export async function findApiKey(database: Queryable, keyHash: Buffer): Promise<FoundApiKey | undefined> {
  const [row] = await selectKey(database, [keyHash]);
  return row;
}
