import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import { INPUT_OF_NEW_TIMERS } from './create-timers.ts';
import { ENDED_NAMES, ENDED_VALUES, type NewTimer, PARAMETER_AFTER_COLUMNS, toColumns } from './new-timer-columns.ts';

/** A task that ends dead before it could be tried. */
export interface DeadTimer extends NewTimer {
  error: string;
}

// `error` joins by the order of the rows. The attempt counts, so that what is shown of it is like any other's.
const insertDead = nameStatement(
  'create_dead_timers',
  `WITH input AS MATERIALIZED (
     SELECT i.*, e.error FROM ${INPUT_OF_NEW_TIMERS}
       JOIN unnest($1::uuid[], $${PARAMETER_AFTER_COLUMNS}::text[]) AS e(timer_id, error) ON e.timer_id = i.id
   ), stored AS (
     INSERT INTO dead_letters (${ENDED_NAMES}, finished_at, started_at, lateness_ms, duration_ms, version, attempt, state,
       outcome, error)
     SELECT ${ENDED_VALUES}, clock_timestamp(), clock_timestamp(), 0, 0, 1, 1, 'dead', 'permanent', error
     FROM input
   )
   INSERT INTO ledger_entries (tenant_id, partition, created, dead)
   SELECT tenant_id, partition, count(*), count(*) FROM input GROUP BY tenant_id, partition`,
);

/** Stores timers of tasks that can not be tried as dead letters, with the outcome `permanent`. All, or none. */
export async function createDeadTimers(database: Queryable, timers: readonly DeadTimer[]): Promise<void> {
  if (timers.length === 0) return;
  await insertDead(database, [...toColumns(timers), timers.map((timer) => timer.error)]);
}
