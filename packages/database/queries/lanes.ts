import { LANE_HEAD_START_MS, type LaneDecision, type LaneRule, type WaitingTurn } from '@punctual/domain';
import type { Queryable, Transaction } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import type { TimerVersion } from './start-timers.ts';

/** A lane of a tenant. */
export interface LaneKey {
  tenantId: string;
  name: string;
}

/** What the name of a key's lane begins with. */
export const KEY_LANE_PREFIX = 'key:';
/** What a timer is parked for that waits for a place. */
const PARKED_PREFIX = 'lane:';

// All of these run while lanes are locked, in the order (tenant, name); whoever locks lanes holds no lock of a timer, and takes
// those of timers afterwards only where nobody has them. So nobody who waits for a lane has what its holder waits for.

/** Lanes that stay locked until the transaction ends. */
export interface LockedLane extends LaneKey {
  limitMax: number | null;
  ratePerSecond: number | null;
  /** Epoch ms. */
  usedUntil: number | null;
}

const COLUMNS = `tenant_id AS "tenantId", name, limit_max AS "limitMax", rate_per_second AS "ratePerSecond",
     date_part('epoch', used_until) * 1000 AS "usedUntil"`;

// The last rule that came for a key is the one that holds for it; that of a limit is what somebody set.
const lockRows = nameStatement<LockedLane>(
  'lock_lanes',
  `INSERT INTO lanes AS l (tenant_id, name, limit_max, rate_per_second)
   SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::float8[]) AS i(tenant_id, name, limit_max, rate) ORDER BY tenant_id, name
   ON CONFLICT (tenant_id, name) DO UPDATE
     SET limit_max = CASE WHEN l.is_limit THEN l.limit_max ELSE excluded.limit_max END,
       rate_per_second = CASE WHEN l.is_limit THEN l.rate_per_second ELSE excluded.rate_per_second END
   RETURNING ${COLUMNS}`,
);

/** Locks lanes, of which none is named twice, and makes those that are not there. */
export function lockLanes(client: Transaction, lanes: readonly (LaneKey & LaneRule)[]): Promise<LockedLane[]> {
  return lockRows(client, [
    toPlainArray(lanes.map(({ tenantId }) => tenantId)),
    lanes.map(({ name }) => name),
    toPlainArray(lanes.map(({ limit }) => limit)),
    toPlainArray(lanes.map(({ ratePerSecond }) => ratePerSecond)),
  ]);
}

// Also those in which nobody waits as far as can be seen: whoever has the lock of one may be about to let somebody wait there.
const lockThereRows = nameStatement<LockedLane & { isWaiting: boolean }>(
  'lock_waiting_lanes',
  `SELECT ${COLUMNS}, is_waiting AS "isWaiting" FROM lanes AS l
   WHERE (tenant_id, name) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
   ORDER BY l.tenant_id, l.name FOR UPDATE`,
);

/** Locks these lanes, where they are, and returns those in which somebody may wait. */
export async function lockWaitingLanes(client: Transaction, lanes: readonly LaneKey[]): Promise<LockedLane[]> {
  const there = await lockThereRows(client, [
    toPlainArray(lanes.map(({ tenantId }) => tenantId)),
    lanes.map(({ name }) => name),
  ]);
  return there.filter(({ isWaiting }) => isWaiting);
}

const lockNeglectedRows = nameStatement<LockedLane>(
  'lock_neglected_lanes',
  `SELECT ${COLUMNS} FROM lanes AS l
   WHERE is_waiting AND looked_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
   ORDER BY looked_at LIMIT $2 FOR UPDATE SKIP LOCKED`,
);

/** Locks lanes in which somebody may wait and that nobody has looked at for so long (ms), those first that waited longest. */
export function lockNeglectedLanes(client: Transaction, notForMs: number, lanesMax: number): Promise<LockedLane[]> {
  return lockNeglectedRows(client, [notForMs, lanesMax]);
}

// SQL: its place among those who wait.
const TURN_AT = `t.due_at - coalesce(t.priority, 0) * interval '${LANE_HEAD_START_MS} milliseconds'`;

