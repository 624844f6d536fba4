import type { Queryable } from '../connect.ts';
import { queryBuilder } from '../query-builder.ts';
import { runQuery } from '../run-query.ts';
import type { ApiKeyRow } from '../tables.ts';
import { type CreatedAfter, readCreatedPage, type StoredPage, toInstant } from './keyset.ts';

/** A key as lists show it: neither the key nor its hash. */
export type ApiKeySummary = Omit<ApiKeyRow, 'key_hash'>;

const SUMMARY = ['id', 'tenant_id', 'name', 'scope', 'prefix', 'created_at', 'revoked_at'] as const;

/** Stores a key by the SHA-256 of its text. False when there is no such tenant. `createdAt` in epoch ms. */
export async function createApiKey(
  database: Queryable,
  key: {
    id: string;
    tenantId: string;
    name: string;
    scope: ApiKeyRow['scope'];
    prefix: string;
    keyHash: Buffer;
    createdAt: number;
  },
): Promise<boolean> {
  const stored = await runQuery(
    database,
    queryBuilder
      .insertInto('api_keys')
      .columns(['id', 'tenant_id', 'name', 'scope', 'prefix', 'key_hash', 'created_at'])
      .expression((builder) =>
        builder
          .selectFrom('tenants')
          .select((of) => [
            of.val(key.id).as('id'),
            'tenants.id as tenant_id',
            of.val(key.name).as('name'),
            of.val(key.scope).as('scope'),
            of.val(key.prefix).as('prefix'),
            of.val(key.keyHash).as('key_hash'),
            toInstant(key.createdAt).as('created_at'),
          ])
          .where('tenants.id', '=', key.tenantId),
      )
      .returning('id'),
  );
  return stored.length > 0;
}

/** Keys, revoked ones included, in the order `(createdAt, id)`; of all tenants when `tenantId` is undefined. */
export async function listApiKeys(
  database: Queryable,
  page: { tenantId: string | undefined; after: CreatedAfter | undefined; limit: number },
): Promise<StoredPage<ApiKeySummary>> {
  let query = queryBuilder.selectFrom('api_keys').select(SUMMARY);
  if (page.tenantId !== undefined) query = query.where('tenant_id', '=', page.tenantId);
  return readCreatedPage(database, query, page);
}

/**
 * Revokes a key; the first time counts. Returns it, and whether this was the first time; undefined when there is none.
 * `revokedAt` in epoch ms.
 */
export async function revokeApiKey(
  database: Queryable,
  id: string,
  revokedAt: number,
  tenantId?: string,
): Promise<{ key: ApiKeySummary; isFirst: boolean } | undefined> {
  const [revoked] = await runQuery(
    database,
    queryBuilder
      .updateTable('api_keys')
      .set({ revoked_at: toInstant(revokedAt) })
      .where('id', '=', id)
      .where('revoked_at', 'is', null)
      .$if(tenantId !== undefined, (update) => update.where('tenant_id', '=', tenantId!))
      .returning(SUMMARY),
  );
  if (revoked) return { key: revoked, isFirst: true };
  const [key] = await runQuery(
    database,
    queryBuilder
      .selectFrom('api_keys')
      .select(SUMMARY)
      .where('id', '=', id)
      .$if(tenantId !== undefined, (select) => select.where('tenant_id', '=', tenantId!)),
  );
  return key && { key, isFirst: false };
}
