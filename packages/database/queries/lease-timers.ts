import { PRIORITY_MAX } from '@punctual/domain';
import { inTransaction, type Queryable, type Transaction, type TransactionPool } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import { LOOK_AT } from './look-at.ts';
import {
  type LaneWish,
  lockRunsOfTimers,
  STARTED_TIMER,
  type StartedTimer,
  type TimerVersion,
} from './start-timers.ts';

/** A place for one task: who wants it, and for how long (ms). */
export interface LeaseSlot {
  workerId: string;
  leaseMs: number;
}

/** A started timer, and the index of the slot for which it was. */
export interface LeasedTimer extends StartedTimer {
  slot: number;
}

/** Timers whose lease ended without an outcome. */
export interface LapsedTimer extends TimerVersion {
  slot: number;
}

/** Due timers that need a place in a lane before they may be leased. */
export interface LanedPull extends Omit<LaneWish, 'workflowVersion' | 'taskKey' | 'action'> {
  slot: number;
}

/** A lease that its worker keeps for longer. */
export interface ExtendedLease {
  id: string;
  /** Epoch ms. */
  ends_at: number;
  queue: string;
  workerId: string;
}

/** Slots that one statement fills. */
export const LEASES_PER_STATEMENT_MAX = 500;
/** Rows under way that a look for lapsed or held leases passes: tasks of one queue that are leased at once. */
const LEASED_ROWS_MAX = 100_000;

// As it stands in the row, so that a token which is made anew is the same.
const LEASED_TIMER = STARTED_TIMER.replace('clock_timestamp()', 't.lease_began_at');
const OF_QUEUE = 't.tenant_id = $1::uuid AND t.pull_queue = $2::text';
const IS_LANED = `(t.lane IS NOT NULL OR EXISTS (SELECT FROM lanes AS l WHERE l.tenant_id = $1::uuid AND l.is_limit))`;
const IN_ORDER = 'ORDER BY t.tenant_id, t.pull_queue, t.wake_at, t.id';

// THE claim of a task that workers of the customer lease, as `start_timers` is of all others. Locks the rows that it takes in
// the order of their wake times and passes over those that somebody else has locked: another claim, which will have
// them, or a change or cancel, which wins. It changes no indexed column. One descent of `timers_pull`; those under way stand
// before all that wait, since they were taken in this order, and are passed over.
// Those with a priority are looked for first, by descents of `timers_priority` where the tenant's queue has such, for at most $6 slots.
// A lapsed lease, and what needs a place in a lane, is only found here: beginning it anew needs the lock of its run first (`relet_timers`).
// IS NOT DISTINCT FROM would keep the planner from that index (see `cancel_timers`).
const leaseRows = nameStatement<
  LeasedTimer & Pick<LaneWish, 'lane' | 'concurrency'> & { kind: 'leased' | 'lapsed' | 'laned'; is_raised: boolean }
