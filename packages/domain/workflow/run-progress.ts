import type { TaskNode } from './task-graph.ts';

/**
 * A run's tasks as the run's row stores them: one letter a task, in the order of the workflow version's tasks.
 * A task is `pending` until its parents let it begin, and `live` while its timer is. It is `skipped` when its date is past,
 * and `excluded` when a condition left it out: then what is behind it alone is left out, too.
 */
export type TaskState = 'pending' | 'live' | 'succeeded' | 'dead' | 'cancelled' | 'skipped' | 'excluded';

export type RunStatus = 'running' | 'succeeded' | 'failed' | 'cancelled';

const LETTERS: Record<TaskState, string> = {
  pending: 'p',
  live: 'l',
  succeeded: 's',
  dead: 'd',
  cancelled: 'c',
  skipped: 'k',
  excluded: 'n',
};
const STATES = Object.fromEntries(Object.entries(LETTERS).map(([state, letter]) => [letter, state])) as Record<
  string,
  TaskState
>;

/** Throws RangeError on a letter that no version of this code wrote. */
export function decodeTaskStates(text: string): TaskState[] {
  return Array.from(text, decodeTaskState);
}

export function encodeTaskStates(states: readonly TaskState[]): string {
  return states.map(encodeTaskState).join('');
}

/** The same for one letter. */
export function decodeTaskState(letter: string): TaskState {
  const state = STATES[letter];
  if (state === undefined) throw new RangeError(`"${letter}" is not the letter of a task state`);
  return state;
}

export function encodeTaskState(state: TaskState): string {
  return LETTERS[state];
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
  const { parents } = linkTasks(tasks);
  return tasks.flatMap((_, index) => (isReady(parents, states, index) ? [index] : []));
}

/** Of the tasks that wait for the one at `index`, those that may begin now. */
export function findReadyChildren(tasks: readonly TaskNode[], states: readonly TaskState[], index: number): number[] {
  const { parents, children } = linkTasks(tasks);
  return children[index]!.filter((child) => isReady(parents, states, child));
}

/** The place of the task with this key; -1 when there is none. */
export function findTaskIndex(tasks: readonly TaskNode[], key: string | null): number {
  return key === null ? -1 : (linkTasks(tasks).indexByKey.get(key) ?? -1);
}

interface Links {
  indexByKey: ReadonlyMap<string, number>;
  parents: readonly number[][];
  children: readonly number[][];
}

// A workflow version's tasks never change, and each outcome of its runs asks for them.
const linksByTasks = new WeakMap<readonly TaskNode[], Links>();

function linkTasks(tasks: readonly TaskNode[]): Links {
  let links = linksByTasks.get(tasks);
  if (!links) {
    const indexByKey = new Map(tasks.map((task, index) => [task.key, index]));
    const parents = tasks.map((task) => (task.after ?? []).map((key) => indexByKey.get(key)!));
    const children: number[][] = tasks.map(() => []);
    parents.forEach((ofTask, index) => {
      for (const parent of ofTask) children[parent]!.push(index);
    });
    links = { indexByKey, parents, children };
    linksByTasks.set(tasks, links);
  }
  return links;
}

function isReady(parents: Links['parents'], states: readonly TaskState[], index: number): boolean {
  const isDone = (parent: number) => states[parent] === 'succeeded' || states[parent] === 'skipped';
  return states[index] === 'pending' && parents[index]!.every(isDone);
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
