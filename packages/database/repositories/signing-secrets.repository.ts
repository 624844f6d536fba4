import { describeSigningSecret, type Keyring } from '@punctual/domain';
import { sql } from 'kysely';
import type { Queryable, Transaction } from '../connect.ts';
import { queryBuilder } from '../query-builder.ts';
import { nameStatement } from '../statement.ts';
import type { SigningSecretRow } from '../tables.ts';
import { type CreatedAfter, readCreatedPage, type StoredPage } from './keyset.ts';

/** A secret as lists show it: never the secret. */
export type SigningSecretSummary = Pick<SigningSecretRow, 'id' | 'created_at' | 'expires_at'>;

/** A secret to store. `createdAt` in epoch ms. */
export interface NewSigningSecret {
  id: string;
  tenantId: string;
  secret: string;
  createdAt: number;
}

// By a column that is reckoned from the secrets: a tenant may read how many there are, and not them.
const lockRow = nameStatement<{ plain: number }>(
  'lock_tenant_secrets',
  'SELECT plain_secrets AS plain FROM tenants WHERE id = $1 FOR UPDATE',
);
// A statement of its own: that of the lock sees nothing of what was committed while it waited.
const countActive = nameStatement<{ active: number }>(
  'count_signing_secrets',
  'SELECT count(*) AS active FROM signing_secrets WHERE tenant_id = $1 AND (expires_at IS NULL OR expires_at > clock_timestamp())',
);

/**
 * Locks a tenant until the transaction of `client` ends, so that its secrets change one after another. Returns how many it
 * has that sign, and how many in plain text from earlier versions; undefined when there is no such tenant.
 */
export async function lockTenantSecrets(
  client: Transaction,
  tenantId: string,
): Promise<{ plain: number; active: number } | undefined> {
  const [locked] = await lockRow(client, [tenantId]);
  if (!locked) return undefined;
  const [counted] = await countActive(client, [tenantId]);
  return { plain: locked.plain, active: counted!.active };
}

const insertSecret = nameStatement(
  'add_signing_secret',
  `INSERT INTO signing_secrets (id, tenant_id, key_id, ciphertext, created_at)
   VALUES ($1, $2, $3, $4, to_timestamp($5::float8 / 1000))`,
);

/** Stores a secret, encrypted. The caller has made sure that there is a key. */
export async function addSigningSecret(client: Queryable, keyring: Keyring, secret: NewSigningSecret): Promise<void> {
  const { keyId, ciphertext } = keyring.seal(secret.secret, describeSigningSecret(secret.tenantId, secret.id));
  await insertSecret(client, [secret.id, secret.tenantId, keyId, ciphertext, secret.createdAt]);
}

const expireOthers = nameStatement(
  'expire_signing_secrets',
  `UPDATE signing_secrets SET expires_at = least(expires_at, clock_timestamp() + $3::float8 * interval '1 millisecond')
   WHERE tenant_id = $1 AND id <> $2`,
);

/** Lets all other secrets of a tenant sign for `overlapMs` more, those that end sooner as long as they have. */
export async function expireOtherSecrets(
  client: Transaction,
  tenantId: string,
  newestId: string,
  overlapMs: number,
): Promise<void> {
  await expireOthers(client, [tenantId, newestId, overlapMs]);
}

/** A tenant's secrets that sign, in the order `(createdAt, id)`. */
export async function listSigningSecrets(
  database: Queryable,
  page: { tenantId: string; after: CreatedAfter | undefined; limit: number },
): Promise<StoredPage<SigningSecretSummary>> {
  const query = queryBuilder
    .selectFrom('signing_secrets')
    .select(['id', 'created_at', 'expires_at'])
    .where('tenant_id', '=', page.tenantId)
    .where(sql<boolean>`(expires_at IS NULL OR expires_at > clock_timestamp())`);
  return readCreatedPage(database, query, page);
}

const deleteRow = nameStatement<{ id: string }>(
  'delete_signing_secret',
  'DELETE FROM signing_secrets WHERE tenant_id = $1 AND id = $2 RETURNING id',
);

/** Destroys a secret. False when the tenant has no such one. */
export async function deleteSigningSecret(client: Queryable, tenantId: string, id: string): Promise<boolean> {
  return (await deleteRow(client, [tenantId, id])).length > 0;
}

const deleteExpired = nameStatement<{ id: string }>(
  'prune_signing_secrets',
  `DELETE FROM signing_secrets WHERE id = ANY (ARRAY(
     SELECT id FROM signing_secrets WHERE expires_at < clock_timestamp() LIMIT $1 FOR UPDATE SKIP LOCKED
   )) RETURNING id`,
);

/** Destroys up to `limit` secrets whose time is over. Returns how many. */
export async function pruneSigningSecrets(database: Queryable, limit: number): Promise<number> {
  return (await deleteExpired(database, [limit])).length;
}
