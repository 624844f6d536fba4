import type { TaskState } from '@punctual/domain';
import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

/** Where a review stands: behind this run, in the order in which runs were created (epoch ms). */
export interface ReviewCursor {
  createdAt: number;
  id: string;
}

/** Runs that one look takes. Each costs one step in an index. */
export const RUNS_PER_REVIEW_PAGE_MAX = 1_000;

// Reads the partial index of running runs, and one entry of the timers' for each. Locks nothing. One snapshot: whoever ends
// a run's last timer begins the next, or ends the run, in the same transaction, so a run that moves is never seen without.
const selectPage = nameStatement<{ reviewed: number; created_at: number | null; id: string | null; stuck: string[] }>(
  'review_runs',
  `WITH page AS MATERIALIZED (
     SELECT id, created_at FROM runs
     WHERE status = 'running' AND created_at >= to_timestamp($1::float8 / 1000)::timestamptz(3)
       AND (created_at, id) > (to_timestamp($1::float8 / 1000)::timestamptz(3), $2::uuid)
     ORDER BY created_at, id LIMIT $3
   ), stuck AS (
     SELECT p.id FROM page AS p LEFT JOIN LATERAL (SELECT 1 AS one FROM timers AS t WHERE t.run_id = p.id LIMIT 1) AS t ON true
     WHERE t.one IS NULL
   ), last AS (SELECT id, created_at FROM page ORDER BY created_at DESC, id DESC LIMIT 1)
   SELECT (SELECT count(*)::int FROM page) AS reviewed, (SELECT created_at FROM last) AS created_at,
     (SELECT id FROM last) AS id, ARRAY(SELECT id FROM stuck) AS stuck`,
);

const BEGINNING: ReviewCursor = { createdAt: 0, id: '00000000-0000-0000-0000-000000000000' };

/**
 * Looks at the next running runs behind `cursor` (undefined: from the oldest on). Returns how many it looked at, those that
 * had no live timer, and where to go on: undefined at the end.
 */
export async function readStuckRunIds(
  database: Queryable,
  cursor: ReviewCursor | undefined,
): Promise<{ reviewed: number; stuck: string[]; next: ReviewCursor | undefined }> {
  const { createdAt, id } = cursor ?? BEGINNING;
  const [page] = await selectPage(database, [createdAt, id, RUNS_PER_REVIEW_PAGE_MAX]);
  const { reviewed, stuck } = page!;
  const isLast = reviewed < RUNS_PER_REVIEW_PAGE_MAX;
  return { reviewed, stuck, next: isLast ? undefined : { createdAt: page!.created_at!, id: page!.id! } };
}

/** What is known of a task of a run whose timer is not live any more. */
export interface TaskTrace {
  taskKey: string;
  path: string | null;
  state: Exclude<TaskState, 'pending' | 'live' | 'excluded'>;
}

const selectLive = nameStatement<{ one: number }>(
  'has_live_timer',
  'SELECT 1 AS one FROM timers WHERE run_id = $1 LIMIT 1',
);

/** Whether any timer of a run is live. Whoever holds the run's lock knows that this stays so. */
export async function hasLiveTimer(client: Queryable, runId: string): Promise<boolean> {
  return (await selectLive(client, [runId])).length > 0;
}

// No timer of a run finished before the run was created, which spares the history's older days.
const selectTraces = nameStatement<TaskTrace>(
  'read_task_traces',
  `SELECT DISTINCT ON (task_key, path) task_key AS "taskKey", path, state FROM (
     SELECT task_key, path, state, finished_at FROM finished_timers
     WHERE run_id = $1 AND finished_at >= (SELECT created_at FROM runs WHERE id = $1)
     UNION ALL SELECT task_key, path, state, finished_at FROM dead_letters WHERE run_id = $1
   ) AS ended ORDER BY task_key, path, finished_at DESC`,
);

/** How the tasks of a run ended, of as many as there still is a trace. */
export function readTaskTraces(client: Queryable, runId: string): Promise<TaskTrace[]> {
  return selectTraces(client, [runId]);
}

const addMended = nameStatement(
  'count_mended_run',
  'UPDATE run_review SET mended = mended + 1, tasks_lost = tasks_lost + $1',
);

/** Counts a run that was mended, in the transaction that mends it. */
export async function countMendedRun(client: Queryable, tasksLost: number): Promise<void> {
  await addMended(client, [tasksLost]);
}

const setReview = nameStatement(
  'end_run_review',
  'UPDATE run_review SET ended_at = clock_timestamp(), reviewed = $1, unmendable = $2',
);

/** Notes what a review of all runs came to. */
export async function endRunReview(database: Queryable, reviewed: number, unmendable: number): Promise<void> {
  await setReview(database, [reviewed, unmendable]);
}

/** What reviews have come to. `endedAt`: of the last one (epoch ms); null before the first. */
export interface RunReview {
  endedAt: number | null;
  reviewed: number;
  unmendable: number;
  mended: number;
  tasksLost: number;
}

const selectReview = nameStatement<RunReview>(
  'read_run_review',
  'SELECT ended_at AS "endedAt", reviewed, unmendable, mended, tasks_lost AS "tasksLost" FROM run_review',
);

/** What the last review found, and what all of them mended. */
export async function readRunReview(database: Queryable): Promise<RunReview> {
  const [row] = await selectReview(database, []);
  return row!;
}
