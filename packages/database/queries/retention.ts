import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import { pastRetention } from './past-retention.ts';
import { BOOK_DISMISSALS } from './remove-runs.ts';

/** Days for which a workflow, a tenant or the whole installation may keep what has ended. */
export const RETENTION_DAYS_MAX = 3_650;

/** Workflows, or tenants, of which one statement says what they keep. */
const KEEPERS_PER_PAGE_MAX = 500;

const selectLongest = nameStatement<{ days: number }>(
  'read_longest_retention',
  `SELECT greatest($1::int, (SELECT max(retention_days) FROM tenants), (SELECT max(retention_days) FROM workflows)) AS days`,
);

/** The longest that anybody keeps what has ended (days); `days` is the installation's own retention. */
export async function readLongestRetention(database: Queryable, days: number): Promise<number> {
  const [row] = await selectLongest(database, [days]);
  return row!.days;
}

/** A workflow, or a tenant, some of whose rows may be past its retention. */
export interface Keeper {
  id: string;
  days: number;
  /** Of its dead letters: as many, or more. */
  letterDays: number;
}

/** For how long the installation keeps what nobody says otherwise of (days); dead letters at least as long. */
export interface InstallationRetention {
  days: number;
  letterDays: number;
}

/** A page of keepers, and behind which id the next one begins; undefined at the end. */
export interface KeeperPage {
  keepers: Keeper[];
  next: string | undefined;
}

// For each workflow one step in the index of its runs, by age: a run that ended so long ago began before that. The page is
// cut before anything is asked of it, so the statement is bounded however few have something to give.
const selectWorkflows = nameStatement<Keeper & { hasOld: boolean }>(
  'read_keeping_workflows',
  `WITH page AS MATERIALIZED (
     SELECT w.id, coalesce(w.retention_days, t.retention_days, $2::int) AS days,
       coalesce(w.retention_days, t.retention_days, $3::int) AS letter_days
     FROM workflows AS w LEFT JOIN tenants AS t ON t.id = w.tenant_id
     WHERE w.id > $1 ORDER BY w.id LIMIT ${KEEPERS_PER_PAGE_MAX}
   )
   SELECT p.id, p.days, p.letter_days AS "letterDays", r.one IS NOT NULL AS "hasOld" FROM page AS p
   LEFT JOIN LATERAL (
     SELECT 1 AS one FROM runs AS r WHERE r.workflow_id = p.id AND r.created_at < ${pastRetention('p.days')} LIMIT 1
   ) AS r ON true ORDER BY p.id`,
);

/** The next workflows behind the id `after` of which some run began before all that they keep. */
export async function listKeepingWorkflows(
  database: Queryable,
  after: string,
  { days, letterDays }: InstallationRetention,
): Promise<KeeperPage> {
  const rows = await selectWorkflows(database, [after, days, letterDays]);
  const keepers = rows.filter((row) => row.hasOld);
  return { keepers, next: rows.length < KEEPERS_PER_PAGE_MAX ? undefined : rows.at(-1)!.id };
}

// A dead letter was due before it died, which is what the index tells.
const selectTenants = nameStatement<Keeper & { hasTimers: boolean; hasLetters: boolean }>(
  'read_keeping_tenants',
  `WITH page AS MATERIALIZED (
     SELECT id, coalesce(retention_days, $2::int) AS days, coalesce(retention_days, $3::int) AS letter_days FROM tenants
     WHERE id > $1 ORDER BY id LIMIT ${KEEPERS_PER_PAGE_MAX}
   )
   SELECT p.id, p.days, p.letter_days AS "letterDays", p.days < $4::int AS "hasTimers", d.one IS NOT NULL AS "hasLetters"
   FROM page AS p LEFT JOIN LATERAL (
     SELECT 1 AS one FROM dead_letters AS d WHERE d.tenant_id = p.id AND d.run_id IS NULL
       AND d.due_at < ${pastRetention('p.letter_days')} AND d.finished_at < ${pastRetention('p.letter_days')} LIMIT 1
   ) AS d ON true ORDER BY p.id`,
);

/**
 * The next tenants behind the id `after` that keep less than the history's days are kept, or some of whose dead letters
 * without a run are past all that they keep; which of both it is.
 */
export async function listKeepingTenants(
  database: Queryable,
  after: string,
  { days, letterDays }: InstallationRetention,
  longestDays: number,
) {
  const rows = await selectTenants(database, [after, days, letterDays, longestDays]);
  const keepers = rows.filter(({ hasTimers, hasLetters }) => hasTimers || hasLetters);
  return { keepers, next: rows.length < KEEPERS_PER_PAGE_MAX ? undefined : rows.at(-1)!.id };
}

/** Where a walk over the runs of a workflow stands. `createdAt` in epoch ms. */
export interface RunCursor {
  createdAt: number;
  id: string;
}

/** Runs that one statement looks at. */
export const RUNS_LOOKED_AT_MAX = 500;

