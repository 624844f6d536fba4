import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

/** What a partition will have to do next. */
export interface Upcoming {
  partition: number;
  /** When its next timer wakes (epoch ms, database's clock); null when none is planned. */
  nextWakeAt: number | null;
  /** Timers that wake within the next minute: at most UPCOMING_COUNTED_MAX. */
  withinMinute: number;
}

/** Timers of one partition that are counted: bounds what a look costs. */
export const UPCOMING_COUNTED_MAX = 1_000;

// Takes no lock. Of each partition the next entries of `timers_wake`, and nothing of the table where the visibility map allows.
const selectUpcoming = nameStatement<Upcoming>(
  'read_upcoming',
  `SELECT l.partition, n.wake_at AS "nextWakeAt", c.count::int AS "withinMinute"
   FROM partition_leases AS l
   LEFT JOIN LATERAL (
     SELECT t.wake_at FROM timers AS t
     WHERE t.partition = l.partition AND t.pull_queue IS NULL AND t.wake_at > statement_timestamp() AND t.wake_at < 'infinity'
     ORDER BY t.partition, t.wake_at, t.id LIMIT 1
   ) AS n ON true
   CROSS JOIN LATERAL (
     SELECT count(*) AS count FROM (
       SELECT FROM timers AS t
       WHERE t.partition = l.partition AND t.pull_queue IS NULL AND t.wake_at > statement_timestamp()
         AND t.wake_at <= statement_timestamp() + interval '1 minute'
       LIMIT ${UPCOMING_COUNTED_MAX}
     ) AS t
   ) AS c
   ORDER BY l.partition`,
);

/** What each partition will have to do next, besides what has come due. Pull queues are not looked at. */
export function readUpcoming(database: Queryable): Promise<Upcoming[]> {
  return selectUpcoming(database, []);
}
