import type { WorkflowTask } from '@punctual/contracts';
import { type Action, type DelayRule, FAULTS_MAX, type Fault, validateTaskGraph } from '@punctual/domain';
import type { ApiContext } from '../context.ts';
import { findActionFaults } from '../timers/action-faults.ts';
import { chooseDueTime } from '../timers/due-time.ts';

/**
 * A workflow's tasks as JSON text, in bytes of UTF-8: every worker reads them whole when it meets a version for the
 * first time, and task after task could otherwise add up to 64 MiB.
 */
export const WORKFLOW_TASKS_BYTES_MAX = 1_048_576;

/** What the checks need besides the tasks. */
export interface TaskChecks {
  context: Pick<ApiContext, 'egressPolicy' | 'maxWaitMs'>;
  /** The workflow's zone, in IANA spelling. */
  timeZone: string;
  /** Epoch ms: what is past at this instant is refused where the rule says `reject`. */
  anchorAt: number;
}

/**
 * What is wrong with tasks that their schema let through: the graph, the delays, the actions. Pointers are relative
 * to the list of tasks. At most FAULTS_MAX are given.
 */
export function validateTasks(tasks: readonly WorkflowTask[], checks: TaskChecks): Fault[] {
  const faults = validateTaskGraph(tasks);
  for (const [index, task] of tasks.entries()) {
    if (faults.length >= FAULTS_MAX) break;
    faults.push(...prefix(`/${index}`, validateTask(task, checks)));
  }
  return faults.slice(0, FAULTS_MAX);
}

/** What is wrong with one task by itself; pointers are relative to it. */
export function validateTask(task: WorkflowTask, { context, timeZone, anchorAt }: TaskChecks): Fault[] {
  const due = chooseDueTime({ delay: task.delay as DelayRule | undefined, timeZone }, anchorAt, context);
  const action = task.action as Action;
  return [
    ...(due.kind === 'fault' ? due.faults : []),
    ...prefix('/action', findActionFaults(action, JSON.stringify(action), context)),
  ];
}

/** Puts where something stands before the pointers into it. */
export function prefix(pointer: string, faults: readonly Fault[]): Fault[] {
  return faults.map((fault) => ({ ...fault, pointer: pointer + fault.pointer }));
}