// What a dead letter keeps is not even locked: that would write to each of them at each walk.
const selectOldRuns = nameStatement<{ id: string; created_at: number; is_past: boolean; weight: number }>(
  'read_old_runs',
  `SELECT r.id, r.created_at, length(r.task_states) AS weight,
     coalesce(r.finished_at < ${pastRetention('$2::int')}, false) AND NOT EXISTS (
       SELECT FROM dead_letters AS d WHERE d.run_id = r.id AND d.finished_at >= ${pastRetention('$5::int')}
     ) AS is_past
   FROM runs AS r WHERE r.workflow_id = $1 AND r.created_at < ${pastRetention('$2::int')}
     AND (r.created_at, r.id) > (to_timestamp($3::float8 / 1000)::timestamptz(3), $4::uuid)
   ORDER BY r.created_at, r.id LIMIT ${RUNS_LOOKED_AT_MAX}`,
);

/**
 * The next runs of a workflow behind `cursor` that ended before all that it keeps, each with about as many timers as its
 * `weight`. Runs that live longer are passed over, and those of which a dead letter does.
 */
export async function readPastRuns(
  database: Queryable,
  { id, days, letterDays }: Keeper,
  cursor: RunCursor | undefined,
) {
  const { createdAt, id: after } = cursor ?? { createdAt: 0, id: '00000000-0000-0000-0000-000000000000' };
  const rows = await selectOldRuns(database, [id, days, createdAt, after, letterDays]);
  const last = rows.at(-1);
  const next = rows.length < RUNS_LOOKED_AT_MAX || !last ? undefined : { createdAt: last.created_at, id: last.id };
  return { runs: rows.filter((row) => row.is_past), next };
}

/** Timers, or dead letters, that one statement removes. */
export const TIMERS_REMOVED_MAX = 1_000;

const selectOldTimers = nameStatement<{ id: string; finished_at: number }>(
  'read_old_timers',
  `SELECT id, finished_at FROM finished_timers WHERE tenant_id = $1 AND run_id IS NULL AND finished_at < ${pastRetention('$2::int')}
   LIMIT ${TIMERS_REMOVED_MAX}`,
);
// No two rows of the history have one id. Between the first and the last end of these, which spares most of the days.
const deleteTimers = nameStatement<{ id: string }>(
  'remove_old_timers',
  `DELETE FROM finished_timers WHERE id = ANY ($1::uuid[])
     AND finished_at BETWEEN to_timestamp($2::float8 / 1000)::timestamptz(3) AND to_timestamp($3::float8 / 1000)::timestamptz(3)
   RETURNING id`,
);
// An attempt ends before its timer does.
const deleteAttempts = nameStatement(
  'remove_old_attempts',
  `DELETE FROM attempts WHERE timer_id = ANY ($1::uuid[]) AND finished_at < ${pastRetention('$2::int')}`,
);

/** Removes finished timers without a run that are past a tenant's retention. Returns how many: fewer than TIMERS_REMOVED_MAX at the end. */
export async function removePastTimers(client: Queryable, { id, days }: Keeper): Promise<number> {
  const rows = await selectOldTimers(client, [id, days]);
  if (rows.length === 0) return 0;
  const ids = rows.map((row) => row.id);
  const ends = rows.map((row) => row.finished_at);
  const removed = await deleteTimers(client, [ids, Math.min(...ends), Math.max(...ends)]);
  await deleteAttempts(client, [ids, days]);
  return removed.length;
}

// Passes over what somebody redrives or dismisses at this moment.
const deleteOldLetters = nameStatement<{ id: string }>(
  'remove_old_dead_letters',
  `WITH gone AS (
     DELETE FROM dead_letters WHERE id = ANY (ARRAY(
       SELECT id FROM dead_letters WHERE tenant_id = $1 AND run_id IS NULL AND due_at < ${pastRetention('$2::int')}
         AND finished_at < ${pastRetention('$2::int')}
       ORDER BY due_at, id LIMIT ${TIMERS_REMOVED_MAX} FOR UPDATE SKIP LOCKED
     )) RETURNING id, tenant_id, partition
   ), ledger AS (${BOOK_DISMISSALS})
   SELECT id FROM gone`,
);

/** The same of dead letters without a run. They leave the ledger's books as somebody's dismissal would. */
export async function removePastLetters(client: Queryable, { id, letterDays }: Keeper): Promise<number> {
  const removed = await deleteOldLetters(client, [id, letterDays]);
  if (removed.length > 0) await deleteAttempts(client, [removed.map((row) => row.id), letterDays]);
  return removed.length;
}

/** Bulk operations that one transaction removes, each with BULK_FAILURES_MAX failures at most. */
export const OPERATIONS_REMOVED_MAX = 5;

const deleteOperations = nameStatement<{ id: string }>(
  'remove_old_bulk_operations',
  `WITH gone AS (
     DELETE FROM bulk_operations WHERE id = ANY (ARRAY(
       SELECT o.id FROM bulk_operations AS o LEFT JOIN tenants AS t ON t.id = o.tenant_id
       WHERE o.finished_at < ${pastRetention('coalesce(t.retention_days, $1::int)')}
       LIMIT ${OPERATIONS_REMOVED_MAX} FOR UPDATE OF o SKIP LOCKED
     )) RETURNING id
   ), portions AS (
     DELETE FROM bulk_portions WHERE operation_id IN (SELECT id FROM gone)
   ), failures AS (
     DELETE FROM bulk_failures WHERE operation_id IN (SELECT id FROM gone)
   )
   SELECT id FROM gone`,
);

/** Removes bulk operations that ended before all that their tenants keep, with their failures. Returns how many. */
export async function removePastOperations(database: Queryable, retentionDays: number): Promise<number> {
  return (await deleteOperations(database, [retentionDays])).length;
}
