import { toColumn, toPlainArray } from '../statement.ts';

/** One timer to insert. Instants in epoch ms, JSON as text, absent values as null. */
export interface NewTimer {
  id: string;
  tenantId: string;
  partition: number;
  dueAt: number;
  /** When it begins to wait: the anchor of its delay. */
  createdAt: number;
  runId: string | null;
  workflowId: string | null;
  workflowVersion: number | null;
  taskKey: string | null;
  timeZone: string | null;
  delay: string | null;
  action: string | null;
  payload: string | null;
  retry: string | null;
  timeoutMs: number | null;
  externalId: string | null;
  labels: string | null;
  /** Of a mapped task: which element it is for (domain: `formatPath`). */
  path?: string | null;
  /** The queue from which workers of the customer lease it; null or absent: ours call or do it. */
  pullQueue?: string | null;
  /** JSON text: its key and rule (domain: `Concurrency`), the key rendered; null or absent: nothing keeps it from running beside others. */
  concurrency?: string | null;
  /** 1 to 9; null or absent: none. */
  priority?: number | null;
  /** The signal that may come before it is due. */
  waitsFor: string | null;
}

interface Column {
  name: string;
  type: string;
  /** SQL: the column's value, of the parameter of its name; that itself when absent. */
  value?: string;
  /** Timers that have ended have no such column. */
  isOfLiveOnly?: true;
}

const toInstant = (name: string) => ({ name, type: 'float8', value: `to_timestamp(${name} / 1000)` });
const toJson = (name: string) => ({ name, type: 'text', value: `${name}::json` });

/** Every field and its column: what has none is refused by the compiler, so that no statement can forget one. */
const COLUMNS: Readonly<Record<keyof NewTimer, Column>> = {
  id: { name: 'id', type: 'uuid' },
  tenantId: { name: 'tenant_id', type: 'uuid' },
  partition: { name: 'partition', type: 'smallint' },
  dueAt: toInstant('due_at'),
  createdAt: toInstant('created_at'),
  runId: { name: 'run_id', type: 'uuid' },
  workflowId: { name: 'workflow_id', type: 'uuid' },
  workflowVersion: { name: 'workflow_version', type: 'int' },
  taskKey: { name: 'task_key', type: 'text' },
  timeZone: { name: 'time_zone', type: 'text' },
  delay: toJson('delay'),
  action: toJson('action'),
  payload: toJson('payload'),
  retry: toJson('retry'),
  timeoutMs: { name: 'timeout_ms', type: 'int' },
  externalId: { name: 'external_id', type: 'text' },
  labels: { name: 'labels', type: 'text', value: 'labels::jsonb' },
  path: { name: 'path', type: 'text' },
  pullQueue: { name: 'pull_queue', type: 'text', isOfLiveOnly: true },
  concurrency: toJson('concurrency'),
  priority: { name: 'priority', type: 'smallint' },
  waitsFor: { name: 'waits_for', type: 'text' },
};

const fields = Object.keys(COLUMNS) as (keyof NewTimer)[];
const columns = Object.values(COLUMNS);
const ofEnded = columns.filter(({ isOfLiveOnly }) => !isOfLiveOnly);

/** SQL: the parameters that `toColumns` makes, as arguments of `unnest`. */
export const COLUMN_INPUT = columns.map(({ type }, index) => `$${index + 1}::${type}[]`).join(', ');
/** SQL: their names. */
export const COLUMN_NAMES = columns.map(({ name }) => name).join(', ');
/** The parameter that follows them. */
export const PARAMETER_AFTER_COLUMNS = columns.length + 1;
/** SQL: the columns of `timers` that are stored, and what is stored in them, of rows of the input. */
export const STORED_NAMES = `${COLUMN_NAMES}, lane`;
export const STORED_VALUES = `${columns.map(({ name, value }) => value ?? name).join(', ')}, concurrency::json ->> 'key'`;
/** SQL: the same for the tables of timers that have ended. */
export const ENDED_NAMES = ofEnded.map(({ name }) => name).join(', ');
export const ENDED_VALUES = ofEnded.map(({ name, value }) => value ?? name).join(', ');

/** One array a column, in the order of the statements' parameters; null for one that no timer has. */
export function toColumns(timers: readonly NewTimer[]): unknown[] {
  return fields.map((field) => {
    const values = toColumn(timers.map((timer) => timer[field] ?? null));
    if (values === null) return null;
    // Texts may need quotes, or be the word null; a path is digits and dots.
    return COLUMNS[field].type === 'text' && field !== 'path' ? values : toPlainArray(values);
  });
}
