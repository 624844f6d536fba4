import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import { type ChangeOrigin, enterChanged, ORIGIN_PARAMETERS, originInput, toOriginColumns } from './record-changes.ts';
import { LIVE_COLUMNS, omitLarge, shareAnswerBytes, type TimerRecord } from './timer-record.ts';

/** A change of a timer. What is undefined stays. JSON as text. */
export interface TimerEdit {
  id: string;
  /** The one in which the timer was seen; null for a change that does not depend on what is there. */
  version: number | null;
  /** A new due time (epoch ms) and the rule it came from; `delay` is null for a due time named outright. */
  due?: { dueAt: number; delay: string | null };
  payload?: string;
  action?: string;
  /** Goes with `action`: the queue when it is a pull action, else null. */
  pullQueue?: string | null;
  retry?: string;
  /** 0: none. */
  priority?: number;
  origin: ChangeOrigin;
}

/** Timers that one change may name. */
const TIMERS_PER_CHANGE_MAX = 1000;

// SQL: the gate behind which it waits is one of its action, which changes. The gates of the new one may stop it again.
const LEAVES_GATE = `(e.action IS NOT NULL AND t.parked_for ~ '^(lane:)?(origin|queue):')`;

// Locks the timers in the order given (sorted by id). The state, and the version where one is named, decide whether the
// change or a start that came at the same moment wins: a row that was started has another version and state when this
// statement gets its lock, and one that was changed has another version when the start gets its.
// A new due time moves the wake time of a scheduled timer, never behind the scheduler's cursor; without one the wake
// time stays, because it may be that of a retry; with another action one that is past is now, because it may be for others,
// who have passed it by.
// IS NOT DISTINCT FROM: see `cancel_timers`.
const updateRows = nameStatement<TimerRecord>(
  'change_timers',
  `WITH changed AS (
     UPDATE timers AS t SET version = t.version + 1,
       due_at = CASE WHEN e.due_at IS NULL THEN t.due_at ELSE to_timestamp(e.due_at / 1000) END,
       wake_at = CASE WHEN ${LEAVES_GATE} THEN greatest(coalesce(to_timestamp(e.due_at / 1000), t.due_at), clock_timestamp())
         WHEN t.state <> 'scheduled' THEN t.wake_at
         WHEN e.due_at IS NULL THEN CASE WHEN e.action IS NULL THEN t.wake_at ELSE greatest(t.wake_at, clock_timestamp()) END
         ELSE greatest(to_timestamp(e.due_at / 1000), clock_timestamp()) END,
       state = CASE WHEN ${LEAVES_GATE} THEN 'scheduled' ELSE t.state END,
       parked_for = CASE WHEN ${LEAVES_GATE} THEN NULL ELSE t.parked_for END,
       paused_at = CASE WHEN ${LEAVES_GATE} THEN NULL ELSE t.paused_at END,
       delay = CASE WHEN e.due_at IS NULL THEN t.delay ELSE e.delay::json END,
       payload = CASE WHEN e.payload IS NULL THEN t.payload ELSE e.payload::json END,
       action = CASE WHEN e.action IS NULL THEN t.action ELSE e.action::json END,
       pull_queue = CASE WHEN e.action IS NULL THEN t.pull_queue ELSE e.pull_queue END,
       retry = CASE WHEN e.retry IS NULL THEN t.retry ELSE e.retry::json END,
       priority = CASE WHEN e.priority IS NULL THEN t.priority ELSE nullif(e.priority, 0) END
     FROM unnest($2::uuid[], $3::int[], $4::float8[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::smallint[], ${originInput(11)})
       AS e(id, version, due_at, delay, payload, action, retry, pull_queue, priority, entry, request_id)
     WHERE t.id = e.id AND t.version = coalesce(e.version, t.version) AND t.tenant_id IS NOT DISTINCT FROM $1::uuid AND t.state IN ('scheduled', 'paused')
     RETURNING t.*, e.entry, e.request_id
   ), audit AS (
     ${enterChanged('changed', 11)}
   )
   SELECT ${omitLarge(LIVE_COLUMNS, `$${11 + ORIGIN_PARAMETERS}::int`)} FROM changed`,
);

/**
 * Changes those of a tenant's timers that have not started and, where one is named, still have the version, and enters these in
 * the audit log. Returns them as they are now, without what is too large beside the others; the others were changed,
 * started or ended meanwhile, or never were.
 */
export async function changeTimers(
  database: Queryable,
  tenantId: string,
  edits: readonly TimerEdit[],
): Promise<TimerRecord[]> {
  if (edits.length > TIMERS_PER_CHANGE_MAX) {
    throw new RangeError(`${edits.length} timers in one change; at most ${TIMERS_PER_CHANGE_MAX}`);
  }
  const sorted = edits.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return updateRows(database, [
    tenantId,
    sorted.map((edit) => edit.id),
    sorted.map((edit) => edit.version),
    sorted.map((edit) => edit.due?.dueAt ?? null),
    sorted.map((edit) => edit.due?.delay ?? null),
    sorted.map((edit) => edit.payload ?? null),
    sorted.map((edit) => edit.action ?? null),
    sorted.map((edit) => edit.retry ?? null),
    sorted.map((edit) => edit.pullQueue ?? null),
    sorted.map((edit) => edit.priority ?? null),
    ...toOriginColumns(sorted.map(({ origin }) => ({ tenantId, origin }))),
    shareAnswerBytes(sorted.length),
  ]);
}

// Locks the timer. One whose due time has passed keeps it: how late it is must stay visible.
// IS NOT DISTINCT FROM: see `cancel_timers`.
const fireRow = nameStatement<TimerRecord>(
  'fire_timer',
  `WITH fired AS (
     UPDATE timers AS t SET version = t.version + 1, due_at = least(t.due_at, clock_timestamp()),
       wake_at = CASE t.state WHEN 'scheduled' THEN clock_timestamp() ELSE t.wake_at END
     WHERE t.id = $2 AND t.tenant_id IS NOT DISTINCT FROM $1::uuid AND t.state IN ('scheduled', 'paused')
     RETURNING t.*
   ), marked AS (
     SELECT fired.id, m.entry, m.request_id FROM fired, unnest(${originInput(3)}) AS m(entry, request_id)
   ), audit AS (
     ${enterChanged('marked', 3)}
   )
   SELECT ${LIVE_COLUMNS} FROM fired`,
);

/** Makes a tenant's timer due now, unless it has started or ended; undefined then. A paused one stays paused. */
export async function fireTimer(
  database: Queryable,
  tenantId: string,
  id: string,
  origin: ChangeOrigin,
): Promise<TimerRecord | undefined> {
  const [row] = await fireRow(database, [tenantId, id, ...toOriginColumns([{ tenantId, origin }])]);
  return row;
}
