import type { Queryable } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import type { AnnouncedQueue } from './announce-queues.ts';
import type { ReadFrom } from './read-due-timers.ts';

/** What a read could see. */
export interface SeenPast {
  /** What wakes later was not due yet (epoch ms by the database's clock). */
  at: number;
  /** Which transactions had been committed: Postgres' `pg_snapshot`. */
  snapshot: string;
}

/** Before the first read. */
export const NOTHING_SEEN: SeenPast = { at: 0, snapshot: '1:1:' };

/** Where a read of a partition begins, and what of it is no news. */
export interface PullReadFrom extends ReadFrom {
  seen: SeenPast;
}

export interface DuePulls {
  /** Queues with something that is due and had not been seen, and how many timers. */
  queues: (AnnouncedQueue & { timers: number })[];
  /** Of each partition that has more: where it goes on. */
  full: ReadFrom[];
  seen: SeenPast;
}

// A row's `xmin` is the low half of the number of the transaction that wrote it, which is less than that of the next transaction.
const WRITTEN_BY = `(next.xid - (next.xid - t.xmin::text::bigint) % ${2 ** 32})::text::xid8`;

// Takes no lock. One index descent of `timers_pull_wake` a partition.
const selectDuePulls = nameStatement<{
  server_at: number;
  snapshot: string;
  tenant_id: string | null;
  pull_queue: string;
  timers: number;
  partition: number | null;
  wake_at: number;
  id: string;
}>(
  'read_due_pulls',
  `WITH due AS MATERIALIZED (
     SELECT t.*, t.wake_at > to_timestamp(p.seen_at / 1000) OR NOT pg_visible_in_snapshot(${WRITTEN_BY}, p.seen) AS is_news
     FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint) AS next(xid)
     CROSS JOIN unnest($1::smallint[], $2::float8[], $3::uuid[], $4::float8[], $5::pg_snapshot[]) AS p(partition, wake_at, id, seen_at, seen)
     CROSS JOIN LATERAL (
       SELECT t.partition, t.id, t.xmin, t.tenant_id, t.pull_queue, t.wake_at,
         row_number() OVER (ORDER BY t.partition, t.wake_at, t.id) AS place
       FROM timers AS t
       WHERE t.partition = p.partition AND t.pull_queue IS NOT NULL
         AND (t.wake_at, t.id) > (to_timestamp(p.wake_at / 1000)::timestamptz(3), p.id)
         AND t.wake_at <= statement_timestamp() AND t.state = 'scheduled'
       ORDER BY t.partition, t.wake_at, t.id LIMIT $6::int
     ) AS t
   )
   SELECT date_part('epoch', statement_timestamp()) * 1000 AS server_at, pg_current_snapshot()::text AS snapshot, found.*
   FROM (SELECT 1) AS always LEFT JOIN (
     SELECT tenant_id, pull_queue, count(*)::int AS timers, NULL::smallint AS partition, NULL::float8 AS wake_at, NULL::uuid AS id
     FROM due WHERE is_news GROUP BY tenant_id, pull_queue
     UNION ALL
     SELECT NULL, NULL, NULL, partition, date_part('epoch', wake_at) * 1000, id FROM due WHERE place = $6::int
   ) AS found ON true`,
);

/**
 * Looks, per partition and in the order `(wakeAt, id)`, at timers behind `from` that workers of the customer may lease by now, at
 * most `limit` a partition. News is what has come due, or was committed, since `from.seen`. What is written behind a
 * savepoint may be taken for no news: nothing is.
 */
export async function readDuePulls(
  database: Queryable,
  from: readonly PullReadFrom[],
  limit: number,
): Promise<DuePulls> {
  const rows = await selectDuePulls(database, [
    toPlainArray(from.map((f) => f.partition)),
    toPlainArray(from.map((f) => f.wakeAt)),
    toPlainArray(from.map((f) => f.id)),
    toPlainArray(from.map((f) => f.seen.at)),
    from.map((f) => f.seen.snapshot),
    limit,
  ]);
  const { server_at: at, snapshot } = rows[0]!;
  return {
    queues: rows.flatMap(({ tenant_id: tenantId, pull_queue: queue, timers }) =>
      tenantId === null ? [] : [{ tenantId, queue, timers }],
    ),
    full: rows.flatMap(({ partition, wake_at: wakeAt, id }) => (partition === null ? [] : [{ partition, wakeAt, id }])),
    // Wake times have milliseconds.
    seen: { at: Math.floor(at), snapshot },
  };
}
