import type pg from 'pg';
import { inTransaction, type Queryable, type Transaction } from '../connect.ts';
import { nameRowsStatement, nameStatement, toPlainArray } from '../statement.ts';
import type { RunRow } from '../tables.ts';
import { LIMITED_TENANTS } from './lane-limits.ts';
import { LOOK_AT } from './look-at.ts';

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
  run_id: string | null;
  workflow_id: string | null;
  workflow_version: number | null;
  task_key: string | null;
  /** Of a mapped task: which element it is for. */
  path: string | null;
  /** JSON text. Null for a task of a run: its action stands in the workflow version. */
  action: string | null;
  payload: string | null;
  retry: string | null;
  timeout_ms: number | null;
  /** The signal that it waited for in vain; null for one that waited for none, or got it. */
  waits_for: string | null;
  /** The payload of the signal that it got, JSON text. */
  signal: string | null;
  /** The run's input as JSON text. */
  input: string | null;
  /** The run's status at the start: of a cancelled one nothing is sent any more. */
  run_status: RunRow['status'] | null;
  /** The span of its attempt, where the worker traces it; no column. */
  traceparent?: string;
}

/** SQL: a StartedTimer, of a row `t` of `timers`. */
export const STARTED_TIMER = `t.id, t.tenant_id, t.version, t.attempt, t.lost, date_part('epoch', t.wake_at) * 1000 AS wake_at,
       date_part('epoch', clock_timestamp()) * 1000 AS started_at, date_part('epoch', t.due_at) * 1000 AS due_at,
       t.run_id, t.workflow_id, t.workflow_version, t.task_key, t.path, t.action, t.payload, t.retry, t.timeout_ms,
       t.waits_for, CASE WHEN t.signal IS NOT NULL THEN (
         SELECT s.payload FROM run_signals AS s WHERE s.run_id = t.run_id AND s.number = t.signal) END AS signal,
       CASE WHEN t.run_id IS NOT NULL THEN (SELECT r.input FROM runs AS r WHERE r.id = t.run_id) END AS input,
       CASE WHEN t.run_id IS NOT NULL THEN (SELECT r.status FROM runs AS r WHERE r.id = t.run_id) END AS run_status`;

/** The values of STARTED_TIMER, in its order. */
type StartedValues = [
  id: string,
  tenant_id: string,
  version: number,
  attempt: number,
  lost: number,
  wake_at: number,
  started_at: number,
  due_at: number,
  run_id: string | null,
  workflow_id: string | null,
  workflow_version: number | null,
  task_key: string | null,
  path: string | null,
  action: string | null,
  payload: string | null,
  retry: string | null,
  timeout_ms: number | null,
  waits_for: string | null,
  signal: string | null,
  input: string | null,
  run_status: RunRow['status'] | null,
];

/** A row of STARTED_TIMER. One literal, because what is made key by key costs several times as much. */
export function readStartedTimer(values: StartedValues): StartedTimer {
  return {
    id: values[0],
    tenant_id: values[1],
    version: values[2],
    attempt: values[3],
    lost: values[4],
    wake_at: values[5],
    started_at: values[6],
    due_at: values[7],
    run_id: values[8],
    workflow_id: values[9],
    workflow_version: values[10],
    task_key: values[11],
    path: values[12],
    action: values[13],
    payload: values[14],
    retry: values[15],
    timeout_ms: values[16],
    waits_for: values[17],
    signal: values[18],
    input: values[19],
    run_status: values[20],
  };
}

// Locks the rows it changes, in the order of the ids it is given (callers sort them, so two starts can not
// deadlock). THE claim: its commit is the point where cancel and edit lose. A row that was edited, cancelled,
// started or finished since, or that is not yet due by the database's clock, is left alone.
// It changes no indexed column: `wake_at` stays when the attempt should have begun (docs/decisions/0014).
const startRows = nameRowsStatement(
  'start_timers',
  `UPDATE timers AS t SET
     state = 'running', version = t.version + 1, attempt = t.attempt + 1, lost = 0,
     lease_ends_at = clock_timestamp() + (coalesce(t.timeout_ms, $3::int) + $4::int) * interval '1 millisecond'
   FROM unnest($1::uuid[], $2::int[]) AS c(id, version)
   WHERE t.id = c.id AND t.version = c.version AND t.wake_at <= clock_timestamp() AND t.state = 'scheduled' AND t.lane IS NULL
     AND t.tenant_id <> ALL (${LIMITED_TENANTS})
   RETURNING ${STARTED_TIMER}`,
  readStartedTimer,
);

/**
 * Starts those of `hints` that still stand, are due and need no place in a lane; the others are dropped.
 * A row's lease lasts its time-out plus `leaseMarginMs`; `timeoutMsDefault` is for rows that set none.
 */
export async function startTimers(
  database: Queryable,
  hints: readonly TimerVersion[],
  timeoutMsDefault: number,
  leaseMarginMs: number,
): Promise<StartedTimer[]> {
  return startRows(database, [...toColumns(hints), timeoutMsDefault, leaseMarginMs]);
}

// The same for rows that the caller has locked, after it has made sure that their lanes have places.
const startLanedRows = nameRowsStatement(
  'start_laned_timers',
  `UPDATE timers AS t SET
     state = 'running', version = t.version + 1, attempt = t.attempt + 1, lost = 0, parked_for = NULL,
     lease_ends_at = clock_timestamp() + (coalesce(t.timeout_ms, $3::int) + $4::int) * interval '1 millisecond'
   FROM unnest($1::uuid[], $2::int[]) AS c(id, version)
   WHERE t.id = c.id AND t.version = c.version AND t.state = 'scheduled'
   RETURNING ${STARTED_TIMER}`,
  readStartedTimer,
);

