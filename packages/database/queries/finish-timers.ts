import type { Queryable } from '../connect.ts';
import { nameStatement, toColumn, toPlainArray } from '../statement.ts';
import { CARRIED_COLUMNS, CARRIED_OF_TIMER } from './carried-columns.ts';

export type AttemptOutcome = 'succeeded' | 'retryable' | 'permanent' | 'timedOut' | 'blocked' | 'lost';

/** What one attempt came to. Instants in epoch ms. */
export interface AttemptRecord {
  outcome: AttemptOutcome;
  startedAt: number;
  latenessMs: number;
  durationMs: number;
  httpStatus: number | null;
  error: string | null;
  responseBody: string | null;
}

/**
 * A timer that ends by its attempt's outcome. `version` is the one that its start returned. `skipped`: it was sent again, and
 * its condition leaves it out by now; nothing was sent, so it has no outcome and the attempt does not count.
 */
export interface FinishedAttempt extends Omit<AttemptRecord, 'outcome'> {
  id: string;
  version: number;
  state: 'succeeded' | 'dead' | 'skipped';
  outcome: AttemptOutcome | null;
}

/** A timer that its outcome sends back to wait: for a retry, or postponed without having been tried. */
export interface RescheduledAttempt extends AttemptRecord {
  id: string;
  version: number;
  waitMs: number;
}

/** Outcomes that one statement may carry. */
export const OUTCOMES_PER_STATEMENT_MAX = 1000;

const FINISHED_COLUMNS = `${CARRIED_COLUMNS}, version, attempt, finished_at, started_at, lateness_ms, duration_ms, state, outcome,
       http_status, error, response_body`;

// Locks the timers in the order given (sorted by id). Only the holder of the version that the start raised can
// match, so an outcome of a lapsed lease changes nothing. The row leaves `timers` and enters the history, or the
// dead letters, and the ledger, in one statement.
const FINISH = `WITH outcomes AS (
     SELECT * FROM unnest($1::uuid[], $2::int[], $3::timer_state[], $4::attempt_outcome[], $5::float8[], $6::float8[], $7::int[],
       $8::smallint[], $9::text[], $10::text[])
     AS o(id, version, new_state, outcome, started, late_ms, took_ms, status, message, response)
   ), gone AS (
     DELETE FROM timers AS t USING outcomes AS o
     WHERE t.id = o.id AND t.version = o.version AND t.state = 'running'
     RETURNING ${CARRIED_OF_TIMER}, t.version, t.attempt - (o.outcome IS NULL)::int AS attempt, clock_timestamp()::timestamptz(3) AS finished_at,
       to_timestamp(o.started / 1000) AS started_at, o.late_ms AS lateness_ms, o.took_ms AS duration_ms, o.new_state AS state,
       o.outcome, o.status AS http_status, o.message AS error, o.response AS response_body
   ), history AS (
     INSERT INTO finished_timers (${FINISHED_COLUMNS}) SELECT ${FINISHED_COLUMNS} FROM gone WHERE state <> 'dead'
   ), letters AS (
     INSERT INTO dead_letters (${FINISHED_COLUMNS}) SELECT ${FINISHED_COLUMNS} FROM gone WHERE state = 'dead'
   ), ledger AS (
     INSERT INTO ledger_entries (tenant_id, partition, succeeded, dead, skipped)
     SELECT tenant_id, partition, count(*) FILTER (WHERE state = 'succeeded'), count(*) FILTER (WHERE state = 'dead'),
       count(*) FILTER (WHERE state = 'skipped')
     FROM gone GROUP BY tenant_id, partition
     RETURNING succeeded, dead, skipped
   )`;

const finishRows = nameStatement<{
  id: string;
  run_id: string | null;
  task_key: string | null;
  path: string | null;
  state: FinishedAttempt['state'];
}>('finish_timers', `${FINISH} SELECT id, run_id, task_key, path, state FROM gone`);

/**
 * Ends timers by the outcome of their last attempt. Returns those that ended; one that is missing had lost its
 * lease (another worker began its attempt again) and its outcome is void.
 */
export async function finishTimers(database: Queryable, outcomes: readonly FinishedAttempt[]) {
  return finishRows(database, toColumns(outcomes));
}

const countFinished = nameStatement<Record<FinishedAttempt['state'], number>>(
  'finish_and_count_timers',
  `${FINISH} SELECT coalesce(sum(succeeded), 0)::int AS succeeded, coalesce(sum(dead), 0)::int AS dead,
     coalesce(sum(skipped), 0)::int AS skipped FROM ledger`,
);

