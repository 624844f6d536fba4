import {
  computeRunStatus,
  computeWait,
  createId,
  decodeTaskStates,
  encodeTaskStates,
  findReadyChildren,
  findReadyTasks,
  findTaskIndex,
  planRun,
  type RunStatus,
  type TaskState,
  toStoredPriority,
  type Wait,
} from '@punctual/domain';
import { inTransaction, type Transaction, type TransactionPool } from '../connect.ts';
import { choosePullQueue } from '../pull-queue.ts';
import { createDeadTimers } from '../queries/create-dead-timers.ts';
import { createStartedTimers } from '../queries/create-started-timers.ts';
import { createSkippedTimers, createTimers, TIMERS_PER_INSERT_MAX } from '../queries/create-timers.ts';
import type { FinishedAttempt } from '../queries/finish-timers.ts';
import type { NewTimer } from '../queries/new-timer-columns.ts';
import { createParkedTimers, PARKED_FOR_RUN } from '../queries/pause-timers.ts';
import { deliverSignals, type SignalWish } from '../queries/run-signals.ts';
import type { StartedTimer } from '../queries/start-timers.ts';
import { nameStatement } from '../statement.ts';
import type { StoredTask, WorkflowVersion, WorkflowVersions } from '../workflow-versions.ts';
import { nameLanes } from './name-lanes.ts';
import { beginReadyNodes, describeTree, type MappedRun, noteEnds, storeOutputs } from './run-trees.repository.ts';

/** A run's row, locked until the transaction ends. */
export interface LockedRun {
  id: string;
  tenant_id: string;
  workflow_id: string;
  workflow_version: number;
  partition: number;
  status: 'running' | 'paused' | 'succeeded' | 'failed' | 'cancelled';
  task_states: string;
  created_at: number;
  /** The database's time at the lock (epoch ms): the anchor of tasks that begin in this transaction. */
  locked_at: number;
}

/** A timer of a run that just left the live ones. */
export interface EndedTask {
  run_id: string | null;
  task_key: string | null;
  /** Of a mapped task: which element it was for. */
  path?: string | null;
  state: Exclude<TaskState, 'pending' | 'live'>;
  /** JSON text, if others may need it. */
  output?: string | null | undefined;
}

/** What a run is told of a timer that `finishTimers` ended. One that is skipped was left out by its condition. */
export function describeEnd<Ended extends { id: string; state: FinishedAttempt['state'] }>(
  timer: Ended,
  outputs: ReadonlyMap<string, string | undefined>,
) {
  const state = timer.state === 'skipped' ? ('excluded' as const) : timer.state;
  return { ...timer, state, output: outputs.get(timer.id) };
}

// Locks the runs in the order of their ids. Every transaction that touches runs and timers takes the runs first.
const lockRows = nameStatement<LockedRun>(
  'lock_runs',
  `SELECT id, tenant_id, workflow_id, workflow_version, partition, status, task_states, created_at,
     date_part('epoch', clock_timestamp()) * 1000 AS locked_at
   FROM runs WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE`,
);

/** Locks runs until the transaction of `client` ends. Unknown ids are left out. */
export function lockRuns(client: Transaction, runIds: readonly string[]): Promise<LockedRun[]> {
  return lockRows(client, [runIds]);
}

const updateRows = nameStatement(
  'advance_runs',
  `UPDATE runs AS r SET task_states = u.task_states, status = u.status,
     finished_at = CASE WHEN u.status IN ('running', 'paused') THEN NULL ELSE coalesce(r.finished_at, clock_timestamp()) END
   FROM unnest($1::uuid[], $2::text[], $3::text[]) AS u(id, task_states, status) WHERE r.id = u.id`,
);

/** For a worker that goes on with the tasks that it unlocked. */
export interface StartHere {
  /** Tasks that it has room for, TIMERS_PER_INSERT_MAX at most. */
  countMax: number;
  /** As of `startTimers`. */
  timeoutMsDefault: number;
  leaseMarginMs: number;
  /** Told what the transaction is about to start: when its commit fails, nobody knows whether it did. */
  onStarting?: (tasks: readonly { id: string; runId: string }[]) => void;
}

/** How runs are advanced. */
export interface AdvanceOptions {
  startHere?: StartHere | undefined;
  /** Looks at all tasks of the runs, not only at those behind what ended: for a run of which something was lost. */
  isWhole?: boolean;
}

