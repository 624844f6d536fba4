import type { Queryable } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';

/** The first live timer of a partition at or behind an instant: nothing of the partition wakes before it. */
export interface FirstWake {
  partition: number;
  /** Epoch ms; infinity when the first that is left is paused, or when there is none. */
  wakeAt: number;
  /** The database's time when the statement began (epoch ms). */
  serverAt: number;
}

// Takes no lock. One index descent of `timers_wake` a partition, and past the index entries of rows that are gone: those
// that an old snapshot may still see are each looked up in the table.
const selectFirstWakes = nameStatement<{ partition: number; wake_at: number | null; server_at: number }>(
  'read_first_wakes',
  `SELECT p.partition, date_part('epoch', statement_timestamp()) * 1000 AS server_at,
     (SELECT date_part('epoch', t.wake_at) * 1000 FROM timers t
      WHERE t.partition = p.partition AND t.pull_queue IS NULL AND t.wake_at >= to_timestamp(p.wake_at / 1000)::timestamptz(3)
      ORDER BY t.partition, t.wake_at, t.id LIMIT 1) AS wake_at
   FROM unnest($1::smallint[], $2::float8[]) AS p(partition, wake_at)`,
);

/** For each partition its first wake at or behind `wakeAt` (epoch ms; 0: of all). */
export async function readFirstWakes(
  database: Queryable,
  from: readonly { partition: number; wakeAt: number }[],
): Promise<FirstWake[]> {
  const rows = await selectFirstWakes(database, [
    toPlainArray(from.map(({ partition }) => partition)),
    toPlainArray(from.map(({ wakeAt }) => wakeAt)),
  ]);
  return rows.map((row) => ({
    partition: row.partition,
    wakeAt: row.wake_at ?? Number.POSITIVE_INFINITY,
    serverAt: row.server_at,
  }));
}
