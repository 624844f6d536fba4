import type { Run } from '@punctual/contracts';
import {
  beginReadyTasks,
  type ChangeOrigin,
  type NewRun,
  type NewTimer,
  type RunTimer,
  type WorkflowVersion,
} from '@punctual/database';
import { beginTaskStates, computeRunStatus, createId, encodeTaskStates } from '@punctual/domain';
import { renderRun } from './render-run.ts';

/** A run that somebody wants begun. JSON as text, absent values as null. */
export interface RunOrder {
  tenantId: string;
  workflowId: string;
  input: string | null;
  externalId: string | null;
  labels: string | null;
  origin: ChangeOrigin;
}

/** A run about to be stored, with its timers, and what it looks like then. */
export interface BegunRun {
  run: NewRun;
  timers: NewTimer[];
  skipped: NewTimer[];
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
}

/** Works out the beginning of runs once for all of them: the due time of a date costs far more than a copy. */
export function prepareBeginning(version: WorkflowVersion, anchorAt: number): RunBeginning {
  const states = beginTaskStates(version.tasks);
  const timers: NewTimer[] = [];
  const skipped: NewTimer[] = [];
  // The ids are those of each run, later.
  beginReadyTasks({ id: '', tenant_id: '', partition: 0, locked_at: anchorAt }, version, states, timers, skipped);
  return { version, anchorAt, status: computeRunStatus(states), taskStates: encodeTaskStates(states), timers, skipped };
}

/** One run of `order` that begins so. */
export function beginRun(beginning: RunBeginning, id: string, order: RunOrder, partition: number): BegunRun {
  const { version, anchorAt, status, taskStates } = beginning;
  const own = (timer: NewTimer): NewTimer => ({
    ...timer,
    id: createId(),
    runId: id,
    tenantId: order.tenantId,
    partition,
  });
  const timers = beginning.timers.map(own);
  const skipped = beginning.skipped.map(own);
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
      finished_at: status === 'running' ? null : anchorAt,
    },
    [...timers.map((timer) => showTimer(timer, 'scheduled')), ...skipped.map((timer) => showTimer(timer, 'skipped'))],
    version,
  );
  return { run, timers, skipped, shown };
}

function showTimer(timer: NewTimer, state: 'scheduled' | 'skipped'): RunTimer {
  const { id, dueAt, createdAt } = timer;
  return {
    id,
    taskKey: timer.taskKey!,
    state,
    dueAt,
    attempt: 0,
    startedAt: null,
    finishedAt: state === 'skipped' ? createdAt : null,
  };
}