/** A timer that its version names and that could start now. */
export interface LockedTurn {
  id: string;
  /** Epoch ms. */
  turnAt: number;
}

const lockTimerRows = nameStatement<LockedTurn>(
  'lock_laned_timers',
  `SELECT t.id, date_part('epoch', ${TURN_AT}) * 1000 AS "turnAt"
   FROM unnest($1::uuid[], $2::int[]) AS c(id, version) JOIN timers AS t ON t.id = c.id
   WHERE t.version = c.version AND t.state = 'scheduled' AND t.wake_at <= clock_timestamp()
   ORDER BY t.id FOR UPDATE OF t SKIP LOCKED`,
);

/** Locks those of these timers that still stand and are due; what somebody else has locked is left out. */
export function lockLanedTimers(client: Transaction, timers: readonly TimerVersion[]): Promise<LockedTurn[]> {
  return lockTimerRows(client, [
    toPlainArray(timers.map(({ id }) => id)),
    toPlainArray(timers.map(({ version }) => version)),
  ]);
}

const RUNS = `EXISTS (SELECT FROM timers AS t WHERE t.id = p.timer_id AND t.state = 'running')`;
const OF_LANES = '(p.tenant_id, p.lane) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))';

const dropPlaces = nameStatement('drop_lane_places', `DELETE FROM lane_places AS p WHERE ${OF_LANES} AND NOT ${RUNS}`);
const countPlaces = nameStatement<LaneKey & { used: number }>(
  'count_lane_places',
  `SELECT p.tenant_id AS "tenantId", p.lane AS name, count(*) AS used FROM lane_places AS p
   WHERE ${OF_LANES} AND ${RUNS} GROUP BY p.tenant_id, p.lane`,
);

/** How many timers run in each of these locked lanes; of those that are missing none. Forgets the places of those that do not. */
export async function countUsedPlaces(
  client: Transaction,
  lanes: readonly LaneKey[],
): Promise<(LaneKey & { used: number })[]> {
  const columns = toKeyColumns(lanes);
  await dropPlaces(client, columns);
  return countPlaces(client, columns);
}

// A timer that could not be sent at once, for want of room or of an answer of Postgres, and is back so soon keeps its turn.
const SHORTLY = `interval '2 seconds'`;
/**
 * Entries of a key's lane, those due first, that a look passes to find who has a turn: more than may run, and the comers of a
 * transaction. Behind so many that are paused or wait for a retry only those have turns that were parked for the lane.
 */
const PASSED_MAX = 2_500;
const TURN = 't.id, t.due_at, t.priority, t.wake_at, t.parked_for';

