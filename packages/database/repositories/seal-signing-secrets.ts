import { createId, describeSigningSecret, type Keyring } from '@punctual/domain';
import { type Database, inTransaction, type Transaction } from '../connect.ts';
import { INSTANCE_TTL_MS } from '../queries/service-instances.ts';
import { nameStatement } from '../statement.ts';
import { addSigningSecret } from './signing-secrets.repository.ts';

/** Apis that one state names. More are told by another look, once these are gone. */
const OTHER_APIS_NAMED_MAX = 10;

/** An api that is alive and seals with another key, or with none (null). */
export interface OtherApi {
  id: string;
  host: string;
  pid: number;
  firstKeyId: string | null;
}

/** What is still not under the present key, which workers could not read it there, and which apis would undo it. */
export interface SealingState {
  /** Tenants with secrets in plain text, and secrets under other keys. */
  plainTenants: number;
  otherKeySecrets: number;
  /** Workers that are alive and have not told that they hold the present key. */
  unpreparedWorkers: number;
  /** At most OTHER_APIS_NAMED_MAX, those that started first. */
  otherApis: OtherApi[];
}

const selectState = nameStatement<SealingState>(
  'read_sealing_state',
  `SELECT (SELECT count(*) FROM tenants WHERE signing_secrets <> '{}') AS "plainTenants",
     (SELECT count(*) FROM signing_secrets WHERE key_id <> $1) AS "otherKeySecrets",
     (SELECT count(*) FROM service_instances WHERE role = 'worker'
        AND heartbeat_at > clock_timestamp() - $2::float8 * interval '1 millisecond'
        AND NOT coalesce(details -> 'encryptionKeys' ? $1, false)) AS "unpreparedWorkers",
     (SELECT coalesce(jsonb_agg(to_jsonb(a)), '[]') FROM (
        SELECT id, host, pid, details -> 'encryptionKeys' ->> 0 AS "firstKeyId" FROM service_instances
        WHERE role = 'api' AND heartbeat_at > clock_timestamp() - $2::float8 * interval '1 millisecond'
          AND details -> 'encryptionKeys' ->> 0 IS DISTINCT FROM $1
        ORDER BY started_at, id LIMIT ${OTHER_APIS_NAMED_MAX}) AS a) AS "otherApis"`,
);

/** How far the move of signing secrets to the present key is. There is one. */
export async function readSealingState(
  database: Pick<Database, 'ordinary'>,
  primaryKeyId: string,
): Promise<SealingState> {
  const [state] = await selectState(database.ordinary, [primaryKeyId, INSTANCE_TTL_MS]);
  return state!;
}

/** Why nothing may be moved to the present key now, and what to do about it; undefined: it may. */
export function describeSealingObstacle(
  { unpreparedWorkers, otherApis }: SealingState,
  primaryKeyId: string,
): string | undefined {
  if (unpreparedWorkers > 0) {
    return `${unpreparedWorkers} workers that are alive do not have the key "${primaryKeyId}": restart them with it first.`;
  }
  if (otherApis.length === 0) return undefined;
  const named = otherApis.map(
    ({ id, host, pid, firstKeyId }) =>
      `${id} (process ${pid} on ${host}) seals with ${firstKeyId === null ? 'no key' : `"${firstKeyId}"`}`,
  );
  return `These apis are alive and do not seal with the key "${primaryKeyId}": ${named.join('; ')}. Restart each with ENCRYPTION_KEYS that begin with "${primaryKeyId}", or stop it; one that was killed counts for ${INSTANCE_TTL_MS / 1000} s more.`;
}

interface PlainTenant {
  id: string;
  signing_secrets: string[];
  created_at: number;
}

// Leaves out those that another process is at.
const lockPlain = nameStatement<PlainTenant>(
  'lock_plain_signing_secrets',
  `SELECT id, signing_secrets, created_at FROM tenants WHERE signing_secrets <> '{}'
   ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED`,
);
const clearPlain = nameStatement(
  'clear_plain_signing_secrets',
  `UPDATE tenants SET signing_secrets = '{}' WHERE id = ANY ($1::uuid[])`,
);

/**
 * Encrypts the signing secrets of up to `limit` tenants that earlier versions stored in plain text. One transaction: whoever
 * reads a tenant's secrets finds each of them in exactly one place. Returns of how many tenants.
 */
export async function sealPlainSecrets(
  database: Pick<Database, 'ordinary'>,
  keyring: Keyring,
  limit: number,
): Promise<number> {
  return inTransaction(database.ordinary, async (client) => {
    const tenants = await lockPlain(client, [limit]);
    for (const tenant of tenants) {
      for (const [position, secret] of tenant.signing_secrets.entries()) {
        // The first is the present one, so it must be the youngest.
        const createdAt = tenant.created_at - position;
        await addSigningSecret(client, keyring, { id: createId(), tenantId: tenant.id, secret, createdAt });
      }
    }
    if (tenants.length > 0) await clearPlain(client, [tenants.map(({ id }) => id)]);
    return tenants.length;
  });
}

const lockOthers = nameStatement<{ id: string; tenant_id: string; key_id: string; ciphertext: Buffer }>(
  'lock_signing_secrets_of_other_keys',
  `SELECT id, tenant_id, key_id, ciphertext FROM signing_secrets
   WHERE key_id <> $1 AND key_id = ANY ($2) ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED`,
);
const replaceCiphertext = nameStatement(
  'reseal_signing_secret',
  'UPDATE signing_secrets SET key_id = $2, ciphertext = $3 WHERE id = $1',
);

/**
 * Encrypts up to `limit` signing secrets with the present key that are under another one of the keyring. Returns how many.
 * Rejects with UnreadableSecretError, nothing changed, when one does not open.
 */
export async function resealSigningSecrets(
  database: Pick<Database, 'ordinary'>,
  keyring: Keyring,
  limit: number,
): Promise<number> {
  return inTransaction(database.ordinary, async (client: Transaction) => {
    const rows = await lockOthers(client, [keyring.primaryKeyId, keyring.keyIds, limit]);
    for (const { id, tenant_id: tenantId, key_id: keyId, ciphertext } of rows) {
      const context = describeSigningSecret(tenantId, id);
      const sealed = keyring.seal(keyring.open({ keyId, ciphertext }, context), context);
      await replaceCiphertext(client, [id, sealed.keyId, sealed.ciphertext]);
    }
    return rows.length;
  });
}
