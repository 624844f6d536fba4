import type { Queryable, Transaction } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import { CARRIED_COLUMNS } from './carried-columns.ts';
import { PARKED_FOR_RUN } from './pause-timers.ts';

/** A dead letter that is a live timer again. */
export interface RedrivenTimer {
  id: string;
  runId: string | null;
  taskKey: string | null;
  path: string | null;
  /** The signal that it waited for in vain. */
  waitsFor: string | null;
}

/** Dead letters that one statement makes live again. A redrive of more takes several. */
export const DEAD_LETTERS_PER_REDRIVE_MAX = 1000;

// SQL: the queue that a dead letter's action names. That of a task of a run stands in the workflow version, unless the timer was
// given another.
const PULL_QUEUE = `CASE WHEN gone.action IS NULL THEN q.queue
         WHEN gone.action ->> 'type' = 'pull' THEN gone.action ->> 'queue' END`;

// Locks the dead letters it takes, in the order of their ids; the caller holds the locks of their runs already (runs before timers), and leaves
// out those of runs that were cancelled. The attempt that stood in the row joins the earlier ones, and counting begins
// anew, so that a redrive has the whole number of retries. The ledger takes back that the timer had ended.
// A version's tasks may be a megabyte of JSON: they are read once, not once for each of its dead letters.
// IS NOT DISTINCT FROM: see `cancel_timers`.
const redriveRows = nameStatement<RedrivenTimer>(
  'redrive_timers',
  `WITH chosen AS (
     SELECT id FROM dead_letters WHERE id = ANY ($2::uuid[]) AND tenant_id IS NOT DISTINCT FROM $1::uuid ORDER BY id FOR UPDATE
   ), gone AS (
     DELETE FROM dead_letters AS d USING chosen WHERE d.id = chosen.id RETURNING d.*
   ), queues AS MATERIALIZED (
     SELECT v.workflow_id AS of_workflow, v.version AS of_version, task ->> 'key' AS of_task, task -> 'action' ->> 'queue' AS queue
     FROM (SELECT DISTINCT workflow_id, workflow_version FROM gone WHERE action IS NULL) AS g
     JOIN workflow_versions AS v ON v.workflow_id = g.workflow_id AND v.version = g.workflow_version
     CROSS JOIN LATERAL json_array_elements(v.tasks) AS task
     WHERE task -> 'action' ->> 'type' = 'pull' AND task ->> 'key' IN (SELECT task_key FROM gone)
   ), live AS (
     INSERT INTO timers (${CARRIED_COLUMNS}, version, attempt, lane, pull_queue, parked_for, paused_at, state, wake_at)
     SELECT ${CARRIED_COLUMNS}, version + 1, 0, concurrency ->> 'key', ${PULL_QUEUE}, CASE WHEN run_id = ANY ($3::uuid[]) THEN '${PARKED_FOR_RUN}' END,
       CASE WHEN run_id = ANY ($3::uuid[]) THEN clock_timestamp() END,
       CASE WHEN run_id = ANY ($3::uuid[]) THEN 'paused'::timer_state ELSE 'scheduled'::timer_state END,
       CASE WHEN run_id = ANY ($3::uuid[]) THEN 'infinity' ELSE clock_timestamp() END
     FROM gone LEFT JOIN queues AS q
       ON q.of_workflow = gone.workflow_id AND q.of_version = gone.workflow_version AND q.of_task = gone.task_key
   ), kept AS (
     INSERT INTO attempts (timer_id, tenant_id, started_at, finished_at, lateness_ms, duration_ms, outcome, attempt,
       http_status, error, response_body)
     SELECT id, tenant_id, started_at, finished_at, lateness_ms, duration_ms, outcome, attempt, http_status, error,
       response_body
     FROM gone WHERE outcome IS NOT NULL AND started_at IS NOT NULL
   ), ledger AS (
     INSERT INTO ledger_entries (tenant_id, partition, dead)
     SELECT tenant_id, partition, -count(*) FROM gone GROUP BY tenant_id, partition
   )
   SELECT id, run_id AS "runId", task_key AS "taskKey", path, waits_for AS "waitsFor" FROM gone`,
);

/**
 * Makes a tenant's dead letters due now with all their attempts before them; those of `pausedRunIds` wait for their run to
 * resume. Returns those that were; the others are no dead letters (any more).
 */
export async function redriveTimers(
  client: Transaction,
  tenantId: string,
  ids: readonly string[],
  pausedRunIds: readonly string[],
): Promise<RedrivenTimer[]> {
  if (ids.length > DEAD_LETTERS_PER_REDRIVE_MAX) {
    throw new RangeError(`${ids.length} dead letters in one redrive; at most ${DEAD_LETTERS_PER_REDRIVE_MAX}`);
  }
  return redriveRows(client, [tenantId, ids.toSorted(), pausedRunIds]);
}

// Locks the runs' rows, which the caller holds already.
const reviveRows = nameStatement(
  'revive_runs',
  `UPDATE runs AS r SET task_states = u.task_states, status = u.status, finished_at = NULL
   FROM unnest($1::uuid[], $2::text[], $3::text[]) AS u(id, task_states, status) WHERE r.id = u.id`,
);

/** Writes down that runs which had ended go on. The caller holds their locks. */
export async function reviveRuns(
  client: Transaction,
  runs: readonly { id: string; taskStates: string; status: 'running' | 'paused' }[],
): Promise<void> {
  if (runs.length === 0) return;
  await reviveRows(client, [
    runs.map((run) => run.id),
    runs.map((run) => run.taskStates),
    runs.map((run) => run.status),
  ]);
}

const selectRunIds = nameStatement<{ id: string; runId: string | null }>(
  'read_run_ids_of_dead_letters',
  `SELECT id, run_id AS "runId" FROM dead_letters WHERE id = ANY ($2::uuid[]) AND tenant_id IS NOT DISTINCT FROM $1::uuid`,
);

/** Which of these are a tenant's dead letters, and the runs they belong to. Takes no lock. */
export function readRunIdsOfDeadLetters(database: Queryable, tenantId: string, ids: readonly string[]) {
  return selectRunIds(database, [tenantId, ids]);
}
