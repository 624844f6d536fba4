import type { TaskNode } from './task-graph.ts';

/**
 * A run's tasks as the run's row stores them: one letter a task, in the order of the workflow version's tasks.
 * A task is `pending` until its parents let it begin, and `live` while its timer is.
 */
export type TaskState = 'pending' | 'live' | 'succeeded' | 'dead' | 'cancelled' | 'skipped';

export type RunStatus = 'running' | 'succeeded' | 'failed' | 'cancelled';

const LETTERS: Record<TaskState, string> = {
  pending: 'p',
  live: 'l',
  succeeded: 's',
  dead: 'd',
  cancelled: 'c',
  skipped: 'k',
};
const STATES = Object.fromEntries(Object.entries(LETTERS).map(([state, letter]) => [letter, state])) as Record<
  string,
  TaskState
>;

/** Throws RangeError on a letter that no version of this code wrote. */
export function decodeTaskStates(text: string): TaskState[] {
  return Array.from(text, (letter) => {
    const state = STATES[letter];
    if (state === undefined) throw new RangeError(`"${letter}" is not the letter of a task state`);
    return state;
  });
}

export function encodeTaskStates(states: readonly TaskState[]): string {
  return states.map((state) => LETTERS[state]).join('');
}

/** The states with which a run begins: nothing has begun. */
export function beginTaskStates(tasks: readonly TaskNode[]): TaskState[] {
  return tasks.map(() => 'pending');
}

/**
 * Tasks (by index) that may begin now: they are pending and each parent has succeeded or was skipped.
 * A skipped parent lets its children begin, since only its own action was left out; a dead or a cancelled one never does.
 */
export function findReadyTasks(tasks: readonly TaskNode[], states: readonly TaskState[]): number[] {
  const stateByKey = new Map(tasks.map((task, index) => [task.key, states[index]!]));
  const isDone = (key: string) => stateByKey.get(key) === 'succeeded' || stateByKey.get(key) === 'skipped';
  return tasks.flatMap((task, index) =>
    states[index] === 'pending' && (task.after ?? []).every(isDone) ? [index] : [],
  );
}

/**
 * The status of a run whose ready tasks have all begun: `running` while a timer of it is live, then `failed` when
 * a task ended dead, `cancelled` when one was cancelled, else `succeeded`. Tasks still pending then never begin.
 */
export function computeRunStatus(states: readonly TaskState[]): RunStatus {
  if (states.includes('live')) return 'running';
  if (states.includes('dead')) return 'failed';
  if (states.includes('cancelled') || states.includes('pending')) return 'cancelled';
  return 'succeeded';
}