/**
 * In one transaction: locks the runs, lets `end` end some of their timers, begins the tasks that this unlocks and
 * sets the runs' states. Returns what `end` returned, and the tasks that were started in the same transaction, as far as
 * `startHere` allows: the caller has to make their attempts.
 */
export async function endRunTimers<T extends EndedTask>(
  pool: TransactionPool,
  versions: WorkflowVersions,
  runIds: readonly string[],
  end: (client: Transaction, runs: readonly LockedRun[]) => Promise<T[]>,
  startHere?: StartHere,
): Promise<{ ended: T[]; started: StartedTimer[] }> {
  return inTransaction(pool, async (client) => {
    const runs = await lockRuns(client, [...new Set(runIds)]);
    const ended = await end(client, runs);
    const started = await advanceRuns(client, versions, runs, ended, { startHere });
    return { ended, started };
  });
}

/**
 * Writes down what became of tasks of locked runs, begins the tasks that may begin now (by storing their timers), and
 * sets each run's status. A run that was cancelled begins nothing more and stays cancelled; what begins in one that is paused
 * is paused, too. Returns the tasks that
 * `startHere` let it start at once.
 */
export async function advanceRuns(
  client: Transaction,
  versions: WorkflowVersions,
  runs: readonly LockedRun[],
  ended: readonly EndedTask[],
  { startHere, isWhole = false }: AdvanceOptions = {},
): Promise<StartedTimer[]> {
  const endedByRun = Map.groupBy(ended, (task) => task.run_id);
  const advanced: { id: string; taskStates: string; status: string }[] = [];
  const timers: NewTimer[] = [];
  const parked: NewTimer[] = [];
  const startable: NewTimer[] = [];
  const startableMax = startHere?.countMax ?? 0;
  const skipped: NewTimer[] = [];
  // One anchor for all of the transaction, so that a due time is reckoned once for all runs of a version.
  const anchorAt = Math.ceil(runs.reduce((latest, run) => Math.max(latest, run.locked_at), 0));
  const dueTimes: DueTimes = new Map();
  const mapped: { run: LockedRun; progress: MappedRun }[] = [];
  const begin = (run: LockedRun, begun: readonly NewTimer[]) => {
    for (const timer of begun) {
      // Those that workers of the customer lease are not ours to start, and those with a lane have to wait for their turn. For a
      // signal's time-out it is too early before the signals that are kept were looked through.
      const isStartable =
        run.status === 'running' &&
        timer.dueAt <= anchorAt &&
        startable.length < startableMax &&
        timer.pullQueue == null &&
        timer.concurrency == null &&
        timer.waitsFor === null;
      (isStartable ? startable : run.status === 'paused' ? parked : timers).push(timer);
    }
  };
  const note = (run: LockedRun, taskStates: string, computed: RunStatus) => {
    const status =
      run.status === 'cancelled' || (run.status === 'paused' && computed === 'running') ? run.status : computed;
    advanced.push({ id: run.id, taskStates, status });
  };
  for (const run of runs) {
    const version = await versions.read(client, run.workflow_id, run.workflow_version);
    if (!planRun(version.tasks).isPlain) {
      const anchored = { ...run, locked_at: anchorAt };
      mapped.push({ run, progress: noteEnds(anchored, version, endedByRun.get(run.id) ?? [], isWhole) });
      continue;
    }
    const states = decodeTaskStates(run.task_states);
    for (const task of endedByRun.get(run.id) ?? []) {
      states[findTaskIndex(version.tasks, task.task_key)] = task.state;
    }
    if (run.status !== 'cancelled') {
      const begun: NewTimer[] = [];
      beginReadyTasks({ ...run, locked_at: anchorAt }, version, states, begun, skipped, dueTimes);
      begin(run, begun);
    }
    note(run, encodeTaskStates(states), computeRunStatus(states));
  }
  const trees = mapped.map(({ progress }) => progress);
  if (mapped.length > 0) {
    await storeOutputs(
      client,
      mapped.map(({ run, progress }) => ({ run, version: progress.version })),
      endedByRun,
    );
    const begun = await beginReadyNodes(client, trees, dueTimes);
    const timersByRun = Map.groupBy(begun.timers, (timer) => timer.runId);
    for (const { run, progress } of mapped) {
      begin(run, timersByRun.get(run.id) ?? []);
      const { taskStates, status } = describeTree(progress);
      note(run, taskStates, status);
    }
    skipped.push(...begun.skipped);
    await nameLanes(client, begun.dead, trees);
    for (let start = 0; start < begun.dead.length; start += TIMERS_PER_INSERT_MAX) {
      await createDeadTimers(client, begun.dead.slice(start, start + TIMERS_PER_INSERT_MAX));
    }
  }
  await nameLanes(client, [...timers, ...parked, ...skipped], trees);
  for (let start = 0; start < timers.length; start += TIMERS_PER_INSERT_MAX) {
    await createTimers(client, timers.slice(start, start + TIMERS_PER_INSERT_MAX));
  }
  await createParkedTimers(client, parked, PARKED_FOR_RUN);
  await deliverSignals(client, await listWishes(client, versions, [...timers, ...parked]));
  for (let start = 0; start < skipped.length; start += TIMERS_PER_INSERT_MAX) {
    await createSkippedTimers(client, skipped.slice(start, start + TIMERS_PER_INSERT_MAX));
  }
  if (advanced.length > 0) {
    await updateRows(client, [
      advanced.map((run) => run.id),
      advanced.map((run) => run.taskStates),
      advanced.map((run) => run.status),
    ]);
  }
  // Last, so that a lease begins, and lateness is measured, as short before the commit as can be.
  if (!startHere || startable.length === 0) return [];
  startHere.onStarting?.(startable.map(({ id, runId }) => ({ id, runId: runId! })));
  return createStartedTimers(client, startable, startHere.timeoutMsDefault, startHere.leaseMarginMs);
}

