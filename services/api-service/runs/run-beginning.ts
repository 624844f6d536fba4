import type { Run } from '@punctual/contracts';
import {
  type BegunTimers,
  beginFirstNodes,
  beginReadyTasks,
  type ChangeOrigin,
  type DeadTimer,
  describeTree,
  type NewRun,
  type NewTimer,
  RunFacts,
  type RunTimer,
  type WorkflowVersion,
} from '@punctual/database';
import {
  beginRunTree,
  beginTaskStates,
  type CostPurse,
  computeRunStatus,
  createId,
  encodeTaskStates,
  listFirstNodes,
  planRun,
} from '@punctual/domain';
import { renderRun } from './render-run.ts';

/** A run that somebody wants begun. JSON as text, absent values as null. */
export interface RunOrder {
  tenantId: string;
  workflowId: string;
  input: string | null;
  externalId: string | null;
  labels: string | null;
  /** Nothing of it starts until it is resumed. */
  isPaused: boolean;
  origin: ChangeOrigin;
}

/** A run about to be stored, with its timers, and what it looks like then. */
export interface BegunRun {
  run: NewRun;
  timers: NewTimer[];
  skipped: NewTimer[];
  dead: DeadTimer[];
  shown: Run;
}

/** How every run of a workflow version begins at one instant: the same but for ids. */
export interface RunBeginning {
  version: WorkflowVersion;
  /** Epoch ms. */
  anchorAt: number;
  status: NewRun['status'];
  taskStates: string;
  timers: NewTimer[];
  skipped: NewTimer[];
  dead: DeadTimer[];
}

/**
 * Works out the beginning of runs once for all of them: the due time of a date costs far more than a copy. Where conditions may
 * ask what a run was begun with, `input` (JSON text) is what this one was, and `purse` what they may cost.
 */
export function prepareBeginning(
  version: WorkflowVersion,
  anchorAt: number,
  input: string | null,
  purse: CostPurse,
): RunBeginning {
  if (!planRun(version.tasks).isPlain) return prepareMapped(version, anchorAt, input, purse);
  const states = beginTaskStates(version.tasks);
  const timers: NewTimer[] = [];
  const skipped: NewTimer[] = [];
  // The ids are those of each run, later.
  beginReadyTasks({ id: '', tenant_id: '', partition: 0, locked_at: anchorAt }, version, states, timers, skipped);
  const taskStates = encodeTaskStates(states);
  return { version, anchorAt, status: computeRunStatus(states), taskStates, timers, skipped, dead: [] };
}

/** Whether runs of a version may begin differently, so that a beginning is good for one of them only. */
export function beginsByInput(version: WorkflowVersion): boolean {
  return version.tasks.some(({ when }) => when !== undefined);
}

function prepareMapped(
  version: WorkflowVersion,
  anchorAt: number,
  input: string | null,
  purse: CostPurse,
): RunBeginning {
  const tree = beginRunTree(version.tasks);
  const facts = new RunFacts(tree, purse);
  facts.setInput(input);
  const begun: BegunTimers = { timers: [], skipped: [], dead: [] };
  const run = { id: '', tenant_id: '', partition: 0, locked_at: anchorAt };
  const progress = { run, version, tree, facts, nodes: listFirstNodes(tree) };
  beginFirstNodes(progress, begun);
  return { version, anchorAt, ...describeTree(progress), ...begun };
}

/** One run of `order` that begins so. */
export function beginRun(beginning: RunBeginning, id: string, order: RunOrder, partition: number): BegunRun {
  const { version, anchorAt, taskStates } = beginning;
  // One that has ended at once has nothing to hold back.
  const status = order.isPaused && beginning.status === 'running' ? 'paused' : beginning.status;
  const own = <Timer extends NewTimer>(timer: Timer): Timer => ({
    ...timer,
    id: createId(),
    runId: id,
    tenantId: order.tenantId,
    partition,
  });
  const timers = beginning.timers.map((timer) => own(timer));
  const skipped = beginning.skipped.map((timer) => own(timer));
  const dead = beginning.dead.map((timer) => own(timer));
  const run = { ...order, id, workflowVersion: version.version, partition, status, taskStates, createdAt: anchorAt };
  const shown = renderRun(
    {
      id,
      tenant_id: order.tenantId,
      workflow_id: version.workflowId,
      workflow_version: version.version,
      partition,
      status,
      task_states: taskStates,
      input: order.input,
      external_id: order.externalId,
      labels: order.labels === null ? null : JSON.parse(order.labels),
      created_at: anchorAt,
      finished_at: status === 'running' || status === 'paused' ? null : anchorAt,
      paused_at: status === 'paused' ? anchorAt : null,
    },
    [
      ...timers.map((timer) => showTimer(timer, status === 'paused' ? 'paused' : 'scheduled')),
      ...skipped.map((timer) => showTimer(timer, 'skipped')),
      ...dead.map((timer) => showTimer(timer, 'dead')),
    ],
    version,
  );
  return { run, timers, skipped, dead, shown };
}

function showTimer(timer: NewTimer, state: 'scheduled' | 'paused' | 'skipped' | 'dead'): RunTimer {
  const { id, dueAt, createdAt } = timer;
  return {
    id,
    taskKey: timer.taskKey!,
    path: timer.path ?? null,
    state,
    dueAt,
    attempt: state === 'dead' ? 1 : 0,
    startedAt: null,
    finishedAt: state === 'scheduled' || state === 'paused' ? null : createdAt,
    responseBody: null,
    output: null,
  };
}
