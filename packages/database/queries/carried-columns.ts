import type { TimerColumns } from '../tables.ts';

/** Of `timers`, `finished_timers` and `dead_letters`: all that a timer takes along when it ends, or when it is sent again. */
const CARRIED = [
  'id',
  'tenant_id',
  'run_id',
  'workflow_id',
  'due_at',
  'created_at',
  'workflow_version',
  'timeout_ms',
  'partition',
  'task_key',
  'time_zone',
  'delay',
  'action',
  'payload',
  'retry',
  'external_id',
  'labels',
  'path',
  'concurrency',
  'priority',
  'waits_for',
  'signal',
] as const satisfies readonly (keyof TimerColumns)[];

type Forgotten = Exclude<keyof TimerColumns, (typeof CARRIED)[number] | 'version' | 'attempt'>;
/** The compiler refuses this when a column that the three tables share is missing above. */
const columns: readonly (Forgotten extends never ? string : Forgotten)[] = CARRIED;

/** SQL: the columns, by name. `version` and `attempt` are counted anew by some, and left to the statements. */
export const CARRIED_COLUMNS = columns.join(', ');
/** SQL: the same of a row `t`. */
export const CARRIED_OF_TIMER = columns.map((column) => `t.${column}`).join(', ');
