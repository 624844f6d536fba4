import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

// Takes no lock, and reads nothing but the index `timers_wake`, a stretch of it for each partition. What workers of the
// customer lease, what is paused and what is under way is not in that stretch.
const selectDueSoon = nameStatement<{ minute: number; timers: number }>(
  'count_due_soon',
  `SELECT least(floor(date_part('epoch', t.wake_at - statement_timestamp()) / 60), $2::int - 1)::int AS minute,
     count(*)::int AS timers
   FROM unnest($1::smallint[]) AS p(partition)
   CROSS JOIN LATERAL (
     SELECT t.wake_at FROM timers t
     WHERE t.partition = p.partition AND t.pull_queue IS NULL AND t.wake_at > statement_timestamp()
       AND t.wake_at <= statement_timestamp() + $2::int * interval '1 minute'
     ORDER BY t.partition, t.wake_at, t.id LIMIT $3
   ) AS t
   GROUP BY 1`,
);

/**
 * How many timers of these partitions wake within each of the next `minutes` minutes: the first number is of the minute
 * that has begun. Of each partition it counts `rowsMax` at most, the earliest.
 */
export async function countDueSoon(
  database: Queryable,
  partitions: readonly number[],
  minutes: number,
  rowsMax: number,
): Promise<number[]> {
  const rows = await selectDueSoon(database, [partitions, minutes, rowsMax]);
  const counts = Array.from({ length: minutes }, () => 0);
  for (const { minute, timers } of rows) counts[minute] = timers;
  return counts;
}
