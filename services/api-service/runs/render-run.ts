import type { Run, RunSummary, RunTask } from '@punctual/contracts';
import type { RunRow, RunTimer, WorkflowVersion } from '@punctual/database';
import { decodeTaskStates, type TaskState } from '@punctual/domain';

/** A run as the api shows it. `timers` are those of its tasks, as they were when the run's row was read. */
export function renderRun(run: RunRow, timers: readonly RunTimer[], version: WorkflowVersion): Run {
  const states = decodeTaskStates(run.task_states);
  const timersByTask = new Map(timers.map((timer) => [timer.taskKey, timer]));
  const hasEnded = run.finished_at !== null;
  return {
    ...renderRunSummary(run),
    tasks: version.tasks.map((task, index) =>
      renderTask(task.key, states[index]!, timersByTask.get(task.key), hasEnded),
    ),
  };
}

/** A run without its tasks, as lists show it. */
export function renderRunSummary(run: RunRow): RunSummary {
  return {
    id: run.id,
    workflowId: run.workflow_id,
    workflowVersion: run.workflow_version,
    status: run.status,
    ...(run.input !== null && { input: JSON.parse(run.input) }),
    ...(run.external_id !== null && { externalId: run.external_id }),
    ...(run.labels && { labels: run.labels }),
    createdAt: new Date(run.created_at).toISOString(),
    ...(run.finished_at !== null && { finishedAt: new Date(run.finished_at).toISOString() }),
  };
}

function renderTask(key: string, state: TaskState, timer: RunTimer | undefined, hasEnded: boolean): RunTask {
  return {
    key,
    status: nameStatus(state, timer, hasEnded),
    ...(timer && { timerId: timer.id, dueAt: new Date(timer.dueAt).toISOString() }),
    attempts: timer?.attempt ?? 0,
    ...(timer?.startedAt != null && { startedAt: new Date(timer.startedAt).toISOString() }),
    ...(timer?.finishedAt != null && { finishedAt: new Date(timer.finishedAt).toISOString() }),
  };
}

function nameStatus(state: TaskState, timer: RunTimer | undefined, hasEnded: boolean): RunTask['status'] {
  // A task that never began will not, once its run has ended.
  if (state === 'pending') return hasEnded ? 'cancelled' : 'pending';
  if (state === 'live') return timer?.state ?? 'scheduled';
  return state;
}
