import type { Queryable } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import { SHOWS_ERASED, STATUS_ERASED } from './erasures.ts';
import { IDEMPOTENCY_KEY_TTL_MS } from './prune-idempotency-keys.ts';

/** An idempotency key: each tenant has its own. */
export interface IdempotencyKey {
  tenantId: string;
  key: string;
}

/** The first answer to a request that named an idempotency key. */
export interface IdempotentAnswer extends IdempotencyKey {
  requestHash: Buffer;
  status: number;
  headers: Record<string, string>;
  /** JSON text; empty when there was no body. */
  body: string;
}

/**
 * Keys that one transaction may take. Each holds an entry of Postgres' table of locks until the commit, and that table
 * is shared by all: some 64 entries for each connection that the server allows, 6,400 by default.
 */
export const IDEMPOTENCY_KEYS_PER_TRANSACTION_MAX = 100;

// Waits for nobody, so that whoever takes several keys can be part of no deadlock. The text that is hashed must stay as
// it is: processes of two versions may meet.
const tryLocks = nameStatement<IdempotencyKey & { isLocked: boolean }>(
  'try_lock_idempotency_keys',
  `SELECT tenant_id AS "tenantId", key, pg_try_advisory_xact_lock(hashtextextended(tenant_id || ' ' || key, 0)) AS "isLocked"
   FROM unnest($1::text[], $2::text[]) AS k(tenant_id, key)`,
);

/**
 * Takes the locks of keys until the transaction of `client` ends. Returns those that it got; another transaction has
 * the others. Two keys may share a lock by the chance of a 64-bit hash; then one of them is asked to come again.
 */
export async function tryLockIdempotencyKeys(
  client: Queryable,
  keys: readonly IdempotencyKey[],
): Promise<IdempotencyKey[]> {
  if (keys.length > IDEMPOTENCY_KEYS_PER_TRANSACTION_MAX) {
    throw new RangeError(
      `${keys.length} idempotency keys in one transaction; at most ${IDEMPOTENCY_KEYS_PER_TRANSACTION_MAX}`,
    );
  }
  return (await tryLocks(client, toColumns(keys))).filter(({ isLocked }) => isLocked);
}

// A statement of its own after the locks: its snapshot has what their last holders committed. What was erased is looked up
// only for what is found: for repeats.
const selectAnswers = nameStatement<
  IdempotencyKey & { requestHash: Buffer; status: number; headers: string; body: string }
>(
  'find_idempotent_answers',
  `SELECT a.tenant_id AS "tenantId", a.key, request_hash AS "requestHash",
     CASE WHEN ${SHOWS_ERASED} THEN ${STATUS_ERASED} ELSE status END AS status, headers, body
   FROM unnest($1::uuid[], $2::text[]) AS k(tenant_id, key)
   JOIN idempotency_keys AS a ON a.tenant_id = k.tenant_id AND a.key = k.key
   WHERE created_at >= clock_timestamp() - $3::float8 * interval '1 millisecond'`,
);

/** The answers kept for keys within their time; keys without one are left out. */
export async function findIdempotentAnswers(
  client: Queryable,
  keys: readonly IdempotencyKey[],
): Promise<IdempotentAnswer[]> {
  if (keys.length === 0) return [];
  const rows = await selectAnswers(client, [...toColumns(keys), IDEMPOTENCY_KEY_TTL_MS]);
  return rows.map((row) => ({ ...row, headers: JSON.parse(row.headers) }));
}

// In the order of the keys: only who holds a key's lock writes its row, but two keys may share a lock.
const insertAnswers = nameStatement(
  'store_idempotent_answers',
  `INSERT INTO idempotency_keys (tenant_id, key, request_hash, status, headers, body)
   SELECT tenant_id, key, request_hash, status, headers::json, body
   FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::smallint[], $5::text[], $6::text[])
     AS a(tenant_id, key, request_hash, status, headers, body)
   ORDER BY tenant_id, key
   ON CONFLICT (tenant_id, key) DO UPDATE SET request_hash = excluded.request_hash, status = excluded.status,
     headers = excluded.headers, body = excluded.body, created_at = excluded.created_at`,
);

/** Keeps the first answers to keys, in place of those whose time is over. No key may come twice. */
export async function storeIdempotentAnswers(client: Queryable, answers: readonly IdempotentAnswer[]): Promise<void> {
  if (answers.length === 0) return;
  await insertAnswers(client, [
    ...toColumns(answers),
    answers.map((answer) => answer.requestHash),
    toPlainArray(answers.map((answer) => answer.status)),
    answers.map((answer) => JSON.stringify(answer.headers)),
    answers.map((answer) => answer.body),
  ]);
}

function toColumns(keys: readonly IdempotencyKey[]): unknown[] {
  return [toPlainArray(keys.map(({ tenantId }) => tenantId)), keys.map(({ key }) => key)];
}
