import type { Queryable } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import type { ReadFrom } from './read-due-timers.ts';

/** A timer that workers of the customer may lease. */
export interface DuePull {
  id: string;
  version: number;
  partition: number;
  tenantId: string;
  queue: string;
  /** Epoch ms by the database's clock. */
  wakeAt: number;
}

// Takes no lock. One index descent of `timers_pull_wake` a partition.
const selectDuePulls = nameStatement<{
  server_at: number;
  id: string | null;
  version: number;
  partition: number;
  tenant_id: string;
  pull_queue: string;
  wake_at: number;
}>(
  'read_due_pulls',
  `SELECT date_part('epoch', clock_timestamp()) * 1000 AS server_at, d.*
   FROM (SELECT 1) AS always LEFT JOIN (
     SELECT t.id, t.version, p.partition, t.tenant_id, t.pull_queue, date_part('epoch', t.wake_at) * 1000 AS wake_at
     FROM unnest($1::smallint[], $2::float8[], $3::uuid[]) AS p(partition, wake_at, id)
     CROSS JOIN LATERAL (
       SELECT t.id, t.version, t.tenant_id, t.pull_queue, t.wake_at FROM timers t
       WHERE t.partition = p.partition AND t.pull_queue IS NOT NULL
         AND (t.wake_at, t.id) > (to_timestamp(p.wake_at / 1000)::timestamptz(3), p.id)
         AND t.wake_at <= statement_timestamp() AND t.state = 'scheduled'
       ORDER BY t.partition, t.wake_at, t.id LIMIT $4
     ) AS t
   ) AS d ON true`,
);

/**
 * Reads, per partition and in the order `(wakeAt, id)`, timers behind `from` that workers of the customer may lease by now, at
 * most `limit` a partition.
 */
export async function readDuePulls(
  database: Queryable,
  from: readonly ReadFrom[],
  limit: number,
): Promise<{ pulls: DuePull[]; serverAt: number }> {
  const rows = await selectDuePulls(database, [
    toPlainArray(from.map((f) => f.partition)),
    toPlainArray(from.map((f) => f.wakeAt)),
    toPlainArray(from.map((f) => f.id)),
    limit,
  ]);
  const pulls = rows.flatMap((row): DuePull[] => {
    if (row.id === null) return [];
    const { id, version, partition } = row;
    return [{ id, version, partition, tenantId: row.tenant_id, queue: row.pull_queue, wakeAt: row.wake_at }];
  });
  return { pulls, serverAt: rows[0]!.server_at };
}
