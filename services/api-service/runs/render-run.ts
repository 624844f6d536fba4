import {
  INSTANCES_OF_RUN_SHOWN_MAX,
  INSTANCES_SHOWN_MAX,
  type Run,
  type RunSummary,
  type RunTask,
  type RunTaskInstance,
} from '@punctual/contracts';
import type { RunRow, RunTimer, WorkflowVersion } from '@punctual/database';
import { decodeRunTree, formatPath, type TaskPath, type TaskState, visitStates } from '@punctual/domain';

/**
 * A run as the api shows it. `timers` are those of its tasks, as they were when the run's row was read; of a task that runs once
 * per element, the first of them.
 */
export function renderRun(run: RunRow, timers: readonly RunTimer[], version: WorkflowVersion): Run {
  const tree = decodeRunTree(version.tasks, run.task_states);
  const { plan } = tree;
  const mapped = plan.scopeOf.filter((scope) => scope !== 0).length;
  const shownMax = Math.min(INSTANCES_SHOWN_MAX, Math.floor(INSTANCES_OF_RUN_SHOWN_MAX / Math.max(1, mapped)));
  const timersByName = new Map(timers.map((timer) => [`${timer.taskKey} ${timer.path ?? ''}`, timer]));
  const tasks = version.tasks.map(({ key }, index): RunTask & { counts?: Counts; instances?: RunTaskInstance[] } =>
    plan.scopeOf[index] === 0
      ? { key, status: 'pending', attempts: 0 }
      : { key, status: 'pending', attempts: 0, counts: { ...NO_COUNTS }, instances: [] },
  );
  const show = (index: number, state: TaskState, path: TaskPath) => {
    const timer = timersByName.get(`${version.tasks[index]!.key} ${formatPath(path) ?? ''}`);
    return renderProgress(nameStatus(state, timer, run), timer);
  };
  visitStates(tree, (index, state, path, isOpening) => {
    const task = tasks[index]!;
    if (!task.counts) {
      Object.assign(task, show(index, state, path));
      return;
    }
    // Of a scope that is to be opened yet there are no instances; one that can not be opened shows why.
    if (isOpening && state !== 'dead' && state !== 'live') return;
    const shown = task.instances!.length < shownMax ? show(index, state, path) : undefined;
    if (shown) task.instances!.push({ path: [...path], ...shown });
    task.counts.total += 1;
    task.counts[nameCount(shown?.status ?? nameStatus(state, undefined, run))] += 1;
    task.attempts += shown?.attempts ?? 0;
  });
  for (const task of tasks) if (task.counts) task.status = summarise(task.counts, run);
  return { ...renderRunSummary(run), tasks };
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

type Counts = NonNullable<RunTask['counts']>;
const NO_COUNTS: Counts = { total: 0, pending: 0, live: 0, succeeded: 0, dead: 0, cancelled: 0, skipped: 0 };

function renderProgress(status: RunTask['status'], timer: RunTimer | undefined) {
  return {
    status,
    ...(timer && { timerId: timer.id, dueAt: new Date(timer.dueAt).toISOString() }),
    ...(timer?.waitsFor != null && { waitsFor: timer.waitsFor }),
    attempts: timer?.attempt ?? 0,
    ...(timer?.startedAt != null && { startedAt: new Date(timer.startedAt).toISOString() }),
    ...(timer?.finishedAt != null && { finishedAt: new Date(timer.finishedAt).toISOString() }),
    ...readOutput(timer),
  };
}

/** Bytes of an answer that are kept with an attempt: text of that length may have been cut off. */
const RESPONSE_BODY_BYTES_MAX = 4_096;

/** What a task yielded: as it is kept for others, else as far as its answer stands with its attempt. */
function readOutput(timer: RunTimer | undefined): { output?: unknown } {
  const text = timer?.output ?? (timer?.state === 'succeeded' ? timer.responseBody : undefined);
  if (text == null) return {};
  if (timer!.output == null && Buffer.byteLength(text) >= RESPONSE_BODY_BYTES_MAX - 3) return {};
  try {
    return { output: JSON.parse(text) };
  } catch {
    return {};
  }
}

function nameStatus(
  state: TaskState,
  timer: RunTimer | undefined,
  { status, finished_at }: Pick<RunRow, 'status' | 'finished_at'>,
): RunTask['status'] {
  // A task that never began will not, once its run has ended.
  if (state === 'pending') return finished_at === null ? 'pending' : status === 'succeeded' ? 'skipped' : 'cancelled';
  if (state === 'live') return timer?.state ?? 'scheduled';
  return state === 'excluded' ? 'skipped' : state;
}

function nameCount(status: RunTask['status']): Exclude<keyof Counts, 'total'> {
  return status === 'scheduled' || status === 'running' || status === 'paused' ? 'live' : status;
}

/** What all instances of a task come to. */
function summarise(counts: Counts, run: RunRow): RunTask['status'] {
  if (counts.live > 0) return 'running';
  if (counts.total === 0) return nameStatus('pending', undefined, run);
  if (counts.pending > 0) return counts.pending === counts.total ? 'pending' : 'running';
  if (counts.dead > 0) return 'dead';
  if (counts.cancelled > 0) return 'cancelled';
  return counts.succeeded > 0 ? 'succeeded' : 'skipped';
}