/** The signals for which these timers wait. */
async function listWishes(
  client: Transaction,
  versions: WorkflowVersions,
  timers: readonly NewTimer[],
): Promise<SignalWish[]> {
  const wishes: SignalWish[] = [];
  for (const { runId, waitsFor, workflowId, workflowVersion } of timers) {
    if (waitsFor === null) continue;
    const version = await versions.read(client, workflowId!, workflowVersion!);
    wishes.push({ runId: runId!, name: waitsFor, version });
  }
  return wishes;
}

/** How tasks wait, reckoned from one anchor. */
export type DueTimes = Map<StoredTask, Wait>;

/** What of a run its tasks' timers carry. `locked_at` is their anchor. */
export type BeginningRun = Pick<LockedRun, 'id' | 'tenant_id' | 'partition' | 'locked_at'>;

/**
 * Marks in `states` every task that may begin and appends its timer to `timers`, or to `skipped` when its date is past
 * and its rule says so; a task that is skipped may let others begin, so this goes on until nothing is ready. `dueTimes`
 * remembers what was reckoned for other runs with the same anchor.
 */
export function beginReadyTasks(
  run: BeginningRun,
  version: WorkflowVersion,
  states: TaskState[],
  timers: NewTimer[],
  skipped: NewTimer[],
  dueTimes: DueTimes = new Map(),
): void {
  const anchorAt = Math.ceil(run.locked_at);
  const ready = findReadyTasks(version.tasks, states);
  for (let index = ready.pop(); index !== undefined; index = ready.pop()) {
    if (states[index] !== 'pending') continue;
    const task = version.tasks[index]!;
    let wait = dueTimes.get(task);
    if (!wait) {
      wait = computeWait(task.delay, { anchorAt, timeZone: version.timeZone });
      dueTimes.set(task, wait);
    }
    const { due, waitsFor } = wait;
    // `reject` refuses a date that is past when the workflow is created; one that passes later is left out.
    const isSkipped = due.kind !== 'due';
    states[index] = isSkipped ? 'skipped' : 'live';
    if (isSkipped) ready.push(...findReadyChildren(version.tasks, states, index));
    (isSkipped ? skipped : timers).push({
      id: createId(),
      tenantId: run.tenant_id,
      partition: run.partition,
      dueAt: due.kind === 'due' ? due.dueAt : anchorAt,
      createdAt: anchorAt,
      runId: run.id,
      workflowId: version.workflowId,
      workflowVersion: version.version,
      taskKey: task.key,
      timeZone: null,
      delay: null,
      action: null,
      payload: null,
      retry: null,
      timeoutMs: task.timeoutMs ?? null,
      externalId: null,
      labels: null,
      pullQueue: choosePullQueue(task, waitsFor),
      concurrency: task.concurrency ? JSON.stringify(task.concurrency) : null,
      priority: toStoredPriority(task.priority ?? version.priority),
      waitsFor,
    });
  }
}
