import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import type { CancelledTimer } from './cancel-timers.ts';
import { CARRIED_COLUMNS, CARRIED_OF_TIMER } from './carried-columns.ts';
import { type AttemptRecord, OUTCOMES_PER_STATEMENT_MAX } from './finish-timers.ts';

/** A started timer that its outcome would send back to wait, while nobody wants it any more. */
export interface AbandonedAttempt {
  id: string;
  /** The one that its start returned. */
  version: number;
  /** What the attempt came to; null when it was never sent. */
  record: AttemptRecord | null;
}

const KEPT = `${CARRIED_COLUMNS}, version, attempt`;
const RECORD = 'started_at, lateness_ms, duration_ms, outcome, http_status, error, response_body';

// Locks the timers in the order given (sorted by id); the caller holds the locks of their runs already. Only the
// holder of the version that the start raised can match. An attempt that was never sent does not count.
const cancelRows = nameStatement<CancelledTimer>(
  'cancel_running_timers',
  `WITH outcomes AS (
     SELECT * FROM unnest($1::uuid[], $2::int[], $3::attempt_outcome[], $4::float8[], $5::float8[], $6::int[], $7::smallint[],
       $8::text[], $9::text[])
     AS o(id, version, outcome, started, late_ms, took_ms, status, message, response)
   ), gone AS (
     DELETE FROM timers AS t USING outcomes AS o
     WHERE t.id = o.id AND t.version = o.version AND t.state = 'running'
     RETURNING ${CARRIED_OF_TIMER}, t.version, t.attempt - (o.outcome IS NULL)::int AS attempt,
       to_timestamp(o.started / 1000) AS started_at, o.late_ms AS lateness_ms, o.took_ms AS duration_ms, o.outcome,
       o.status AS http_status, o.message AS error, o.response AS response_body
   ), history AS (
     INSERT INTO finished_timers (${KEPT}, ${RECORD}, state, finished_at)
     SELECT ${KEPT}, ${RECORD}, 'cancelled', clock_timestamp() FROM gone
   ), ledger AS (
     INSERT INTO ledger_entries (tenant_id, partition, cancelled)
     SELECT tenant_id, partition, count(*) FROM gone GROUP BY tenant_id, partition
   )
   SELECT id, run_id, task_key, path FROM gone`,
);

/**
 * Ends started timers as `cancelled`, keeping what their attempt came to. Returns those that ended; one that is
 * missing had lost its lease.
 */
export async function cancelRunningTimers(
  database: Queryable,
  attempts: readonly AbandonedAttempt[],
): Promise<CancelledTimer[]> {
  if (attempts.length > OUTCOMES_PER_STATEMENT_MAX) {
    throw new RangeError(`${attempts.length} outcomes in one statement; at most ${OUTCOMES_PER_STATEMENT_MAX}`);
  }
  const sorted = attempts.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const records = sorted.map((attempt) => attempt.record);
  return cancelRows(database, [
    sorted.map((attempt) => attempt.id),
    sorted.map((attempt) => attempt.version),
    records.map((record) => record?.outcome ?? null),
    records.map((record) => record?.startedAt ?? null),
    records.map((record) => record?.latenessMs ?? null),
    records.map((record) => (record ? Math.round(record.durationMs) : null)),
    records.map((record) => record?.httpStatus ?? null),
    records.map((record) => record?.error ?? null),
    records.map((record) => record?.responseBody ?? null),
  ]);
}
