import {
  computeWait,
  decodeRunTree,
  decodeTaskStates,
  encodeTaskStates,
  planRun,
  toStoredPriority,
} from '@punctual/domain';
import type { Transaction } from '../connect.ts';
import { choosePullQueue } from '../pull-queue.ts';
import type { BulkFailure } from '../queries/bulk-portions.ts';
import { recordBulkChanges } from '../queries/change-many-timers.ts';
import type { ChangeOrigin } from '../queries/record-changes.ts';
import { deliverSignals } from '../queries/run-signals.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import type { StoredTask, WorkflowVersion, WorkflowVersions } from '../workflow-versions.ts';
import { nameLanes } from './name-lanes.ts';
import { RunFacts } from './run-facts.ts';
import { advanceRuns, type LockedRun, lockRuns } from './run-progress.repository.ts';
import type { MappedRun } from './run-trees.repository.ts';

interface LiveTimer {
  id: string;
  run_id: string;
  task_key: string;
  path: string | null;
  state: 'scheduled' | 'running' | 'paused';
  attempt: number;
  created_at: number;
  waits_for: string | null;
  signal: number | null;
}

/** What a timer is told of the new version. `dueAt` null: it keeps its due time, and what it waits for. */
interface MovedTimer {
  id: string;
  runId: string;
  taskKey: string;
  path: string | null;
  dueAt: number | null;
  waitsFor: string | null;
  timeoutMs: number | null;
  pullQueue: string | null;
  /** JSON text. */
  concurrency: string | null;
  priority: number | null;
}

// In the order of their ids, as everybody locks them; the runs are locked already.
const lockTimers = nameStatement<LiveTimer>(
  'lock_timers_of_moving_runs',
  `SELECT id, run_id, task_key, path, state, attempt, created_at, waits_for, signal FROM timers WHERE run_id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE`,
);
// SQL: it waits for a place, for which it may have another key in the new version, or none: it tries again.
const IN_LANE = `(t.state = 'scheduled' AND coalesce(t.parked_for LIKE 'lane:%', false))`;

// What runs keeps version and time-out, by which its outcome finds it and its lease was reckoned.
const moveTimers = nameStatement(
  'move_timers',
  `UPDATE timers AS t SET workflow_version = $1, version = t.version + (t.state <> 'running')::int,
     due_at = coalesce(to_timestamp(m.due_at / 1000), t.due_at),
     wake_at = CASE WHEN ${IN_LANE} THEN greatest(coalesce(to_timestamp(m.due_at / 1000), t.due_at), clock_timestamp())
       WHEN m.due_at IS NULL OR t.state <> 'scheduled' THEN t.wake_at ELSE greatest(to_timestamp(m.due_at / 1000), clock_timestamp()) END,
     delay = CASE WHEN m.due_at IS NULL THEN t.delay END,
     waits_for = CASE WHEN m.due_at IS NULL THEN t.waits_for ELSE m.waits_for END,
     timeout_ms = CASE t.state WHEN 'running' THEN t.timeout_ms ELSE m.timeout_ms END,
     pull_queue = CASE WHEN t.action IS NULL THEN m.pull_queue ELSE t.pull_queue END,
     parked_for = CASE WHEN ${IN_LANE} THEN NULL ELSE t.parked_for END,
     concurrency = CASE t.state WHEN 'running' THEN t.concurrency ELSE m.concurrency::json END,
     lane = CASE t.state WHEN 'running' THEN t.lane ELSE m.concurrency::json ->> 'key' END, priority = m.priority
   FROM unnest($2::uuid[], $3::float8[], $4::int[], $5::text[], $6::text[], $7::text[], $8::smallint[])
     AS m(id, due_at, timeout_ms, pull_queue, concurrency, waits_for, priority) WHERE t.id = m.id`,
);
const moveRows = nameStatement(
  'move_runs',
  `WITH letters AS (
     UPDATE dead_letters SET workflow_version = $1 WHERE run_id = ANY ($2::uuid[])
   )
   UPDATE runs AS r SET workflow_version = $1, task_states = m.task_states
   FROM unnest($2::uuid[], $3::text[]) AS m(id, task_states) WHERE r.id = m.id`,
);

/** Timers that one statement moves: runs with elements may have thousands, and a statement has its time-out. */
const TIMERS_PER_MOVE_MAX = 1000;

class CannotMove extends Error {
  readonly code: string;

  constructor(code: string, detail: string) {
    super(detail);
    this.code = code;
  }
}

/**
 * Moves runs, and what sleeps in them, to a version of their workflow: each task that has begun to wait gets the due time
 * that the new rule gives it from its own anchor; one that waits for a retry keeps its wait, and one that runs is left to
 * finish. One that waits for a signal waits for what the new version says. Tasks that are new begin when their parents let them, which may be at once. A run in which a task that the new
 * version does not have waits, runs or is a dead letter keeps its version, and is a failure; so is one with elements, conditions
 * or outputs whose tasks hang together otherwise in the new version.
 */