// In the order of turns. What is parked for another lane keeps its turn in that of its key: nobody with the same key overtakes
// it. In the lane of a limit only those have turns that were parked for it. Those with a priority who asked in vain are all looked
// at, as their turn may come before that of any other.
const selectWaiting = nameStatement<WaitingTurn & LaneKey>(
  'read_lane_turns',
  `SELECT l.tenant_id AS "tenantId", l.name, w.id, date_part('epoch', w.turn_at) * 1000 AS "turnAt",
     w.wake_at = 'infinity' AND w.parked_for = '${PARKED_PREFIX}' || l.name AS "isParked"
   FROM unnest($1::uuid[], $2::text[], $3::int[]) AS l(tenant_id, name, rows_max)
   CROSS JOIN LATERAL (
     SELECT t.*, ${TURN_AT} AS turn_at FROM (
     (SELECT ${TURN} FROM (
        SELECT ${TURN}, t.state, t.attempt FROM timers AS t
        WHERE starts_with(l.name, '${KEY_LANE_PREFIX}') AND t.tenant_id = l.tenant_id
          AND t.lane = substr(l.name, ${KEY_LANE_PREFIX.length + 1}) AND t.due_at <= statement_timestamp()
        ORDER BY t.tenant_id, t.lane, t.due_at, t.id LIMIT ${PASSED_MAX}
      ) AS t
      WHERE t.state = 'scheduled' AND (t.wake_at <= clock_timestamp() OR t.parked_for LIKE '${PARKED_PREFIX}%'
        OR t.attempt = 0 AND t.wake_at <= statement_timestamp() + ${SHORTLY})
      ORDER BY t.due_at, t.id LIMIT l.rows_max)
     UNION
     (SELECT ${TURN} FROM timers AS t
      WHERE t.tenant_id = l.tenant_id AND t.parked_for = '${PARKED_PREFIX}' || l.name
        AND t.due_at <= statement_timestamp() AND t.state = 'scheduled'
      ORDER BY t.tenant_id, t.parked_for, t.due_at, t.id LIMIT l.rows_max)
     UNION
     (SELECT ${TURN} FROM (
        SELECT ${TURN}, t.state FROM timers AS t
        WHERE t.tenant_id = l.tenant_id AND t.parked_for = '${PARKED_PREFIX}' || l.name AND t.priority IS NOT NULL
          AND t.due_at <= statement_timestamp()
        ORDER BY t.tenant_id, t.parked_for, t.due_at, t.id LIMIT ${PASSED_MAX}
      ) AS t
      WHERE t.state = 'scheduled' ORDER BY ${TURN_AT}, t.id LIMIT l.rows_max)
     ) AS t
     ORDER BY turn_at, id LIMIT l.rows_max
   ) AS w
   ORDER BY l.tenant_id, l.name, w.turn_at, w.id`,
);

/** Who waits in these lanes and is due, so many of each at most. */
export function readLaneTurns(
  client: Transaction,
  lanes: readonly (LaneKey & { rowsMax: number })[],
): Promise<(WaitingTurn & LaneKey)[]> {
  return selectWaiting(client, [...toKeyColumns(lanes), toPlainArray(lanes.map(({ rowsMax }) => rowsMax))]);
}

const selectNow = nameStatement<{ now: number }>(
  'read_now',
  `SELECT date_part('epoch', clock_timestamp()) * 1000 AS now`,
);

/** The database's time (epoch ms). */
export async function readNow(client: Queryable): Promise<number> {
  const [row] = await selectNow(client, []);
  return row!.now;
}

const dropOldPlaces = nameStatement(
  'drop_places_of_timers',
  'DELETE FROM lane_places WHERE timer_id = ANY ($1::uuid[])',
);
const insertPlaces = nameStatement(
  'take_lane_places',
  `INSERT INTO lane_places (tenant_id, lane, timer_id)
   SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[]) ON CONFLICT DO NOTHING`,
);

/** Gives timers that were just started their places in locked lanes, and no others. */
export async function takePlaces(
  client: Transaction,
  places: readonly (LaneKey & { timerId: string })[],
): Promise<void> {
  if (places.length === 0) return;
  await dropOldPlaces(client, [toPlainArray([...new Set(places.map(({ timerId }) => timerId))])]);
  await insertPlaces(client, [...toKeyColumns(places), toPlainArray(places.map(({ timerId }) => timerId))]);
}

const parkRows = nameStatement(
  'park_laned_timers',
  `UPDATE timers AS t SET wake_at = 'infinity', parked_for = '${PARKED_PREFIX}' || c.lane
   FROM unnest($1::uuid[], $2::text[]) AS c(id, lane) WHERE t.id = c.id`,
);

/** Has locked timers wait until they are woken. They keep their version: a late hint finds that they are not due. */
export async function parkLanedTimers(client: Transaction, refused: LaneDecision['refused']): Promise<void> {
  if (refused.length === 0) return;
  const sorted = refused.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  await parkRows(client, [toPlainArray(sorted.map(({ id }) => id)), sorted.map(({ lane }) => lane)]);
}