/** Starts timers for which their lanes have places, within the transaction that has found that (`startInLanes`). */
export function startLanedTimers(
  client: Transaction,
  timers: readonly TimerVersion[],
  timeoutMsDefault: number,
  leaseMarginMs: number,
): Promise<StartedTimer[]> {
  return startLanedRows(client, [...toColumns(timers), timeoutMsDefault, leaseMarginMs]);
}

/** A due timer that needs a place in a lane. */
export interface LaneWish extends TimerVersion {
  tenantId: string;
  /** Its key, and JSON text: its rule; null when it only goes through lanes of limits. */
  lane: string | null;
  concurrency: string | null;
  workflowId: string | null;
  workflowVersion: number | null;
  taskKey: string | null;
  /** JSON text; null for a task of a run whose action stands in the workflow version. */
  action: string | null;
  pullQueue: string | null;
}

/** SQL: a LaneWish, of a row `t` of `timers`. */
export const LANE_WISH = `t.id, t.version, t.tenant_id AS "tenantId", t.lane, t.concurrency, t.workflow_id AS "workflowId",
       t.workflow_version AS "workflowVersion", t.task_key AS "taskKey", t.action, t.pull_queue AS "pullQueue"`;

const selectLaned = nameStatement<LaneWish>(
  'read_laned_hints',
  `SELECT ${LANE_WISH}
   FROM unnest($1::uuid[], $2::int[]) AS c(id, version) JOIN timers AS t ON t.id = c.id
   WHERE t.version = c.version AND t.state = 'scheduled' AND t.wake_at <= clock_timestamp()
     AND (t.lane IS NOT NULL OR t.tenant_id = ANY (${LIMITED_TENANTS}))`,
);

/** Of hints that did not start: those that need a place in a lane, and are due. Takes no lock. */
export function readLaneWishes(database: Queryable, hints: readonly TimerVersion[]): Promise<LaneWish[]> {
  return selectLaned(database, toColumns(hints));
}

// Locks as `start_timers` does. The attempt whose lease lapsed is recorded as lost. It began when its lease did, which is
// known as long as the margin is what it was then.
const restartRows = nameRowsStatement(
  'restart_timers',
  `WITH t AS (
     UPDATE timers AS t SET
       version = t.version + 1, lost = t.lost + 1, wake_at = coalesce(t.lease_ends_at, t.wake_at),
       lease_ends_at = clock_timestamp() + (coalesce(t.timeout_ms, $3::int) + $4::int) * interval '1 millisecond'
     FROM unnest($1::uuid[], $2::int[]) AS c(id, version)
     WHERE t.id = c.id AND t.version = c.version AND t.state = 'running' AND ${LOOK_AT} <= clock_timestamp()
     RETURNING t.*
   ), lost AS (
     INSERT INTO attempts (timer_id, tenant_id, started_at, finished_at, outcome, attempt, error)
     SELECT id, tenant_id, wake_at - (coalesce(timeout_ms, $3::int) + $4::int) * interval '1 millisecond', clock_timestamp(),
       'lost', attempt, 'the worker stopped answering before it recorded an outcome'
     FROM t
   )
   SELECT ${STARTED_TIMER} FROM t`,
  readStartedTimer,
);

// Whoever cancels a run holds its lock: after this statement the next one sees whether somebody did.
/** SQL statement for whoever begins attempts again: the runs of these timers, locked. */
export const lockRunsOfTimers = nameStatement<{ id: string }>(
  'lock_runs_of_timers',
  `SELECT r.id FROM runs AS r
   WHERE r.id = ANY (ARRAY(SELECT t.run_id FROM timers AS t WHERE t.id = ANY ($1::uuid[]) AND t.run_id IS NOT NULL))
   ORDER BY r.id FOR SHARE`,
);

/**
 * Begins again, of `hints`, the attempts whose lease has lapsed: those were lost with their worker. `run_status` is exact:
 * a run whose cancel was acknowledged before is seen as cancelled. Locks runs before timers, as everybody does.
 */
export async function restartTimers(
  pool: pg.Pool,
  hints: readonly TimerVersion[],
  timeoutMsDefault: number,
  leaseMarginMs: number,
): Promise<StartedTimer[]> {
  const columns = toColumns(hints);
  return inTransaction(pool, async (client) => {
    await lockRunsOfTimers(client, [columns[0]]);
    return restartRows(client, [...columns, timeoutMsDefault, leaseMarginMs]);
  });
}

function toColumns(hints: readonly TimerVersion[]): unknown[] {
  const sorted = hints.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return [toPlainArray(sorted.map((hint) => hint.id)), toPlainArray(sorted.map((hint) => hint.version))];
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

// Locks nothing. One look-up by primary key for each.
const selectStanding = nameStatement<TimerVersion>(
  'read_standing_starts',
  `SELECT t.id, t.version FROM unnest($1::uuid[], $2::int[]) AS c(id, version) JOIN timers AS t ON t.id = c.id
   WHERE t.version = c.version AND t.state = 'running' AND ${LOOK_AT} > clock_timestamp()
     AND NOT EXISTS (SELECT FROM runs AS r WHERE r.id = t.run_id AND r.status = 'cancelled')`,
);

/**
 * Of `starts`, those that still stand: their lease runs, neither a crash of Postgres nor anybody else has undone them, and their
 * run was not cancelled.
 */
export async function readStandingStarts(
  database: Queryable,
  starts: readonly TimerVersion[],
): Promise<TimerVersion[]> {
  return selectStanding(database, toColumns(starts));
}