>(
  'lease_timers',
  `WITH raised AS MATERIALIZED (
     SELECT t.* FROM generate_series(${PRIORITY_MAX}, 1, -1) AS level CROSS JOIN LATERAL (
       SELECT t.id, t.version, t.state, ${IS_LANED} AS is_laned FROM timers AS t
       WHERE ${OF_QUEUE} AND t.priority = level AND t.wake_at <= statement_timestamp() AND t.state = 'scheduled'
       ORDER BY t.tenant_id, t.pull_queue, t.priority, t.wake_at, t.id LIMIT $6::int FOR UPDATE SKIP LOCKED
     ) AS t
     WHERE EXISTS (SELECT FROM timers AS t WHERE ${OF_QUEUE} AND t.priority IS NOT NULL) LIMIT $6::int
   ), due AS MATERIALIZED (
     SELECT t.id, t.version, t.state, ${IS_LANED} AS is_laned FROM timers AS t
     WHERE ${OF_QUEUE} AND t.wake_at >= to_timestamp($3::float8 / 1000)::timestamptz(3) AND t.wake_at <= statement_timestamp()
       AND (t.state = 'scheduled' OR t.state = 'running' AND t.lease_ends_at <= statement_timestamp())
       AND t.id NOT IN (SELECT id FROM raised)
     ${IN_ORDER} LIMIT cardinality($4::text[]) - (SELECT count(*) FROM raised) FOR UPDATE SKIP LOCKED
   ), taken AS MATERIALIZED (
     SELECT found.*, row_number() OVER ()::int AS slot
     FROM (SELECT *, true AS is_raised FROM raised UNION ALL SELECT *, false FROM due) AS found
   ), leased AS (
     UPDATE timers AS t SET state = 'running', version = t.version + 1, attempt = t.attempt + 1, lost = 0,
       lease_holder = ($4::text[])[taken.slot], lease_began_at = clock_timestamp(),
       lease_ends_at = clock_timestamp() + ($5::int[])[taken.slot] * interval '1 millisecond'
     FROM taken WHERE t.id = taken.id AND t.version = taken.version AND t.state = 'scheduled' AND taken.state = 'scheduled' AND NOT taken.is_laned
     RETURNING t.*, taken.slot, taken.is_raised
   )
   SELECT 'leased' AS kind, t.is_raised, t.lane, t.concurrency, t.slot - 1 AS slot, ${LEASED_TIMER} FROM leased AS t
   UNION ALL
   SELECT CASE taken.state WHEN 'running' THEN 'lapsed' ELSE 'laned' END, taken.is_raised, t.lane, t.concurrency, taken.slot - 1, ${LEASED_TIMER}
   FROM taken JOIN timers AS t ON t.id = taken.id WHERE taken.state = 'running' OR taken.is_laned`,
);

/**
 * Starts due timers of a tenant's queue for workers of the customer, at most one a slot, in order of due time: its commit is
 * the point where cancel and edit lose. At most `raisedMax` slots go by priority; for the others it looks, in order of due time, at
 * those that wake at `from` (epoch ms) or later. Besides those that it started
 * it returns those whose lease has ended, for `reletTimers`, and those that need a place in a lane, for `leaseLanedTimers`.
 */
export async function leaseTimers(
  database: Queryable,
  tenantId: string,
  queue: string,
  from: number,
  slots: readonly LeaseSlot[],
  raisedMax: number = slots.length,
): Promise<{ leased: (LeasedTimer & { is_raised: boolean })[]; lapsed: LapsedTimer[]; laned: LanedPull[] }> {
  if (slots.length > LEASES_PER_STATEMENT_MAX) {
    throw new RangeError(`${slots.length} slots in one statement; at most ${LEASES_PER_STATEMENT_MAX}`);
  }
  const rows = await leaseRows(database, [tenantId, queue, from, ...toSlotColumns(slots), raisedMax]);
  return {
    leased: rows.flatMap(({ kind, lane: _, concurrency: __, ...timer }) => (kind === 'leased' ? [timer] : [])),
    lapsed: rows.flatMap(({ kind, id, version, slot }) => (kind === 'lapsed' ? [{ id, version, slot }] : [])),
    laned: rows.flatMap(({ kind, id, version, slot, lane, concurrency, workflow_id: workflowId }) =>
      kind === 'laned' ? [{ id, version, slot, tenantId, lane, concurrency, workflowId, pullQueue: queue }] : [],
    ),
  };
}

// As `lease_timers`, of rows that the caller has locked, after it has made sure that their lanes have places.
const leaseLanedRows = nameStatement<LeasedTimer>(
  'lease_laned_timers',
  `WITH t AS (
     UPDATE timers AS t SET state = 'running', version = t.version + 1, attempt = t.attempt + 1, lost = 0, parked_for = NULL,
       lease_holder = c.worker, lease_began_at = clock_timestamp(), lease_ends_at = clock_timestamp() + c.lease_ms * interval '1 millisecond'
     FROM unnest($2::uuid[], $3::int[], $4::text[], $5::int[], $6::int[]) AS c(id, version, worker, lease_ms, slot)
     WHERE t.id = c.id AND t.version = c.version AND t.tenant_id IS NOT DISTINCT FROM $1::uuid AND t.state = 'scheduled'
     RETURNING t.*, c.slot
   )
   SELECT t.slot, ${LEASED_TIMER} FROM t`,
);

