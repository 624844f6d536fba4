import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

/** What is kept as the status of an answer that was erased. No answer that is kept has it otherwise. */
export const STATUS_ERASED = 410;

/** Erasures whose answers one walk looks for. */
export const ERASURES_PER_WALK_MAX = 1_000;
/** Answers that one statement looks at. */
const ANSWERS_PER_PAGE_MAX = 2_000;
/** Whoever showed in an answer what was erased has stored it by then, or gave up (ms): twice as long as a request may take. */
const SETTLED_AFTER_MS = 10_000;

const insertErasure = nameStatement(
  'add_erasure',
  'INSERT INTO erasures (tenant_id, target_id) VALUES ($1, $2) ON CONFLICT DO NOTHING',
);

/**
 * Writes down that a run, or a timer without one, was erased, in the transaction that does it: from its commit on, no answer
 * kept for an idempotency key that shows it is given again.
 */
export async function addErasure(client: Queryable, tenantId: string, targetId: string): Promise<void> {
  await insertErasure(client, [tenantId, targetId]);
}

/** SQL: whether the kept answer `a` shows what was erased. */
export const SHOWS_ERASED = `EXISTS (
     SELECT FROM erasures AS e WHERE e.tenant_id = a.tenant_id AND strpos(a.body, e.target_id::text) > 0)`;

const selectErasures = nameStatement<{ tenantId: string; targetId: string }>(
  'read_erasures',
  `SELECT tenant_id AS "tenantId", target_id AS "targetId" FROM erasures
   WHERE erased_at < clock_timestamp() - ${SETTLED_AFTER_MS} * interval '1 millisecond' LIMIT ${ERASURES_PER_WALK_MAX}`,
);

/** What was erased of whom, and may still stand in kept answers: ERASURES_PER_WALK_MAX at the most. */
export async function listErasures(database: Queryable): Promise<Map<string, string[]>> {
  const rows = await selectErasures(database, []);
  const byTenant = Map.groupBy(rows, ({ tenantId }) => tenantId);
  return new Map([...byTenant].map(([tenantId, erasures]) => [tenantId, erasures.map(({ targetId }) => targetId)]));
}

// The row stays, so that a repeat does not do again what was done; the hash of a short request would tell it to who tries all
// that it may have been. A key whose time is over may be taken for another request meanwhile: then its row is another.
const overwritePage = nameStatement<{ looked: number; erased: number; last: string | null }>(
  'overwrite_answers_about_erased',
  `WITH page AS MATERIALIZED (
     SELECT key, created_at, body FROM idempotency_keys WHERE tenant_id = $1 AND key > $2 ORDER BY key LIMIT ${ANSWERS_PER_PAGE_MAX}
   ), found AS (
     SELECT key, created_at FROM page AS p
     WHERE EXISTS (SELECT FROM unnest($3::text[]) AS e(id) WHERE strpos(p.body, e.id) > 0)
   ), erased AS (
     UPDATE idempotency_keys AS k SET status = ${STATUS_ERASED}, request_hash = '', headers = '{}', body = '' FROM found AS f
     WHERE k.tenant_id = $1 AND k.key = f.key AND k.created_at = f.created_at RETURNING k.key
   )
   SELECT count(*)::int AS looked, (SELECT count(*)::int FROM erased) AS erased, max(key) AS last FROM page`,
);

/**
 * Overwrites, of a tenant's next kept answers behind the key `after`, those that show one of these. Returns how many, and
 * where to go on: undefined at the end.
 */
export async function overwriteAnswersAbout(
  database: Queryable,
  tenantId: string,
  targetIds: readonly string[],
  after: string,
): Promise<{ erased: number; next: string | undefined }> {
  const [page] = await overwritePage(database, [tenantId, after, targetIds]);
  const { looked, erased, last } = page!;
  return { erased, next: looked < ANSWERS_PER_PAGE_MAX ? undefined : last! };
}

const deleteErasures = nameStatement(
  'forget_erasures',
  'DELETE FROM erasures WHERE tenant_id = $1 AND target_id = ANY ($2::uuid[])',
);

/** Forgets what no kept answer shows any more. */
export async function forgetErasures(
  database: Queryable,
  tenantId: string,
  targetIds: readonly string[],
): Promise<void> {
  await deleteErasures(database, [tenantId, targetIds]);
}
