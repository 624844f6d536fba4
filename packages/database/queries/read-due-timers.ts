import type { Queryable } from '../connect.ts';
import { nameRowsStatement } from '../statement.ts';
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

/** The first row has the time alone, the others have all but the time. */
type Row =
  | [server_at: number, ...timer: null[]]
  | [
      server_at: null,
      partition: number,
      id: string,
      version: number,
      priority: number | null,
      wake_at: number,
      overdue_from: number | null,
    ];

// Takes no lock. One index descent of `timers_wake` a partition; the bound is `statement_timestamp()`, because
// `clock_timestamp()` is volatile and could not stop the index scan: it would walk through all that sleeps.
// Those that workers of the customer lease are not in that index.
// Rows whose attempt is under way keep their place in the index and are passed over until their lease ends.
const selectDueTimers = nameRowsStatement(
  'read_due_timers',
  `SELECT date_part('epoch', clock_timestamp()) * 1000, NULL::smallint, NULL::uuid, NULL::int, NULL::smallint, NULL::float8, NULL::float8
   UNION ALL
   SELECT NULL, p.partition, t.id, t.version, t.priority, date_part('epoch', t.wake_at) * 1000, date_part('epoch', t.overdue_from) * 1000
   FROM unnest($1::smallint[], $2::float8[], $3::uuid[]) AS p(partition, wake_at, id)
   CROSS JOIN LATERAL (
     SELECT t.id, t.version, t.priority, t.wake_at, CASE t.state WHEN 'running' THEN ${LOOK_AT} END AS overdue_from FROM timers t
     WHERE t.partition = p.partition AND t.pull_queue IS NULL AND (t.wake_at, t.id) > (to_timestamp(p.wake_at / 1000)::timestamptz(3), p.id)
       AND t.wake_at <= statement_timestamp() + $4::float8 * interval '1 millisecond'
       AND (t.state <> 'running' OR ${LOOK_AT} <= statement_timestamp())
     ORDER BY t.partition, t.wake_at, t.id LIMIT $5
   ) AS t`,
  (row: Row) => row,
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
  let serverAt = Number.NaN;
  for (const [answeredAt, partition, id, version, priority, wakeAt, overdueFrom] of rows) {
    if (answeredAt !== null) serverAt = answeredAt;
    // Null, which costs nothing to send, for all but lapsed leases and those with a priority.
    else timers.push({ id, version, partition, wakeAt, overdueFrom: overdueFrom ?? wakeAt, priority: priority ?? 0 });
  }
  return { timers, serverAt };
}
