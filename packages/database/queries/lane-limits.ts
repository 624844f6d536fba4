import type { LaneRule } from '@punctual/domain';
import type { Queryable, Transaction } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';

/** What a limit is for: all timers of a workflow, in a queue or to an origin, or all of the tenant. */
export const LIMIT_KINDS = ['origin', 'queue', 'tenant', 'workflow'] as const;
export type LimitKind = (typeof LIMIT_KINDS)[number];

/** A limit of a tenant. `name`: the workflow's id, the queue's name, or an origin; empty for the tenant. */
export interface LaneLimit extends LaneRule {
  tenantId: string;
  kind: LimitKind;
  name: string;
}

/** Limits of one tenant: whoever starts its timers reads all of them. */
export const LIMITS_PER_TENANT_MAX = 1_000;

/**
 * SQL: the tenants that have limits, as an array. Without any it is a look into an empty index, once a statement. As a sub-select
 * to be joined it would let the planner think that half of all timers are left out, and walk through them rather than look ids up.
 */
export const LIMITED_TENANTS = 'ARRAY(SELECT DISTINCT l.tenant_id FROM lanes AS l WHERE l.is_limit)';

/** The name of the lane of a limit. */
export const nameLimitLane = ({ kind, name }: Pick<LaneLimit, 'kind' | 'name'>) => `${kind}:${name}`;

const COLUMNS = `tenant_id AS "tenantId", split_part(name, ':', 1) AS kind, substr(name, position(':' IN name) + 1) AS name,
     limit_max AS "limit", rate_per_second AS "ratePerSecond"`;

const setRow = nameStatement<LaneLimit & { isNew: boolean }>(
  'set_limit',
  `INSERT INTO lanes AS l (tenant_id, name, limit_max, rate_per_second, is_limit) VALUES ($1, $2, $3, $4, true)
   ON CONFLICT (tenant_id, name) DO UPDATE
     SET limit_max = excluded.limit_max, rate_per_second = excluded.rate_per_second, used_until = NULL, is_limit = true,
       looked_at = '-infinity'
   RETURNING ${COLUMNS}`,
);

/** Sets a limit, in place of what was there. Schedulers look at once whether it lets somebody begin. */
export async function setLimit(client: Transaction, limit: LaneLimit): Promise<LaneLimit> {
  const [row] = await setRow(client, [limit.tenantId, nameLimitLane(limit), limit.limit, limit.ratePerSecond]);
  return row!;
}

const dropRow = nameStatement<{ name: string }>(
  'drop_limit',
  `UPDATE lanes SET limit_max = NULL, rate_per_second = NULL, used_until = NULL, is_limit = false, looked_at = '-infinity'
   WHERE tenant_id = $1 AND name = $2 AND is_limit RETURNING name`,
);

/** Removes a limit; who waits for it is let go by the schedulers. False when there is none. */
export async function dropLimit(
  client: Transaction,
  limit: Pick<LaneLimit, 'tenantId' | 'kind' | 'name'>,
): Promise<boolean> {
  return (await dropRow(client, [limit.tenantId, nameLimitLane(limit)])).length > 0;
}

const selectRows = nameStatement<LaneLimit>(
  'list_limits',
  `SELECT ${COLUMNS} FROM lanes AS l WHERE tenant_id = $1 AND is_limit AND l.name > $2 ORDER BY l.name LIMIT $3`,
);

/** A tenant's limits in the order of their lanes' names, behind `after`, such a name. */
export function listLimits(database: Queryable, tenantId: string, after: string, limit: number): Promise<LaneLimit[]> {
  return selectRows(database, [tenantId, after, limit]);
}

const selectAll = nameStatement<LaneLimit>(
  'read_limits',
  `SELECT ${COLUMNS} FROM lanes WHERE tenant_id = ANY ($1::uuid[]) AND is_limit`,
);

/** All limits of these tenants. */
export function readLimits(database: Queryable, tenantIds: readonly string[]): Promise<LaneLimit[]> {
  return selectAll(database, [toPlainArray(tenantIds)]);
}

const countRows = nameStatement<{ count: number }>(
  'count_limits',
  'SELECT count(*) AS count FROM lanes WHERE tenant_id = $1 AND is_limit AND name <> $2',
);

/** How many limits a tenant has besides this one. */
export async function countOtherLimits(
  database: Queryable,
  limit: Pick<LaneLimit, 'tenantId' | 'kind' | 'name'>,
): Promise<number> {
  const [row] = await countRows(database, [limit.tenantId, nameLimitLane(limit)]);
  return row!.count;
}
