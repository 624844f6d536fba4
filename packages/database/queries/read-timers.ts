import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import { ENDED_COLUMNS, LIVE_COLUMNS, omitLarge, shareAnswerBytes, type TimerRecord } from './timer-record.ts';

const [LIVE, ENDED] = [LIVE_COLUMNS, ENDED_COLUMNS].map((columns) => omitLarge(columns, '$3::int'));

// Takes no lock. One statement, so one snapshot: a timer that moves from one table to another is found in exactly one.
// IS NOT DISTINCT FROM keeps the planner from the lists' indexes: before the first ANALYZE it takes a tenant's whole index
// for a single row, and would walk through all timers of the tenant.
const selectTimers = nameStatement<TimerRecord>(
  'read_timers',
  `SELECT ${LIVE} FROM timers WHERE id = ANY ($2::uuid[]) AND tenant_id IS NOT DISTINCT FROM $1::uuid
   UNION ALL SELECT ${ENDED} FROM dead_letters WHERE id = ANY ($2::uuid[]) AND tenant_id IS NOT DISTINCT FROM $1::uuid
   UNION ALL SELECT ${ENDED} FROM finished_timers WHERE id = ANY ($2::uuid[]) AND tenant_id IS NOT DISTINCT FROM $1::uuid`,
);

/** Timers that one read may name. */
export const TIMERS_PER_READ_MAX = 1000;

/** A tenant's timers, live, dead or ended, by id, without what is too large beside the others. Unknown ones are missing. */
export async function readTimers(
  database: Queryable,
  tenantId: string,
  ids: readonly string[],
): Promise<Map<string, TimerRecord>> {
  if (ids.length > TIMERS_PER_READ_MAX) {
    throw new RangeError(`${ids.length} timers in one read; at most ${TIMERS_PER_READ_MAX}`);
  }
  const rows = await selectTimers(database, [tenantId, ids, shareAnswerBytes(ids.length)]);
  return new Map(rows.map((row) => [row.id, row]));
}

const selectRunIds = nameStatement<{ runId: string }>(
  'read_run_ids_of_timers',
  `SELECT DISTINCT run_id AS "runId" FROM timers WHERE id = ANY ($2::uuid[]) AND tenant_id IS NOT DISTINCT FROM $1::uuid AND run_id IS NOT NULL`,
);

/** The runs to which these live timers belong: to be locked before the timers are. */
export async function readRunIdsOfTimers(
  database: Queryable,
  tenantId: string,
  ids: readonly string[],
): Promise<string[]> {
  return (await selectRunIds(database, [tenantId, ids])).map((row) => row.runId);
}
