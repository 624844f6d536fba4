import type { Queryable } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import { bookCreated, INPUT_OF_NEW_TIMERS, TIMERS_PER_INSERT_MAX } from './create-timers.ts';
import { type NewTimer, PARAMETER_AFTER_COLUMNS, STORED_NAMES, STORED_VALUES, toColumns } from './new-timer-columns.ts';
import { type ChangeOrigin, enterChanged, originInput, toOriginColumns } from './record-changes.ts';
import { shiftDueByPause } from './shift-due.ts';
import { LIVE_COLUMNS, type TimerRecord } from './timer-record.ts';

/** Timers that one pause, resume or release may name. */
export const TIMERS_PER_PAUSE_MAX = 10_000;

/** Timers that one statement parks for a run. */
const TIMERS_PER_PARK_MAX = 1_000;

/** What a paused timer waits for when its run is paused. */
export const PARKED_FOR_RUN = 'run';

/** A timer that somebody wants paused or resumed. Without an origin it goes with something else that is audited. */
export interface PauseRequest {
  id: string;
  origin: ChangeOrigin | undefined;
}

/** What becomes of due times on the way back: they stay, and what is overdue is due now; or they move by the pause. */
export type DueTimes = 'keep' | 'shift';

// All of these lock the timers in the order of their ids: a start locks in that order too. Run timers:
// the caller holds the locks of their runs already (runs before timers).
// IS NOT DISTINCT FROM: see `cancel_timers`.

// One that something else holds back is from now on paused by itself: it stays so when that lets go.
const pauseRows = nameStatement<TimerRecord>(
  'pause_timers',
  `WITH paused AS (
     UPDATE timers AS t SET state = 'paused', version = t.version + 1, wake_at = 'infinity', parked_for = NULL,
       paused_at = coalesce(t.paused_at, clock_timestamp())
     FROM unnest($2::uuid[], ${originInput(3)}) AS c(id, entry, request_id)
     WHERE t.id = c.id AND t.tenant_id IS NOT DISTINCT FROM $1::uuid AND (t.state = 'scheduled' OR t.state = 'paused' AND t.parked_for IS NOT NULL)
     RETURNING t.*, c.entry, c.request_id
   ), audit AS (
     ${enterChanged('paused', 3)}
   )
   SELECT ${LIVE_COLUMNS} FROM paused`,
);

/** Pauses those of a tenant's timers that wait, and returns them as they are now; the others run, are paused by themselves already, or have ended. */
export function pauseTimers(
  database: Queryable,
  tenantId: string,
  timers: readonly PauseRequest[],
): Promise<TimerRecord[]> {
  return pauseRows(database, toParameters(tenantId, timers));
}

// Of those that are overdue the first is due now, and each next one $12 milliseconds later. `wake_at` is never behind the
// schedulers' cursors.
const writeResume = (condition: string, shown: string) => `WITH wanted AS MATERIALIZED (
     SELECT t.id, t.due_at, t.created_at, t.paused_at, t.signal, c.entry, c.request_id
     FROM unnest($2::uuid[], ${originInput(3)}) AS c(id, entry, request_id) JOIN timers AS t ON t.id = c.id
     WHERE t.tenant_id IS NOT DISTINCT FROM $1::uuid AND t.state = 'paused' AND ${condition}
     ORDER BY t.id FOR UPDATE OF t
   ), shifted AS (
     SELECT *, CASE WHEN $11::boolean THEN ${shiftDueByPause("greatest(clock_timestamp() - greatest(paused_at, created_at), '0')", '')} ELSE due_at END AS new_due_at
     FROM wanted
   ), placed AS (
     SELECT *, row_number() OVER (ORDER BY new_due_at, id) - 1 AS place FROM shifted
   ), resumed AS (
     UPDATE timers AS t SET state = 'scheduled', version = t.version + 1, parked_for = NULL, paused_at = NULL, due_at = p.new_due_at,
       wake_at = greatest(p.new_due_at, clock_timestamp() + p.place * $12::float8 * interval '1 millisecond')
     FROM placed AS p WHERE t.id = p.id
     RETURNING t.*, p.entry, p.request_id
   ), audit AS (
     ${enterChanged('resumed', 3)}
   )
   SELECT ${shown} FROM resumed`;

const resumeRows = nameStatement<TimerRecord>('resume_timers', writeResume('t.parked_for IS NULL', LIVE_COLUMNS));
const releaseRows = nameStatement<{ id: string }>('release_timers', writeResume('t.parked_for = $13', 'id'));

/** How timers come back. */
export interface ResumeManner {
  dueTimes: DueTimes;
  /** Between two that are overdue (ms); 0: all at once. */
  paceMs: number;
}

/** Lets those of a tenant's timers wait again that were paused by themselves, and returns them as they are now. */
export function resumeTimers(
  database: Queryable,
  tenantId: string,
  timers: readonly PauseRequest[],
  { dueTimes, paceMs }: ResumeManner = { dueTimes: 'keep', paceMs: 0 },
): Promise<TimerRecord[]> {
  return resumeRows(database, [...toParameters(tenantId, timers), dueTimes === 'shift', paceMs]);
}

