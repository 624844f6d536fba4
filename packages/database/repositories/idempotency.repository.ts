import type { Queryable } from '../connect.ts';
import { IDEMPOTENCY_KEY_TTL_MS } from '../queries/prune-idempotency-keys.ts';

/** The first answer to a request that named an idempotency key. */
export interface IdempotentAnswer {
  requestHash: Buffer;
  status: number;
  headers: Record<string, string>;
  /** JSON text; empty when there was no body. */
  body: string;
}

/**
 * Takes the lock of a tenant's key until the transaction of `client` ends; false when another transaction has it.
 * Two keys may share a lock by the chance of a 64-bit hash; then one of them is asked to come again.
 */
export async function tryLockIdempotencyKey(client: Queryable, tenantId: string, key: string): Promise<boolean> {
  const { rows } = await client.query<{ locked: boolean }>(
    `SELECT pg_try_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0)) AS locked`,
    [tenantId, key],
  );
  return rows[0]!.locked;
}

/** The answer kept for a key within its time; undefined when there is none. */
export async function findIdempotentAnswer(
  client: Queryable,
  tenantId: string,
  key: string,
): Promise<IdempotentAnswer | undefined> {
  const { rows } = await client.query<{ request_hash: Buffer; status: number; headers: string; body: string }>(
    `SELECT request_hash, status, headers, body FROM idempotency_keys
     WHERE tenant_id = $1 AND key = $2 AND created_at >= clock_timestamp() - $3::float8 * interval '1 millisecond'`,
    [tenantId, key, IDEMPOTENCY_KEY_TTL_MS],
  );
  const [row] = rows;
  return row && { requestHash: row.request_hash, status: row.status, headers: JSON.parse(row.headers), body: row.body };
}

/** Keeps the first answer to a key, in place of one whose time is over. */
export async function storeIdempotentAnswer(
  client: Queryable,
  answer: IdempotentAnswer & { tenantId: string; key: string },
): Promise<void> {
  await client.query(
    `INSERT INTO idempotency_keys (tenant_id, key, request_hash, status, headers, body) VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (tenant_id, key) DO UPDATE SET request_hash = excluded.request_hash, status = excluded.status,
       headers = excluded.headers, body = excluded.body, created_at = excluded.created_at`,
    [answer.tenantId, answer.key, answer.requestHash, answer.status, JSON.stringify(answer.headers), answer.body],
  );
}
