import type { Queryable } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import { CARRIED_COLUMNS, CARRIED_OF_TIMER } from './carried-columns.ts';
import { type ChangeOrigin, enterChanged, ORIGIN_PARAMETERS, originInput, toOriginColumns } from './record-changes.ts';
import { ENDED_COLUMNS, omitLarge, shareAnswerBytes, type TimerRecord } from './timer-record.ts';

/** What became of one timer that somebody wanted cancelled. */
export interface CancelledTimer {
  id: string;
  run_id: string | null;
  task_key: string | null;
  path: string | null;
}

const COLUMNS = `${CARRIED_COLUMNS}, version, attempt`;

// Locks the timers in the order of their ids, whatever the plan: `wanted` sorts before it locks. A row that runs is not
// touched: its attempt has started and the cancel comes too late. Run timers: the caller holds the locks of their runs
// already (runs before timers).
// IS NOT DISTINCT FROM keeps the planner from `timers_list`: before the first ANALYZE it takes a tenant's whole index
// for a single row, and would walk through all timers of the tenant in due order instead of looking up the ids.
const writeCancel = (condition: string, shown: string) => `WITH wanted AS MATERIALIZED (
     SELECT t.id, c.entry, c.request_id
     FROM unnest($2::uuid[], ${originInput(3)}) AS c(id, entry, request_id) JOIN timers AS t ON t.id = c.id
     WHERE t.tenant_id IS NOT DISTINCT FROM $1::uuid AND t.state IN ('scheduled', 'paused')${condition}
     ORDER BY t.id FOR UPDATE OF t
   ), gone AS (
     DELETE FROM timers AS t USING wanted AS w WHERE t.id = w.id
     RETURNING ${CARRIED_OF_TIMER}, t.version, t.attempt, w.entry, w.request_id
   ), audit AS (
     ${enterChanged('gone', 3)}
   ), history AS (
     INSERT INTO finished_timers (${COLUMNS}, state, finished_at)
     SELECT ${CARRIED_COLUMNS}, version + 1, attempt, 'cancelled', clock_timestamp() FROM gone
     RETURNING *
   ), ledger AS (
     INSERT INTO ledger_entries (tenant_id, partition, cancelled)
     SELECT tenant_id, partition, count(*) FROM gone GROUP BY tenant_id, partition
   )
   SELECT ${shown} FROM history`;

const cancelRows = nameStatement<CancelledTimer>('cancel_timers', writeCancel('', 'id, run_id, task_key, path'));
const cancelLoneRows = nameStatement<TimerRecord>(
  'cancel_lone_timers',
  writeCancel(' AND t.run_id IS NULL', omitLarge(ENDED_COLUMNS, `$${3 + ORIGIN_PARAMETERS}::int`)),
);

/** Timers that one cancel may name. */
export const TIMERS_PER_CANCEL_MAX = 1000;

/** A timer that somebody wants cancelled, and by whom. */
export interface CancelRequest {
  id: string;
  origin: ChangeOrigin;
}

/**
 * Cancels those of a tenant's timers that have not started, and enters these in the audit log; those named by their bare ids
 * go with something else that is entered there. Returns what it cancelled; the rest runs, ended, or never was.
 */
export async function cancelTimers(
  database: Queryable,
  tenantId: string,
  timers: readonly (string | CancelRequest)[],
): Promise<CancelledTimer[]> {
  return cancelRows(database, toParameters(tenantId, timers));
}

/**
 * As `cancelTimers`, but leaves out tasks of runs, so no run needs to be locked. Returns the timers as they are now, without
 * what is too large beside the others.
 */
export async function cancelLoneTimers(
  database: Queryable,
  tenantId: string,
  timers: readonly CancelRequest[],
): Promise<TimerRecord[]> {
  return cancelLoneRows(database, [...toParameters(tenantId, timers), shareAnswerBytes(timers.length)]);
}

function toParameters(tenantId: string, timers: readonly (string | CancelRequest)[]): unknown[] {
  if (timers.length > TIMERS_PER_CANCEL_MAX) {
    throw new RangeError(`${timers.length} timers in one cancel; at most ${TIMERS_PER_CANCEL_MAX}`);
  }
  const origins = new Map(
    timers.map((timer) => (typeof timer === 'string' ? [timer, undefined] : [timer.id, timer.origin])),
  );
  const ids = [...origins.keys()].toSorted();
  return [tenantId, toPlainArray(ids), ...toOriginColumns(ids.map((id) => ({ tenantId, origin: origins.get(id) })))];
}
