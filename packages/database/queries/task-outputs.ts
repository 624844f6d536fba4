import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

/** The output of one instance of a task. */
export interface TaskOutput {
  runId: string;
  taskKey: string;
  /** As in `timers`; empty for what runs once. */
  path: string;
  /** JSON text. */
  output: string;
}

/** Which outputs are wanted: that of the instance at `path`, or with `isBelow` those of all instances beneath it. */
export interface OutputWish {
  runId: string;
  taskKey: string;
  path: string;
  isBelow: boolean;
}

const insertOutputs = nameStatement(
  'store_task_outputs',
  `INSERT INTO task_outputs (run_id, tenant_id, task_key, path, output)
   SELECT run_id, tenant_id, task_key, path, output::json
   FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[]) AS o(run_id, tenant_id, task_key, path, output)`,
);

/** Keeps outputs of tasks that have just ended. The caller holds the locks of their runs. */
export async function storeTaskOutputs(
  database: Queryable,
  outputs: readonly (TaskOutput & { tenantId: string })[],
): Promise<void> {
  if (outputs.length === 0) return;
  await insertOutputs(database, [
    outputs.map((output) => output.runId),
    outputs.map((output) => output.tenantId),
    outputs.map((output) => output.taskKey),
    outputs.map((output) => output.path),
    outputs.map((output) => output.output),
  ]);
}

// Takes no lock. The column's collation is that of bytes, so that all paths that begin with another stand together.
const selectOutputs = nameStatement<TaskOutput>(
  'read_task_outputs',
  `SELECT o.run_id AS "runId", o.task_key AS "taskKey", o.path, o.output
   FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS w(run_id, task_key, first, last)
   JOIN task_outputs AS o ON o.run_id = w.run_id AND o.task_key = w.task_key AND o.path >= w.first AND o.path <= w.last`,
);

/** Behind every digit and dot. */
const BEHIND_PATHS = '~';

/** The outputs that there are of those wanted, in no particular order. A run keeps a megabyte of them at most. */
export function readTaskOutputs(database: Queryable, wishes: readonly OutputWish[]): Promise<TaskOutput[]> {
  const beneath = (path: string) => (path === '' ? '' : `${path}.`);
  return selectOutputs(database, [
    wishes.map((wish) => wish.runId),
    wishes.map((wish) => wish.taskKey),
    wishes.map((wish) => (wish.isBelow ? beneath(wish.path) : wish.path)),
    wishes.map((wish) => (wish.isBelow ? `${beneath(wish.path)}${BEHIND_PATHS}` : wish.path)),
  ]);
}

// Takes no lock: the caller holds those of the runs, and the task of a timer never changes.
const selectTaskKeys = nameStatement<{ id: string; task_key: string | null }>(
  'read_task_keys',
  'SELECT id, task_key FROM timers WHERE id = ANY ($1::uuid[])',
);

/** Which tasks live timers are for; what has ended is missing. */
export async function readTaskKeys(database: Queryable, ids: readonly string[]): Promise<Map<string, string | null>> {
  const rows = await selectTaskKeys(database, [ids]);
  return new Map(rows.map(({ id, task_key: key }) => [id, key]));
}

// Takes no lock. An attempt that was lost says nothing of what came before it.
const selectUndecided = nameStatement<{ undecided: boolean | null }>(
  'read_is_undecided',
  `SELECT bool_and(coalesce(starts_with(error, $2::text), false)) AS undecided FROM attempts WHERE timer_id = $1 AND outcome <> 'lost'`,
);

/** Whether all attempts of a timer so far ended with an error that begins so; false when there was none. */
export async function haveAttemptsFailedBy(database: Queryable, timerId: string, error: string): Promise<boolean> {
  const [row] = await selectUndecided(database, [timerId, error]);
  return row?.undecided ?? false;
}

const selectStates = nameStatement<{ task_states: string }>(
  'read_run_states',
  'SELECT task_states FROM runs WHERE id = $1',
);

/** The states of a run's tasks, as stored. Rejects when there is no such run: whoever asks has a timer of it. */
export async function readRunStates(database: Queryable, id: string): Promise<string> {
  const [row] = await selectStates(database, [id]);
  if (!row) throw new Error(`there is no run ${id}`);
  return row.task_states;
}

const selectInputs = nameStatement<{ id: string; input: string | null }>(
  'read_run_inputs',
  'SELECT id, input FROM runs WHERE id = ANY ($1::uuid[])',
);

/** What runs were begun with, as JSON text. */
export async function readRunInputs(database: Queryable, ids: readonly string[]): Promise<Map<string, string | null>> {
  const rows = await selectInputs(database, [ids]);
  return new Map(rows.map(({ id, input }) => [id, input]));
}
