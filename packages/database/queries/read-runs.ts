import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import type { RunRow } from '../tables.ts';

/** A timer of a run, live or ended. Instants in epoch ms. */
export interface RunTimer {
  id: string;
  taskKey: string;
  path: string | null;
  state: 'scheduled' | 'running' | 'paused' | 'succeeded' | 'dead' | 'cancelled' | 'skipped';
  dueAt: number;
  /** The signal that a live one waits for. */
  waitsFor: string | null;
  attempt: number;
  startedAt: number | null;
  finishedAt: number | null;
  /** The beginning of the answer to its last attempt. */
  responseBody: string | null;
  /** What is kept of it for others, JSON text. */
  output: string | null;
}

/** A run's row and its timers, as they were at one instant. */
export interface RunWithTimers extends RunRow {
  timers: RunTimer[];
}

/** Timers of one task that are read with their run: of those that run once per element, the first ones. */
export const INSTANCES_READ_MAX = 100;
/** Of those of all tasks of a run together: the first of each before the second of any. */
export const INSTANCES_OF_RUN_READ_MAX = 1_000;

/** Runs that one statement reads with their timers. */
const RUNS_PER_READ_MAX = 1000;

const epochMs = (column: string) => `(date_part('epoch', ${column}) * 1000)::bigint`;
const timerFields = (waitsFor: string, startedAt: string, finishedAt: string, responseBody: string) =>
  `id, task_key AS "taskKey", path, state, ${epochMs('due_at')} AS "dueAt", ${waitsFor} AS "waitsFor", attempt, ${startedAt} AS "startedAt",
     ${finishedAt} AS "finishedAt", ${responseBody} AS "responseBody"`;
const WAITS_FOR = `CASE WHEN state <> 'running' AND attempt = 0 THEN waits_for END`;
const ENDED_FIELDS = timerFields('NULL', epochMs('started_at'), epochMs('finished_at'), 'response_body');

// One statement is one snapshot: a timer that moves to the history meanwhile is seen exactly once.
// No timer of a run finished before the run was created, which spares the history's older days.
const selectRuns = nameStatement<RunRow & { timers: string | null }>(
  'read_runs',
  `SELECT r.id, r.tenant_id, r.workflow_id, r.workflow_version, r.partition, r.status, r.task_states, r.input, r.external_id,
     r.labels, r.created_at, r.finished_at, r.paused_at,
     (SELECT json_agg(t) FROM (
        SELECT q.*, (SELECT o.output::text FROM task_outputs AS o
          WHERE o.run_id = r.id AND o.task_key = q."taskKey" AND o.path = coalesce(q.path, '')) AS output
        FROM (SELECT p.*, row_number() OVER (PARTITION BY p.path IS NULL ORDER BY p.place) AS rank FROM (
          SELECT a.*, CASE WHEN a.path IS NULL THEN 1
            ELSE row_number() OVER (PARTITION BY a."taskKey" ORDER BY a.path COLLATE "C") END AS place
          FROM (
            SELECT ${timerFields(WAITS_FOR, 'NULL::bigint', 'NULL::bigint', 'NULL')} FROM timers WHERE run_id = r.id
            UNION ALL
            SELECT ${ENDED_FIELDS} FROM finished_timers WHERE run_id = r.id AND finished_at >= r.created_at
            UNION ALL
            SELECT ${ENDED_FIELDS} FROM dead_letters WHERE run_id = r.id
          ) AS a
        ) AS p WHERE p.place <= ${INSTANCES_READ_MAX}) AS q WHERE q.path IS NULL OR q.rank <= ${INSTANCES_OF_RUN_READ_MAX}
      ) AS t) AS timers
   FROM runs AS r WHERE r.id = ANY ($1::uuid[]) AND r.tenant_id = $2`,
);

/** Those of `ids` that are runs of the tenant, in no particular order. Takes no lock. */
export async function readRuns(
  database: Queryable,
  tenantId: string,
  ids: readonly string[],
): Promise<RunWithTimers[]> {
  if (ids.length > RUNS_PER_READ_MAX)
    throw new RangeError(`${ids.length} runs in one read; at most ${RUNS_PER_READ_MAX}`);
  const rows = await selectRuns(database, [ids, tenantId]);
  return rows.map((row) => ({ ...row, timers: row.timers === null ? [] : (JSON.parse(row.timers) as RunTimer[]) }));
}