/** Leases timers for which their lanes have places, within the transaction that has found that (`startInLanes`). */
export function leaseLanedTimers(
  client: Transaction,
  tenantId: string,
  timers: readonly (TimerVersion & LeaseSlot & { slot: number })[],
): Promise<LeasedTimer[]> {
  return leaseLanedRows(client, [tenantId, ...toLeaseColumns(timers)]);
}

// Locks the timers in the order of their ids. The attempt whose lease ended is recorded as lost.
const reletRows = nameStatement<LeasedTimer>(
  'relet_timers',
  `WITH t AS (
     UPDATE timers AS t SET version = t.version + 1, lost = t.lost + 1, wake_at = t.lease_ends_at,
       lease_holder = c.worker, lease_began_at = clock_timestamp(), lease_ends_at = clock_timestamp() + c.lease_ms * interval '1 millisecond'
     FROM unnest($2::uuid[], $3::int[], $4::text[], $5::int[], $6::int[]) AS c(id, version, worker, lease_ms, slot)
     WHERE t.id = c.id AND t.version = c.version AND t.tenant_id IS NOT DISTINCT FROM $1::uuid AND t.state = 'running'
       AND ${LOOK_AT} <= clock_timestamp()
     RETURNING t.*, c.slot, old.lease_began_at AS began_at
   ), lost AS (
     INSERT INTO attempts (timer_id, tenant_id, started_at, finished_at, outcome, attempt, error)
     SELECT id, tenant_id, began_at, clock_timestamp(), 'lost', attempt, 'the lease ended before the worker told how the task went'
     FROM t
   )
   SELECT t.slot, ${LEASED_TIMER} FROM t`,
);

/**
 * Begins again the attempts whose lease lapsed: they were lost with their worker. `run_status` is exact: a run whose cancel
 * was acknowledged before is seen as cancelled. Locks runs before timers, as everybody does.
 */
export function reletTimers(
  pool: TransactionPool,
  tenantId: string,
  lapsed: readonly (LapsedTimer & LeaseSlot)[],
): Promise<LeasedTimer[]> {
  const columns = toLeaseColumns(lapsed);
  return inTransaction(pool, async (client) => {
    await lockRunsOfTimers(client, [columns[0]]);
    return reletRows(client, [tenantId, ...columns]);
  });
}

function toLeaseColumns(timers: readonly (TimerVersion & LeaseSlot & { slot: number })[]): unknown[] {
  const sorted = timers.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return [
    toPlainArray(sorted.map(({ id }) => id)),
    toPlainArray(sorted.map(({ version }) => version)),
    sorted.map(({ workerId }) => workerId),
    toPlainArray(sorted.map(({ leaseMs }) => leaseMs)),
    toPlainArray(sorted.map(({ slot }) => slot)),
  ];
}

// Locks the rows that it takes in the order of their ids, as outcomes do. Those under way stand first in the queue, so the limit
// passes no more than there are, or a page of those that wait.
const resumeRows = nameStatement<StartedTimer>(
  'resume_leases',
  `WITH held AS MATERIALIZED (
     SELECT t.id FROM (
       SELECT t.id, t.state, t.lease_holder FROM timers AS t
       WHERE ${OF_QUEUE} AND t.wake_at <= statement_timestamp() ${IN_ORDER} LIMIT ${LEASED_ROWS_MAX}
     ) AS t
     WHERE t.state = 'running' AND t.lease_holder = $3::text LIMIT $4::int
   ), locked AS MATERIALIZED (
     SELECT t.id FROM timers AS t WHERE t.id IN (SELECT id FROM held) ORDER BY t.id FOR UPDATE
   ), t AS (
     UPDATE timers AS t SET lease_ends_at = clock_timestamp() + $5::int * interval '1 millisecond'
     FROM locked WHERE t.id = locked.id AND t.state = 'running' AND t.lease_holder = $3::text
     RETURNING t.*
   )
   SELECT ${LEASED_TIMER} FROM t`,
);