/** `finishTimers` for whoever need not know which ended: returns how many, by how they did. */
export async function finishAndCountTimers(database: Queryable, outcomes: readonly FinishedAttempt[]) {
  const [counts] = await countFinished(database, toColumns(outcomes));
  return counts!;
}

function toColumns(outcomes: readonly FinishedAttempt[]): unknown[] {
  const sorted = sortById(outcomes);
  return [
    toPlainArray(sorted.map((o) => o.id)),
    toPlainArray(sorted.map((o) => o.version)),
    toPlainArray(sorted.map((o) => o.state)),
    ...recordColumns(sorted),
  ];
}

// Locks the timers in the order given (sorted by id). The attempt that did not succeed is kept.
const retryRows = nameStatement<{ id: string }>(
  'retry_timers',
  `WITH outcomes AS (
     SELECT * FROM unnest($1::uuid[], $2::int[], $3::float8[], $4::attempt_outcome[], $5::float8[], $6::float8[], $7::int[],
       $8::smallint[], $9::text[], $10::text[])
     AS o(id, version, wait_ms, outcome, started, late_ms, took_ms, status, message, response)
   ), waiting AS (
     UPDATE timers AS t SET state = 'scheduled', version = t.version + 1, lost = 0, lease_ends_at = NULL,
       wake_at = clock_timestamp() + o.wait_ms * interval '1 millisecond'
     FROM outcomes AS o
     WHERE t.id = o.id AND t.version = o.version AND t.state = 'running'
     RETURNING t.id, t.tenant_id, t.attempt, o.outcome, o.started, o.late_ms, o.took_ms, o.status, o.message, o.response
   ), kept AS (
     INSERT INTO attempts (timer_id, tenant_id, started_at, finished_at, lateness_ms, duration_ms, outcome, attempt, http_status,
       error, response_body)
     SELECT id, tenant_id, to_timestamp(started / 1000), clock_timestamp(), late_ms, took_ms, outcome, attempt, status, message, response
     FROM waiting
   )
   SELECT id FROM waiting`,
);

/** Sends timers back to wait for their next attempt, `waitMs` from now by the database's clock. */
export async function retryTimers(database: Queryable, outcomes: readonly RescheduledAttempt[]) {
  const sorted = sortById(outcomes);
  return retryRows(database, [
    toPlainArray(sorted.map((o) => o.id)),
    toPlainArray(sorted.map((o) => o.version)),
    toPlainArray(sorted.map((o) => o.waitMs)),
    ...recordColumns(sorted),
  ]);
}

// Locks the timers in the order given (sorted by id).
const postponeRows = nameStatement<{ id: string }>(
  'postpone_timers',
  `UPDATE timers AS t SET state = 'scheduled', version = t.version + 1, attempt = t.attempt - 1, lost = 0, lease_ends_at = NULL,
     wake_at = clock_timestamp() + o.wait_ms * interval '1 millisecond'
   FROM unnest($1::uuid[], $2::int[], $3::float8[]) AS o(id, version, wait_ms)
   WHERE t.id = o.id AND t.version = o.version AND t.state = 'running'
   RETURNING t.id`,
);

/** Gives back timers that were started but never sent: the attempt does not count, and they may be cancelled again. */
export async function postponeTimers(
  database: Queryable,
  timers: readonly { id: string; version: number; waitMs: number }[],
) {
  const sorted = sortById(timers);
  return postponeRows(database, [sorted.map((o) => o.id), sorted.map((o) => o.version), sorted.map((o) => o.waitMs)]);
}

function sortById<T extends { id: string }>(items: readonly T[]): T[] {
  if (items.length > OUTCOMES_PER_STATEMENT_MAX) {
    throw new RangeError(`${items.length} outcomes in one statement; at most ${OUTCOMES_PER_STATEMENT_MAX}`);
  }
  return items.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

function recordColumns(
  records: readonly (Omit<AttemptRecord, 'outcome'> & { outcome: AttemptOutcome | null })[],
): unknown[] {
  return [
    toPlainArray(records.map((o) => o.outcome)),
    toPlainArray(records.map((o) => o.startedAt)),
    toPlainArray(records.map((o) => o.latenessMs)),
    toPlainArray(records.map((o) => Math.round(o.durationMs))),
    toPlainArray(records.map((o) => o.httpStatus)),
    toColumn(records.map((o) => o.error)),
    toColumn(records.map((o) => o.responseBody)),
  ];
}
