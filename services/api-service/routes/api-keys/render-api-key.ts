import type { ApiKey } from '@punctual/contracts';
import type { ApiKeySummary } from '@punctual/database';

/** A key as the api shows it: without the key. */
export function renderApiKey(key: ApiKeySummary): ApiKey {
  return {
    id: key.id,
    tenantId: key.tenant_id,
    name: key.name,
    scope: key.scope,
    prefix: key.prefix,
    createdAt: new Date(key.created_at).toISOString(),
    ...(key.revoked_at !== null && { revokedAt: new Date(key.revoked_at).toISOString() }),
  };
}