/**
 * Gives a worker that came back what it still holds of a queue: the same attempts under the same versions, so that an answer
 * which gets lost harms nothing. Their leases begin anew. `started_at` is when each attempt began.
 */
export function resumeLeases(
  database: Queryable,
  tenantId: string,
  queue: string,
  { workerId, leaseMs, tasksMax }: LeaseSlot & { tasksMax: number },
): Promise<StartedTimer[]> {
  return resumeRows(database, [tenantId, queue, workerId, tasksMax, leaseMs]);
}

// Locks the timers in the order given (sorted by id). No indexed column changes.
const extendRows = nameStatement<ExtendedLease>(
  'extend_leases',
  `UPDATE timers AS t SET lease_ends_at = clock_timestamp() + c.lease_ms * interval '1 millisecond'
   FROM unnest($2::uuid[], $3::int[], $4::int[]) AS c(id, version, lease_ms)
   WHERE t.id = c.id AND t.version = c.version AND t.tenant_id IS NOT DISTINCT FROM $1::uuid AND t.state = 'running'
   RETURNING t.id, date_part('epoch', t.lease_ends_at) * 1000 AS ends_at, t.pull_queue AS queue, t.lease_holder AS "workerId"`,
);

/** Lets leases end `leaseMs` from now. Returns when each will (epoch ms); one that is missing was lost. */
export function extendLeases(
  database: Queryable,
  tenantId: string,
  leases: readonly (TimerVersion & { leaseMs: number })[],
): Promise<ExtendedLease[]> {
  const sorted = leases.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return extendRows(database, [
    tenantId,
    toPlainArray(sorted.map(({ id }) => id)),
    toPlainArray(sorted.map(({ version }) => version)),
    toPlainArray(sorted.map(({ leaseMs }) => leaseMs)),
  ]);
}

// Takes no lock. One index descent for what wakes next, and a look at what is under way.
const selectNextLook = nameStatement<{ at: number | null; server_at: number }>(
  'read_next_lease',
  `SELECT date_part('epoch', statement_timestamp()) * 1000 AS server_at, date_part('epoch', least(
     (SELECT t.wake_at FROM timers AS t
      WHERE ${OF_QUEUE} AND t.wake_at > statement_timestamp() AND t.wake_at < 'infinity' ${IN_ORDER} LIMIT 1),
     (SELECT min(${LOOK_AT}) FROM (
        SELECT t.state, t.wake_at, t.lease_ends_at FROM timers AS t
        WHERE ${OF_QUEUE} AND t.wake_at <= statement_timestamp() ${IN_ORDER} LIMIT ${LEASED_ROWS_MAX}
      ) AS t)
   )) * 1000 AS at`,
);

/**
 * When there may be something to lease in a queue, as far as is known by now: when its next timer wakes, or a lease ends
 * (epoch ms, by the database's clock, as `serverAt` is); infinity when it is empty.
 */
export async function readNextLease(
  database: Queryable,
  tenantId: string,
  queue: string,
): Promise<{ at: number; serverAt: number }> {
  const [row] = await selectNextLook(database, [tenantId, queue]);
  return { at: row!.at ?? Number.POSITIVE_INFINITY, serverAt: row!.server_at };
}

function toSlotColumns(slots: readonly LeaseSlot[]): unknown[] {
  return [slots.map(({ workerId }) => workerId), toPlainArray(slots.map(({ leaseMs }) => leaseMs))];
}

const selectLeaseKey = nameStatement<{ lease_key: Buffer }>('read_lease_key', 'SELECT lease_key FROM installation');

/** What signs the lease tokens of this installation. */
export async function readLeaseKey(database: Queryable): Promise<Buffer> {
  const [row] = await selectLeaseKey(database, []);
  return row!.lease_key;
}
