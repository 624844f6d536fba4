import type { Queryable } from '../connect.ts';
import { nameRowsStatement } from '../statement.ts';
import { INPUT_OF_NEW_TIMERS, TIMERS_PER_INSERT_MAX } from './create-timers.ts';
import { LIMITED_TENANTS } from './lane-limits.ts';
import { type NewTimer, PARAMETER_AFTER_COLUMNS, STORED_NAMES, STORED_VALUES, toColumns } from './new-timer-columns.ts';
import { readStartedTimer, STARTED_TIMER, type StartedTimer } from './start-timers.ts';

/** The version of a new timer that is stored as started: created as 1, and started. */
export const VERSION_STARTED_AT_ONCE = 2;

// What `create_timers` and then `start_timers` would do. A row that is not yet due by the database's clock, or whose tenant has limits, waits as usual.
// `wake_at` has milliseconds and would be rounded up, to after the start.
const insertStarted = nameRowsStatement(
  'create_started_timers',
  `WITH input AS MATERIALIZED (
     SELECT *, to_timestamp(due_at / 1000) <= clock_timestamp() AND tenant_id <> ALL (${LIMITED_TENANTS}) AS is_due FROM ${INPUT_OF_NEW_TIMERS}
   ), t AS (
     INSERT INTO timers (${STORED_NAMES}, wake_at, state, version, attempt, lease_ends_at)
     SELECT ${STORED_VALUES}, greatest(to_timestamp(due_at / 1000), date_trunc('milliseconds', clock_timestamp())),
       CASE WHEN is_due THEN 'running'::timer_state ELSE 'scheduled' END, CASE WHEN is_due THEN ${VERSION_STARTED_AT_ONCE} ELSE 1 END, is_due::int,
       CASE WHEN is_due THEN clock_timestamp() + (coalesce(timeout_ms, $${PARAMETER_AFTER_COLUMNS}::int) + $${PARAMETER_AFTER_COLUMNS + 1}::int) * interval '1 millisecond' END
     FROM input
     RETURNING *
   ), ledger AS (
     INSERT INTO ledger_entries (tenant_id, partition, created)
     SELECT tenant_id, partition, count(*) FROM input GROUP BY tenant_id, partition
   )
   SELECT ${STARTED_TIMER} FROM t WHERE t.state = 'running'`,
  readStartedTimer,
);

/**
 * Stores new timers of runs and starts at once those that are due: whoever commits this has to make their attempts.
 * Enters them in the ledger. Returns the started ones; leases are as in `startTimers`. All are stored, or none.
 */
export async function createStartedTimers(
  database: Queryable,
  timers: readonly NewTimer[],
  timeoutMsDefault: number,
  leaseMarginMs: number,
): Promise<StartedTimer[]> {
  if (timers.length > TIMERS_PER_INSERT_MAX) {
    throw new RangeError(`${timers.length} timers in one insert; at most ${TIMERS_PER_INSERT_MAX}`);
  }
  return insertStarted(database, [...toColumns(timers), timeoutMsDefault, leaseMarginMs]);
}
