import type { Fault } from '../fault.ts';

/** What the graph must know of a task. */
export interface TaskNode {
  key: string;
  after?: readonly string[];
}

/** Tasks that one workflow may have. Bounds a run's row and the work that one outcome can cause. */
export const TASKS_PER_WORKFLOW_MAX = 1000;
/** Parents that one task may name. */
export const PARENTS_PER_TASK_MAX = 1000;

/**
 * Says what is wrong with a workflow's tasks as a graph: repeated keys, unknown or repeated parents, cycles.
 * Pointers are relative to the list of tasks. An empty answer means that it is a DAG.
 */
export function validateTaskGraph(tasks: readonly TaskNode[]): Fault[] {
  const faults: Fault[] = [];
  const indexByKey = new Map<string, number>();
  tasks.forEach((task, index) => {
    const first = indexByKey.get(task.key);
    if (first === undefined) indexByKey.set(task.key, index);
    else faults.push({ pointer: `/${index}/key`, detail: `the key "${task.key}" is already that of task ${first}` });
  });
  tasks.forEach((task, index) => {
    const seen = new Set<string>();
    (task.after ?? []).forEach((parent, position) => {
      const pointer = `/${index}/after/${position}`;
      if (!indexByKey.has(parent)) faults.push({ pointer, detail: `there is no task "${parent}"` });
      else if (seen.has(parent)) faults.push({ pointer, detail: `"${parent}" is named twice` });
      seen.add(parent);
    });
  });
  if (faults.length === 0) {
    const cycle = findCycle(tasks, indexByKey);
    if (cycle) {
      faults.push({
        pointer: `/${cycle[0]}/after`,
        detail: `the tasks ${describeCycle(tasks, cycle)} wait for each other`,
      });
    }
  }
  return faults;
}

// Kahn's algorithm (Communications of the ACM 5, 1962): what can not be ordered lies on, or behind, a cycle.
function findCycle(tasks: readonly TaskNode[], indexByKey: ReadonlyMap<string, number>): number[] | undefined {
  const waitingFor = tasks.map((task) => task.after?.length ?? 0);
  const children: number[][] = tasks.map(() => []);
  tasks.forEach((task, index) => {
    for (const parent of task.after ?? []) children[indexByKey.get(parent)!]!.push(index);
  });
  const ready = tasks.flatMap((_, index) => (waitingFor[index] === 0 ? [index] : []));
  let ordered = 0;
  for (let next = ready.pop(); next !== undefined; next = ready.pop()) {
    ordered += 1;
    for (const child of children[next]!) {
      waitingFor[child]! -= 1;
      if (waitingFor[child] === 0) ready.push(child);
    }
  }
  if (ordered === tasks.length) return undefined;
  // Walk from any unordered task to an unordered parent until one repeats: from there on it is the cycle itself.
  const path: number[] = [];
  let current = waitingFor.findIndex((count) => count > 0);
  while (!path.includes(current)) {
    path.push(current);
    const parent = tasks[current]!.after!.find((key) => waitingFor[indexByKey.get(key)!]! > 0)!;
    current = indexByKey.get(parent)!;
  }
  return path.slice(path.indexOf(current)).toReversed();
}

function describeCycle(tasks: readonly TaskNode[], cycle: readonly number[]): string {
  const shown = cycle.slice(0, 10).map((index) => `"${tasks[index]!.key}"`);
  return shown.join(' → ') + (cycle.length > 10 ? ' → …' : '');
}
