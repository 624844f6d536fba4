import { describeSigningSecret, type Keyring, UnreadableSecretError } from '@punctual/domain';
import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

/** A secret that signs at present. */
export interface SigningSecret {
  /** `whsec_…` */
  secret: string;
  /** How long it goes on signing (ms), by the database's clock at the time of the answer; undefined: until it is replaced. */
  expiresInMs: number | undefined;
}

interface Row {
  id: string | null;
  key_id: string | null;
  ciphertext: Buffer | null;
  expires_in_ms: number | null;
  plain: string | null;
}

// One statement, so one snapshot: a secret that the api is moving out of `tenants` is in exactly one of the places.
const selectSecrets = nameStatement<Row>(
  'read_signing_secrets',
  `SELECT id, key_id, ciphertext, date_part('epoch', expires_at - clock_timestamp()) * 1000 AS expires_in_ms, plain
   FROM (
     SELECT id, key_id, ciphertext, expires_at, created_at, NULL::text AS plain, 0 AS position
     FROM signing_secrets WHERE tenant_id = $1 AND (expires_at IS NULL OR expires_at > clock_timestamp())
     UNION ALL
     SELECT NULL, NULL, NULL, NULL, NULL, p.plain, p.position::int
     FROM tenants, unnest(signing_secrets) WITH ORDINALITY AS p(plain, position) WHERE tenants.id = $1
   ) AS s
   ORDER BY position, created_at DESC, id DESC`,
);

/**
 * The secrets that sign a tenant's requests, the present one first; none: its requests are not signed. Rejects with
 * UnreadableSecretError when one of them can not be decrypted: a request without its signature may be refused.
 */
export async function readSigningSecrets(
  database: Queryable,
  tenantId: string,
  keyring: Keyring,
): Promise<SigningSecret[]> {
  const rows = await selectSecrets(database, [tenantId]);
  return rows.map(({ id, key_id: keyId, ciphertext, expires_in_ms: expiresInMs, plain }) => ({
    secret: plain ?? openSecret(keyring, tenantId, { id: id!, keyId: keyId!, ciphertext: ciphertext! }),
    expiresInMs: expiresInMs ?? undefined,
  }));
}

function openSecret(
  keyring: Keyring,
  tenantId: string,
  { id, keyId, ciphertext }: { id: string; keyId: string; ciphertext: Buffer },
): string {
  try {
    return keyring.open({ keyId, ciphertext }, describeSigningSecret(tenantId, id));
  } catch (error) {
    if (!(error instanceof UnreadableSecretError)) throw error;
    throw new UnreadableSecretError(`The signing secret ${id} of tenant ${tenantId} can not be read. ${error.message}`);
  }
}
