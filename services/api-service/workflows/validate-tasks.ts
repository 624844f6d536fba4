import type { WorkflowTask } from '@punctual/contracts';
import {
  type DelayRule,
  EXPRESSIONS_PER_WORKFLOW_MAX,
  FAULTS_MAX,
  type Fault,
  type TaskDelay,
  validateSignalDelay,
  validateTaskFlow,
  validateTaskGraph,
} from '@punctual/domain';
import type { ApiContext } from '../context.ts';
import { findActionFaults } from '../timers/action-faults.ts';
import { chooseDueTime } from '../timers/due-time.ts';
import { type CompiledTask, compileTask } from './compile-tasks.ts';

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
  const compiled: CompiledTask[] = [];
  const tooMany = checkExpressionCount(tasks, (next) => compiled.push(next));
  if (tooMany.length > 0) return tooMany;
  // What is wrong with the flow can only be said of a graph.
  if (faults.length === 0) faults.push(...validateTaskFlow(compiled.map(({ task }) => task)));
  for (const [index, task] of tasks.entries()) {
    if (faults.length >= FAULTS_MAX) break;
    faults.push(...prefix(`/${index}`, validateTask(task, checks, compiled[index])));
  }
  return faults.slice(0, FAULTS_MAX);
}

/** The fault of having more expressions than a workflow may. `see` is told of each task that was compiled for that. */
export function checkExpressionCount(tasks: readonly WorkflowTask[], see: (compiled: CompiledTask) => void): Fault[] {
  let expressionCount = 0;
  for (const task of tasks) {
    const next = compileTask(task);
    see(next);
    expressionCount += next.expressionCount;
    if (expressionCount > EXPRESSIONS_PER_WORKFLOW_MAX) {
      return [{ pointer: '', detail: `A workflow has at most ${EXPRESSIONS_PER_WORKFLOW_MAX} expressions.` }];
    }
  }
  return [];
}

/** What is wrong with one task by itself; pointers are relative to it. */
export function validateTask(
  task: WorkflowTask,
  { context, timeZone, anchorAt }: TaskChecks,
  compiled = compileTask(task),
): Fault[] {
  const delay = task.delay as TaskDelay | undefined;
  const signal = delay?.type === 'signal' ? delay : undefined;
  const rule = signal ? signal.timeout : (delay as DelayRule | undefined);
  const due = chooseDueTime({ delay: rule, timeZone }, anchorAt, context);
  const dueFaults = due.kind === 'fault' ? due.faults : [];
  // Templates are checked as templates, and what they stand in with something in their place.
  const { checked: action, faults } = compiled;
  return [
    ...faults,
    ...(signal
      ? [
          ...prefix('/delay', validateSignalDelay(signal)),
          ...dueFaults.map((fault) => ({ ...fault, pointer: fault.pointer.replace(/^\/delay/, '/delay/timeout') })),
        ]
      : dueFaults),
    ...prefix('/action', findActionFaults(action, JSON.stringify(action), context)),
  ];
}

/** Puts where something stands before the pointers into it. */
export function prefix(pointer: string, faults: readonly Fault[]): Fault[] {
  return faults.map((fault) => ({ ...fault, pointer: pointer + fault.pointer }));
}
