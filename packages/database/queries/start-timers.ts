import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import type { RunRow } from '../tables.ts';

/** What a hint names. */
export interface TimerVersion {
  id: string;
  version: number;
}

/** A timer whose attempt may now be sent, by whoever got this row and nobody else. */
export interface StartedTimer {
  id: string;
  tenant_id: string;
  /** The version that the outcome must name. */
  version: number;
  /** Counted from 1. An attempt whose lease lapsed is begun again under its own number. */
  attempt: number;
  /** How often in a row this attempt was lost; 0 for one begun for the first time. */
  lost: number;
  /** When it should have started, and did (epoch ms, database's clock). */
  wake_at: number;
  started_at: number;
  /** The due time that the customer set (epoch ms). */
  due_at: number;
  partition: number;
  run_id: string | null;
  workflow_id: string | null;
  workflow_version: number | null;
  task_key: string | null;
  /** JSON text. Null for a task of a run: its action stands in the workflow version. */
  action: string | null;
  payload: string | null;
  retry: string | null;
  timeout_ms: number | null;
  /** The run's input as JSON text. */
  input: string | null;
  /** The run's status at the start: of a cancelled one nothing is sent any more. */
  run_status: RunRow['status'] | null;
}

// Locks the rows it changes, in the order of the ids it is given (callers sort them, so two starts can not
// deadlock). THE claim: its commit is the point where cancel and edit lose. A row that was edited, cancelled,
// started or finished since, or that is not yet due by the database's clock, is left alone.
// A lease of a row that already runs has lapsed when `wake_at` has passed: that attempt is recorded as lost. It began
// when its lease did, which is known as long as the margin is what it was then.
const startRows = nameStatement<StartedTimer>(
  'start_timers',
  `WITH started AS (
     UPDATE timers AS t SET
       state = 'running',
       version = t.version + 1,
       attempt = CASE t.state WHEN 'running' THEN t.attempt ELSE t.attempt + 1 END,
       lost = CASE t.state WHEN 'running' THEN t.lost + 1 ELSE 0 END,
       wake_at = clock_timestamp() + (coalesce(t.timeout_ms, $3::int) + $4::int) * interval '1 millisecond'
     FROM unnest($1::uuid[], $2::int[]) AS c(id, version)
     WHERE t.id = c.id AND t.version = c.version AND t.wake_at <= clock_timestamp() AND t.state IN ('scheduled', 'running')
     RETURNING t.id, t.tenant_id, t.version, t.attempt, t.lost, old.wake_at, t.due_at, t.partition, t.run_id, t.workflow_id,
       t.workflow_version, t.task_key, t.action, t.payload, t.retry, t.timeout_ms
   ), lost AS (
     INSERT INTO attempts (timer_id, tenant_id, started_at, finished_at, outcome, attempt, error)
     SELECT id, tenant_id, wake_at - (coalesce(timeout_ms, $3::int) + $4::int) * interval '1 millisecond', clock_timestamp(), 'lost', attempt, 'the worker stopped answering before it recorded an outcome'
     FROM started WHERE lost > 0
   )
   SELECT s.id, s.tenant_id, s.version, s.attempt, s.lost, date_part('epoch', s.wake_at) * 1000 AS wake_at,
     date_part('epoch', clock_timestamp()) * 1000 AS started_at, date_part('epoch', s.due_at) * 1000 AS due_at,
     s.partition, s.run_id, s.workflow_id, s.workflow_version, s.task_key, s.action, s.payload, s.retry, s.timeout_ms,
     r.input, r.status AS run_status
   FROM started s LEFT JOIN runs r ON r.id = s.run_id`,
);

/**
 * Starts those of `hints` that still stand and are due; the others are dropped.
 * A row's lease lasts its time-out plus `leaseMarginMs`; `timeoutMsDefault` is for rows that set none.
 */
export async function startTimers(
  database: Queryable,
  hints: readonly TimerVersion[],
  timeoutMsDefault: number,
  leaseMarginMs: number,
): Promise<StartedTimer[]> {
  const sorted = hints.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return startRows(database, [sorted.map((h) => h.id), sorted.map((h) => h.version), timeoutMsDefault, leaseMarginMs]);
}

const selectEarly = nameStatement<{ id: string; version: number; wait_ms: number }>(
  'read_early_hints',
  `SELECT t.id, t.version, date_part('epoch', t.wake_at - clock_timestamp()) * 1000 AS wait_ms
   FROM unnest($1::uuid[], $2::int[]) AS c(id, version) JOIN timers t ON t.id = c.id
   WHERE t.version = c.version AND t.wake_at < clock_timestamp() + interval '1 second' AND t.state = 'scheduled'`,
);

/** Of hints that did not start: those that merely came up to a second too early, with the time still to wait. */
export async function readEarlyHints(
  database: Queryable,
  hints: readonly TimerVersion[],
): Promise<{ id: string; version: number; waitMs: number }[]> {
  const rows = await selectEarly(database, [hints.map((h) => h.id), hints.map((h) => h.version)]);
  return rows.map((row) => ({ id: row.id, version: row.version, waitMs: Math.max(0, row.wait_ms) }));
}

const selectStarted = nameStatement<{ stands: boolean }>(
  'check_started_timer',
  `SELECT true AS stands FROM timers WHERE id = $1 AND version = $2 AND state = 'running' AND wake_at > clock_timestamp()`,
);

/** Whether a start still stands: its lease runs, and neither a crash of Postgres nor anybody else has undone it. */
export async function isStillStarted(database: Queryable, { id, version }: TimerVersion): Promise<boolean> {
  return (await selectStarted(database, [id, version])).length === 1;
}
