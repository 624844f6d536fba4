import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import { LOOK_AT } from './look-at.ts';

/** Where a read begins in one partition: behind this `(wakeAt, id)`. */
export interface ReadFrom {
  partition: number;
  wakeAt: number;
  id: string;
}

/** A timer that must be looked at, as a hint: it may have changed since. */
export interface DueTimer {
  id: string;
  version: number;
  partition: number;
  /** Its place in the order of reads (epoch ms by the database's clock). */
  wakeAt: number;
  /** Since when it should have been looked at: its wake time, or the end of a lease that lapsed. */
  overdueFrom: number;
  /** Among its tenant's; 0: none. */
  priority: number;
}

export interface DueTimers {
  timers: DueTimer[];
  /** The database's time while it answered (epoch ms). */
  serverAt: number;
}

/** The beginning of everything, as a cursor. */
export const FIRST_ID = '00000000-0000-0000-0000-000000000000';

interface Row {
  server_at: number;
  partition: number | null;
  id: string | null;
  version: number | null;
  wake_at: number | null;
  overdue_from: number | null;
  priority: number | null;
}

// Takes no lock. One index descent of `timers_wake` a partition; the bound is `statement_timestamp()`, because
// `clock_timestamp()` is volatile and could not stop the index scan: it would walk through all that sleeps.
// Those that workers of the customer lease are not in that index.
// Rows whose attempt is under way keep their place in the index and are passed over until their lease ends.
const selectDueTimers = nameStatement<Row>(
  'read_due_timers',
  `SELECT date_part('epoch', clock_timestamp()) * 1000 AS server_at, d.*
   FROM (SELECT 1) AS always LEFT JOIN (
     SELECT p.partition, t.id, t.version, t.priority, date_part('epoch', t.wake_at) * 1000 AS wake_at,
       date_part('epoch', t.overdue_from) * 1000 AS overdue_from
     FROM unnest($1::smallint[], $2::float8[], $3::uuid[]) AS p(partition, wake_at, id)
     CROSS JOIN LATERAL (
       SELECT t.id, t.version, t.priority, t.wake_at, CASE t.state WHEN 'running' THEN ${LOOK_AT} END AS overdue_from FROM timers t
       WHERE t.partition = p.partition AND t.pull_queue IS NULL AND (t.wake_at, t.id) > (to_timestamp(p.wake_at / 1000)::timestamptz(3), p.id)
         AND t.wake_at <= statement_timestamp() + $4::float8 * interval '1 millisecond'
         AND (t.state <> 'running' OR ${LOOK_AT} <= statement_timestamp())
       ORDER BY t.partition, t.wake_at, t.id LIMIT $5
     ) AS t
   ) AS d ON true`,
);

/**
 * Reads, per partition and in the order `(wakeAt, id)`, timers behind `from` that wake until `untilMs` from now
 * (negative: that long ago), at most `limit` a partition.
 */
export async function readDueTimers(
  database: Queryable,
  from: readonly ReadFrom[],
  untilMs: number,
  limit: number,
): Promise<DueTimers> {
  const rows = await selectDueTimers(database, [
    from.map((f) => f.partition),
    from.map((f) => f.wakeAt),
    from.map((f) => f.id),
    untilMs,
    limit,
  ]);
  const timers: DueTimer[] = [];
  for (const row of rows) {
    if (row.id !== null) {
      timers.push({
        id: row.id,
        version: row.version!,
        partition: row.partition!,
        wakeAt: row.wake_at!,
        // Null, which costs nothing to send, for all but lapsed leases.
        overdueFrom: row.overdue_from ?? row.wake_at!,
        priority: row.priority ?? 0,
      });
    }
  }
  return { timers, serverAt: rows[0]!.server_at };
}
