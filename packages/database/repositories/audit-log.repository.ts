import type { Actor, AuditAction } from '@punctual/domain';
import { sql } from 'kysely';
import type { Queryable } from '../connect.ts';
import { runQuery } from '../run-query.ts';
import type { AuditLogRow } from '../tables.ts';
import { type CreatedAfter, createdBehind, toInstant } from './keyset.ts';

/** Which of a tenant's entries are meant. Absent: any. `after` is included, `before` is not (epoch ms). */
export interface AuditFilter {
  tenantId: string;
  after: number | undefined;
  before: number | undefined;
  action: AuditAction | undefined;
  actor: Actor | undefined;
  keyId: string | undefined;
  targetId: string | undefined;
}

/** A page of entries, and behind which place the next one begins; undefined at the end. */
export interface AuditPage {
  rows: AuditLogRow[];
  next: CreatedAfter | undefined;
}

/**
 * Entries that one page looks at when it wants those of one action or key only. Of a busy tenant a rare action may stand
 * among millions; such a page ends early, and the next goes on from there.
 */
export const ENTRIES_LOOKED_AT_MAX = 20_000;
/**
 * How far the time in the id of something new may lie from the database's time at its insert: the clocks of two hosts, and
 * the wait for the insert.
 */
const CREATED_WITHIN = sql.raw(`interval '10 minutes'`);
// As in the partial index.
const CREATES = sql.raw(`('timer.create', 'timers.batch.create', 'run.create', 'runs.batch.create')`);
// A view with the tenant's condition in itself: behind a policy no condition on the targets would reach their index
// (see `timers.repository.ts`).
const ENTRIES = sql.table('own_audit_log');
const COLUMNS = sql.raw('id, tenant_id, key_id, created_at, actor, action, target_ids, request_ids, details');

/**
 * A tenant's entries in the order `(createdAt, id)`. A page may hold fewer than `limit`, even none, and not be the last.
 * `database` is the tenant's.
 */
export async function listAuditEntries(
  database: Queryable,
  filter: AuditFilter,
  page: { after: CreatedAfter | undefined; limit: number },
): Promise<AuditPage> {
  const read = filter.targetId === undefined ? readStretch : readTarget;
  return read(database, filter, page);
}

function toConditions(filter: AuditFilter, after: CreatedAfter | undefined) {
  const place = [sql`tenant_id = ${filter.tenantId}::uuid`];
  if (filter.after !== undefined) place.push(sql`created_at >= ${toInstant(filter.after)}`);
  if (filter.before !== undefined) place.push(sql`created_at < ${toInstant(filter.before)}`);
  // The first condition is for the index, which does not hold the id.
  if (after) place.push(sql`created_at >= ${toInstant(after.createdAt)}`, sql`${createdBehind(after)}`);
  const kind = [sql`true`];
  if (filter.action !== undefined) kind.push(sql`action = ${filter.action}`);
  if (filter.actor !== undefined) kind.push(sql`actor = ${filter.actor}`);
  if (filter.keyId !== undefined) kind.push(sql`key_id = ${filter.keyId}::uuid`);
  return { place: sql.join(place, sql` AND `), kind: sql.join(kind, sql` AND `) };
}

// By the index (tenant_id, created_at). What is looked at is narrow; the lists of ids are fetched for the page only, one
// row after another (LIMIT 1), as the planner could take a tenant's whole log for a small one.
async function readStretch(
  database: Queryable,
  filter: AuditFilter,
  { after, limit }: { after: CreatedAfter | undefined; limit: number },
): Promise<AuditPage> {
  const { place, kind } = toConditions(filter, after);
  const isNarrowed = filter.action !== undefined || filter.actor !== undefined || filter.keyId !== undefined;
  const lookedAtMax = isNarrowed ? ENTRIES_LOOKED_AT_MAX : limit + 1;
  const query = sql<Partial<AuditLogRow> & { looked_at: number; last_created_at: number; last_id: string }>`
    WITH looked AS MATERIALIZED (
      SELECT id, created_at, (${kind}) AS is_meant FROM ${ENTRIES} WHERE ${place} ORDER BY created_at, id LIMIT ${lookedAtMax}
    ), page AS (
      SELECT id, created_at FROM looked WHERE is_meant ORDER BY created_at, id LIMIT ${limit + 1}
    )
    SELECT found.*, last.looked_at, last.created_at AS last_created_at, last.id AS last_id
    FROM (
      SELECT id, created_at, count(*) OVER () AS looked_at FROM looked ORDER BY created_at DESC, id DESC LIMIT 1
    ) AS last
    LEFT JOIN (page CROSS JOIN LATERAL (
      SELECT ${COLUMNS} FROM ${ENTRIES} AS a
      WHERE a.tenant_id = ${filter.tenantId}::uuid AND a.created_at = page.created_at AND a.id = page.id LIMIT 1
    ) AS found) ON true
    ORDER BY found.created_at, found.id`;
  const rows = await runQuery(database, query);
  // One row without an entry tells where the looking ended.
  const found = rows.filter((row) => row.id != null) as AuditLogRow[];
  if (found.length > limit) return cut(found, limit);
  const [first] = rows;
  const isOver = !first || first.looked_at < lookedAtMax;
  return { rows: found, next: isOver ? undefined : { createdAt: first.last_created_at, id: first.last_id } };
}

// What was created is found by the time in its id, everything else by the index of targets.
async function readTarget(
  database: Queryable,
  filter: AuditFilter,
  { after, limit }: { after: CreatedAfter | undefined; limit: number },
): Promise<AuditPage> {
  const { place, kind } = toConditions(filter, after);
  const isOfTarget = sql`target_ids @> ARRAY[${filter.targetId}::uuid]`;
  const madeAt = sql`uuid_extract_timestamp(${filter.targetId}::uuid)`;
  const query = sql<AuditLogRow>`
    SELECT ${COLUMNS} FROM (
      SELECT * FROM ${ENTRIES} WHERE ${place} AND ${kind} AND ${isOfTarget} AND action NOT IN ${CREATES}
      UNION ALL
      SELECT * FROM ${ENTRIES} WHERE ${place} AND ${kind} AND ${isOfTarget} AND action IN ${CREATES}
        AND created_at BETWEEN ${madeAt} - ${CREATED_WITHIN} AND ${madeAt} + ${CREATED_WITHIN}
    ) AS found ORDER BY created_at, id LIMIT ${limit + 1}`;
  const rows = await runQuery(database, query);
  return rows.length > limit ? cut(rows, limit) : { rows, next: undefined };
}

function cut(rows: AuditLogRow[], limit: number): AuditPage {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1)!;
  return { rows: shown, next: { createdAt: last.created_at, id: last.id } };
}