export async function moveRuns(
  client: Transaction,
  versions: WorkflowVersions,
  tenantId: string,
  ids: readonly string[],
  { workflowId, version: number }: { workflowId: string; version: number },
  origin: ChangeOrigin,
): Promise<{ done: number; failures: BulkFailure[] }> {
  const target = await versions.read(client, workflowId, number);
  const runs = (await lockRuns(client, ids)).filter(
    (run) => run.workflow_version < number && (run.status === 'running' || run.status === 'paused'),
  );
  const timersByRun = Map.groupBy(await lockTimers(client, [runs.map(({ id }) => id)]), (timer) => timer.run_id);
  const moving: LockedRun[] = [];
  const timers: MovedTimer[] = [];
  const failures: BulkFailure[] = [];
  for (const run of runs) {
    try {
      const present = await versions.read(client, workflowId, run.workflow_version);
      const taskStates = moveStates(run.task_states, present, target);
      timers.push(...(timersByRun.get(run.id) ?? []).map((timer) => moveTimer(timer, target)));
      moving.push({ ...run, workflow_version: number, task_states: taskStates });
    } catch (error) {
      if (!(error instanceof CannotMove)) throw error;
      failures.push({ id: run.id, code: error.code, detail: error.message });
    }
  }
  if (moving.length > 0) {
    await nameLanes(client, timers, planRun(target.tasks).isPlain ? [] : moving.map((run) => openTree(run, target)));
    const movedIds = moving.map(({ id }) => id);
    for (let start = 0; start < timers.length; start += TIMERS_PER_MOVE_MAX) {
      const some = timers.slice(start, start + TIMERS_PER_MOVE_MAX);
      await moveTimers(client, [
        number,
        toPlainArray(some.map(({ id }) => id)),
        toPlainArray(some.map(({ dueAt }) => dueAt)),
        toPlainArray(some.map(({ timeoutMs }) => timeoutMs)),
        some.map(({ pullQueue }) => pullQueue),
        some.map(({ concurrency }) => concurrency),
        some.map(({ waitsFor }) => waitsFor),
        toPlainArray(some.map(({ priority }) => priority)),
      ]);
    }
    // They may wait for what was kept until now.
    await deliverSignals(
      client,
      timers.flatMap(({ runId, dueAt, waitsFor }) =>
        dueAt === null || waitsFor === null ? [] : [{ runId, name: waitsFor, version: target }],
      ),
    );
    await moveRows(client, [number, movedIds, moving.map((run) => run.task_states)]);
    await advanceRuns(client, versions, moving, []);
    await recordBulkChanges(client, tenantId, movedIds, origin);
  }
  return { done: ids.length - failures.length, failures };
}

/** For what keys of timers may ask. */
function openTree(run: LockedRun, version: WorkflowVersion): MappedRun {
  const tree = decodeRunTree(version.tasks, run.task_states);
  return { run, version, tree, facts: new RunFacts(tree), nodes: [] };
}

/** The states of a run's tasks in the order of the other version. Throws CannotMove. */
function moveStates(text: string, from: WorkflowVersion, to: WorkflowVersion): string {
  if (hasSameFlow(from, to)) return text;
  if (!planRun(from.tasks).isPlain || !planRun(to.tasks).isPlain) {
    throw new CannotMove(
      'flow_changed',
      'Its tasks run once per element, on conditions or with outputs, and the new version changes how they hang together.',
    );
  }
  const states = decodeTaskStates(text);
  const kept = new Set(to.tasks.map(({ key }) => key));
  for (const [index, { key }] of from.tasks.entries()) {
    const state = states[index]!;
    if (!kept.has(key) && (state === 'live' || state === 'dead')) {
      const what = state === 'live' ? 'waits or runs' : 'is a dead letter';
      throw new CannotMove('task_removed', `Its task "${key}" ${what}, and the new version does not have it.`);
    }
  }
  const stateByKey = new Map(from.tasks.map(({ key }, index) => [key, states[index]!]));
  return encodeTaskStates(to.tasks.map(({ key }) => stateByKey.get(key) ?? 'pending'));
}

/** Whether the states of all tasks mean in one version what they mean in the other. */
function hasSameFlow(from: WorkflowVersion, to: WorkflowVersion): boolean {
  const describe = ({ tasks }: WorkflowVersion) => {
    const { isKept } = planRun(tasks);
    return JSON.stringify(
      tasks.map(({ key, after, forEach, in: scope, when, onFailure, continueOnFailure, reads }, index) => {
        return [key, after, forEach, scope, when, onFailure, continueOnFailure, reads, isKept[index]];
      }),
    );
  };
  return describe(from) === describe(to);
}

function moveTimer(timer: LiveTimer, version: WorkflowVersion): MovedTimer {
  const task = version.tasks.find(({ key }) => key === timer.task_key) as StoredTask;
  const concurrency = task.concurrency ? JSON.stringify(task.concurrency) : null;
  const priority = toStoredPriority(task.priority ?? version.priority);
  const { id, run_id: runId, task_key: taskKey, path } = timer;
  const moved = { id, runId, taskKey, path, timeoutMs: task.timeoutMs ?? null, concurrency, priority };
  // One that got its signal waits for nothing more.
  const hasWaited = timer.state === 'running' || timer.attempt > 0 || timer.signal !== null;
  if (hasWaited) return { ...moved, dueAt: null, waitsFor: null, pullQueue: choosePullQueue(task, timer.waits_for) };
  const { due, waitsFor } = computeWait(task.delay, { anchorAt: timer.created_at, timeZone: version.timeZone });
  const pullQueue = choosePullQueue(task, waitsFor);
  if (due.kind === 'due') return { ...moved, dueAt: due.dueAt, waitsFor, pullQueue };
  throw new CannotMove('date_past', `The date of its task "${task.key}" is past, and the rule gives no due time then.`);
}