// What somebody else has locked is left out: whoever changes it lets it try again, and if not, the lane is looked at again.
// The version rises, so that schedulers take it for what they have not yet dispatched.
const wakeRows = nameStatement(
  'wake_laned_timers',
  `WITH wanted AS MATERIALIZED (
     SELECT t.id, c.at FROM unnest($1::uuid[], $2::text[], $3::float8[]) AS c(id, lane, at) JOIN timers AS t ON t.id = c.id
     WHERE t.state = 'scheduled' AND t.wake_at = 'infinity' AND t.parked_for = '${PARKED_PREFIX}' || c.lane
     ORDER BY t.id FOR UPDATE OF t SKIP LOCKED
   )
   UPDATE timers AS t SET version = t.version + 1, wake_at = greatest(to_timestamp(w.at / 1000), clock_timestamp())
   FROM wanted AS w WHERE t.id = w.id`,
);

/** Lets timers that are parked for a lane try again at those times. */
export async function wakeLanedTimers(client: Transaction, woken: LaneDecision['woken']): Promise<void> {
  if (woken.length === 0) return;
  await wakeRows(client, [
    toPlainArray(woken.map(({ id }) => id)),
    woken.map(({ lane }) => lane),
    toPlainArray(woken.map(({ at }) => at)),
  ]);
}

const noteRows = nameStatement(
  'note_lanes',
  `UPDATE lanes AS l SET used_until = to_timestamp(n.used_until / 1000), is_waiting = n.is_waiting, looked_at = clock_timestamp()
   FROM unnest($1::uuid[], $2::text[], $3::float8[], $4::boolean[]) AS n(tenant_id, name, used_until, is_waiting)
   WHERE l.tenant_id = n.tenant_id AND l.name = n.name`,
);

/** Writes down how locked lanes stand. */
export async function noteLanes(
  client: Transaction,
  lanes: readonly (LaneKey & { usedUntil: number | null; isWaiting: boolean })[],
): Promise<void> {
  await noteRows(client, [
    ...toKeyColumns(lanes),
    toPlainArray(lanes.map(({ usedUntil }) => usedUntil)),
    toPlainArray(lanes.map(({ isWaiting }) => String(isWaiting))),
  ]);
}

const selectLanesOf = nameStatement<LaneKey>(
  'read_lanes_of_timers',
  `SELECT DISTINCT p.tenant_id AS "tenantId", p.lane AS name FROM lane_places AS p WHERE p.timer_id = ANY ($1::uuid[])`,
);

/** The lanes in which timers had places at their last start. */
export function readLanesOfTimers(database: Queryable, timerIds: readonly string[]): Promise<LaneKey[]> {
  return selectLanesOf(database, [toPlainArray(timerIds)]);
}

// Locks nothing that somebody waits for. One in which somebody runs is kept, however long.
const dropIdle = nameStatement<LaneKey>(
  'drop_idle_lanes',
  `WITH idle AS MATERIALIZED (
     SELECT l.tenant_id, l.name FROM lanes AS l
     WHERE NOT l.is_waiting AND NOT l.is_limit AND l.looked_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
       AND coalesce(l.used_until < clock_timestamp(), true)
       AND NOT EXISTS (SELECT FROM lane_places AS p WHERE p.tenant_id = l.tenant_id AND p.lane = l.name AND ${RUNS})
     ORDER BY l.looked_at LIMIT $2 FOR UPDATE SKIP LOCKED
   ), places AS (
     DELETE FROM lane_places AS p USING idle AS i WHERE p.tenant_id = i.tenant_id AND p.lane = i.name
   )
   DELETE FROM lanes AS l USING idle AS i WHERE l.tenant_id = i.tenant_id AND l.name = i.name
   RETURNING l.tenant_id AS "tenantId", l.name`,
);

/** Forgets lanes in which nobody waits or runs and that nobody has used for so long (ms). Returns how many. */
export async function dropIdleLanes(database: Queryable, idleForMs: number, lanesMax: number): Promise<number> {
  return (await dropIdle(database, [idleForMs, lanesMax])).length;
}

function toKeyColumns(lanes: readonly LaneKey[]): unknown[] {
  return [toPlainArray(lanes.map(({ tenantId }) => tenantId)), lanes.map(({ name }) => name)];
}
