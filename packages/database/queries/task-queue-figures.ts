import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

/** What lies in a queue of pull workers. */
export interface TaskQueueFigures {
  tenantId: string;
  queue: string;
  /** Due, and leased by nobody. */
  waiting: number;
  leased: number;
  /** When its next task comes due (epoch ms, database's clock); null when none is planned. */
  nextDueAt: number | null;
  /** There are more: TASKS_COUNTED_MAX were looked at. */
  isCapped: boolean;
}

/** Queues that one read tells of, and tasks of each that it counts: bound what a look costs. */
export const TASK_QUEUES_MAX = 200;
const TASKS_COUNTED_MAX = 10_000;

// Takes no lock. One descent of `timers_pull` for each queue, from each to the next, then its first rows, and the next to come due.
const selectFigures = nameStatement<Omit<TaskQueueFigures, 'isCapped'>>(
  'read_task_queues',
  `WITH RECURSIVE queues AS (
     (SELECT t.tenant_id, t.pull_queue FROM timers AS t WHERE t.pull_queue IS NOT NULL ORDER BY t.tenant_id, t.pull_queue LIMIT 1)
     UNION ALL
     SELECT n.tenant_id, n.pull_queue FROM queues AS q CROSS JOIN LATERAL (
       SELECT t.tenant_id, t.pull_queue FROM timers AS t
       WHERE t.pull_queue IS NOT NULL AND (t.tenant_id, t.pull_queue) > (q.tenant_id, q.pull_queue)
       ORDER BY t.tenant_id, t.pull_queue LIMIT 1
     ) AS n
   )
   SELECT q.tenant_id AS "tenantId", q.pull_queue AS queue, f.waiting, f.leased, (
     SELECT t.wake_at FROM timers AS t
     WHERE t.tenant_id = q.tenant_id AND t.pull_queue = q.pull_queue AND t.wake_at > statement_timestamp() AND t.wake_at < 'infinity'
     ORDER BY t.tenant_id, t.pull_queue, t.wake_at, t.id LIMIT 1
   ) AS "nextDueAt"
   FROM (SELECT * FROM queues LIMIT ${TASK_QUEUES_MAX}) AS q CROSS JOIN LATERAL (
     SELECT count(*) FILTER (WHERE state = 'scheduled') AS waiting, count(*) FILTER (WHERE state = 'running') AS leased
     FROM (
       SELECT t.state FROM timers AS t
       WHERE t.tenant_id = q.tenant_id AND t.pull_queue = q.pull_queue AND t.wake_at <= statement_timestamp()
       ORDER BY t.tenant_id, t.pull_queue, t.wake_at, t.id LIMIT ${TASKS_COUNTED_MAX}
     ) AS t
   ) AS f`,
);

/** The first TASK_QUEUES_MAX queues of pull workers that hold anything, of all tenants. */
export async function readTaskQueues(database: Queryable): Promise<TaskQueueFigures[]> {
  const rows = await selectFigures(database, []);
  return rows.map((row) => ({ ...row, isCapped: row.waiting + row.leased >= TASKS_COUNTED_MAX }));
}
