import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomDag } from './random-graph.ts';
import { type TaskNode, validateTaskGraph } from './task-graph.ts';

/** Keys in the order in which a fault names them. */
function readNamedTasks(detail: string): string[] {
  return Array.from(detail.matchAll(/"(t\d+)"/g), (match) => match[1]!);
}

/** Adds edges that lead round `cycle`, each task waiting for the one before it. */
function plantCycle(tasks: readonly TaskNode[], cycle: readonly string[]): TaskNode[] {
  return tasks.map((task) => {
    const position = cycle.indexOf(task.key);
    if (position === -1) return task;
    const parent = cycle[(position + cycle.length - 1) % cycle.length]!;
    const after = task.after ?? [];
    return { ...task, after: after.includes(parent) ? after : [...after, parent] };
  });
}

describe('the check of a task graph', () => {
  it('accepts every DAG', () => {
    fc.assert(
      fc.property(randomDag, (tasks) => void expect(validateTaskGraph(tasks)).toEqual([])),
      { numRuns: 500 },
    );
  });

  it('refuses every graph with a cycle, and the tasks that it names do wait for each other', () => {
    const graphWithCycle = randomDag.chain((tasks) =>
      fc
        .shuffledSubarray(
          tasks.map((task) => task.key),
          { minLength: 1, maxLength: Math.min(8, tasks.length) },
        )
        .map((cycle) => plantCycle(tasks, cycle)),
    );
    fc.assert(
      fc.property(graphWithCycle, (tasks) => {
        const faults = validateTaskGraph(tasks);
        expect(faults).toHaveLength(1);
        const named = readNamedTasks(faults[0]!.detail);
        // Where ten are named and more left out, the last one does not lead back to the first.
        const isWhole = !faults[0]!.detail.includes('…');
        const pairs = named.map((key, index) => [named[(index + named.length - 1) % named.length]!, key] as const);
        for (const [parent, child] of isWhole ? pairs : pairs.slice(1)) {
          expect(tasks.find((task) => task.key === child)!.after).toContain(parent);
        }
        const pointed = Number(faults[0]!.pointer.split('/')[1]);
        expect(named).toContain(tasks[pointed]!.key);
      }),
      { numRuns: 500 },
    );
  });
});