/** Lets go those of a tenant's timers that `parkedFor` holds back. Returns their ids. */
export async function releaseTimers(
  database: Queryable,
  tenantId: string,
  ids: readonly string[],
  parkedFor: string,
  { dueTimes, paceMs }: ResumeManner,
): Promise<string[]> {
  const timers = ids.map((id) => ({ id, origin: undefined }));
  const rows = await releaseRows(database, [
    ...toParameters(tenantId, timers),
    dueTimes === 'shift',
    paceMs,
    parkedFor,
  ]);
  return rows.map(({ id }) => id);
}

const selectParkedFor = nameStatement<{ parked_for: string | null }>(
  'read_parked_for',
  `SELECT parked_for FROM timers WHERE id = $2 AND tenant_id IS NOT DISTINCT FROM $1::uuid AND state = 'paused'`,
);

/** What holds a tenant's timer back; undefined: nothing. */
export async function readParkedFor(database: Queryable, tenantId: string, id: string): Promise<string | undefined> {
  const [row] = await selectParkedFor(database, [tenantId, id]);
  return row?.parked_for ?? undefined;
}

function toParameters(tenantId: string, timers: readonly PauseRequest[]): unknown[] {
  if (timers.length > TIMERS_PER_PAUSE_MAX) {
    throw new RangeError(`${timers.length} timers in one pause or resume; at most ${TIMERS_PER_PAUSE_MAX}`);
  }
  const sorted = timers.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return [
    tenantId,
    toPlainArray(sorted.map(({ id }) => id)),
    ...toOriginColumns(sorted.map(({ origin }) => ({ tenantId, origin }))),
  ];
}

const parkRows = nameStatement<{ id: string }>(
  'park_timers',
  `WITH wanted AS MATERIALIZED (
     SELECT t.id FROM timers AS t
     WHERE t.id = ANY ($1::uuid[]) AND (t.state = 'scheduled' OR t.state = 'paused' AND t.parked_for IS NOT NULL)
     ORDER BY t.id FOR UPDATE
   )
   UPDATE timers AS t SET state = 'paused', version = t.version + 1, wake_at = 'infinity', parked_for = $2,
     paused_at = coalesce(t.paused_at, clock_timestamp())
   FROM wanted AS w WHERE t.id = w.id
   RETURNING t.id`,
);

/** Holds back, for `parkedFor`, those of these timers that wait, or that something else holds back by now: that lets go of them. */
export async function parkTimers(database: Queryable, ids: readonly string[], parkedFor: string): Promise<void> {
  // In one order, whatever the portion. A run with elements may have thousands, and a statement has its time-out.
  const sorted = ids.toSorted();
  for (let start = 0; start < sorted.length; start += TIMERS_PER_PARK_MAX)
    await parkRows(database, [sorted.slice(start, start + TIMERS_PER_PARK_MAX), parkedFor]);
}

const insertParked = nameStatement(
  'create_parked_timers',
  `WITH input AS (
     SELECT * FROM ${INPUT_OF_NEW_TIMERS}
   ), stored AS (
     INSERT INTO timers (${STORED_NAMES}, wake_at, state, parked_for, paused_at)
     SELECT ${STORED_VALUES}, 'infinity', 'paused', $${PARAMETER_AFTER_COLUMNS}, clock_timestamp()
     FROM input
   )
   ${bookCreated('input')}`,
);

/** As `createTimers`, for timers that `parkedFor` holds back from the first. */
export async function createParkedTimers(
  database: Queryable,
  timers: readonly NewTimer[],
  parkedFor: string,
): Promise<void> {
  for (let start = 0; start < timers.length; start += TIMERS_PER_INSERT_MAX) {
    await insertParked(database, [...toColumns(timers.slice(start, start + TIMERS_PER_INSERT_MAX)), parkedFor]);
  }
}

/** A started timer that something holds back before its request was sent. */
export interface HeldTimer {
  id: string;
  /** The one that its start returned. */
  version: number;
  parkedFor: string;
}

// Locks the timers in the order given (sorted by id). As a postponement: the attempt does not count.
const holdRows = nameStatement<{ id: string }>(
  'hold_timers',
  `UPDATE timers AS t SET state = 'paused', version = t.version + 1, attempt = t.attempt - 1, lost = 0, lease_ends_at = NULL,
     wake_at = 'infinity', parked_for = o.parked_for, paused_at = clock_timestamp()
   FROM unnest($1::uuid[], $2::int[], $3::text[]) AS o(id, version, parked_for)
   WHERE t.id = o.id AND t.version = o.version AND t.state = 'running'
   RETURNING t.id`,
);

/** Gives back started timers as paused. Returns the ids of those that were; the others had lost their lease. */
export async function parkStartedTimers(database: Queryable, timers: readonly HeldTimer[]): Promise<string[]> {
  if (timers.length === 0) return [];
  const sorted = timers.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const rows = await holdRows(database, [
    sorted.map(({ id }) => id),
    sorted.map(({ version }) => version),
    sorted.map(({ parkedFor }) => parkedFor),
  ]);
  return rows.map(({ id }) => id);
}
