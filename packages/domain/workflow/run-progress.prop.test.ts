import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomDag } from './random-graph.ts';
import {
  beginTaskStates,
  computeRunStatus,
  decodeTaskStates,
  encodeTaskStates,
  findReadyTasks,
  type TaskState,
} from './run-progress.ts';
import type { TaskNode } from './task-graph.ts';

const STATES: TaskState[] = ['pending', 'live', 'succeeded', 'dead', 'cancelled', 'skipped'];
const ENDS = ['succeeded', 'dead', 'cancelled', 'skipped'] as const;

/** A graph, how each of its tasks ends, and numbers that decide which live task ends next. */
const story = randomDag.chain((tasks) =>
  fc.record({
    tasks: fc.constant(tasks),
    // Successes are what lets a run get far.
    ends: fc.array(fc.oneof({ weight: 3, arbitrary: fc.constant('succeeded' as const) }, fc.constantFrom(...ENDS)), {
      minLength: tasks.length,
      maxLength: tasks.length,
    }),
    firstOrder: fc.array(fc.nat(), { minLength: tasks.length, maxLength: tasks.length }),
    secondOrder: fc.array(fc.nat(), { minLength: tasks.length, maxLength: tasks.length }),
  }),
);

/** Plays a run to its end: whatever is ready begins, then one live task ends, as `order` decides. */
function play(tasks: readonly TaskNode[], ends: readonly (typeof ENDS)[number][], order: readonly number[]) {
  const states = beginTaskStates(tasks);
  const begun = tasks.map(() => 0);
  const begin = () => {
    for (const index of findReadyTasks(tasks, states)) {
      for (const parent of tasks[index]!.after ?? []) {
        expect(['succeeded', 'skipped']).toContain(states[tasks.findIndex((task) => task.key === parent)]);
      }
      begun[index]! += 1;
      states[index] = 'live';
    }
  };
  begin();
  let turns = 0;
  for (let live = findLive(states); live.length > 0; live = findLive(states)) {
    expect(computeRunStatus(states)).toBe('running');
    const index = live[order[turns]! % live.length]!;
    states[index] = ends[index]!;
    turns += 1;
    begin();
  }
  return { states, begun, status: computeRunStatus(states) };
}

function findLive(states: readonly TaskState[]): number[] {
  return states.flatMap((state, index) => (state === 'live' ? [index] : []));
}

describe("a run's progress", () => {
  it('survives being written down and read again', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...STATES), { maxLength: 1_000 }), (states) => {
        expect(decodeTaskStates(encodeTaskStates(states))).toEqual(states);
      }),
    );
  });

  it('begins no task before its parents are done, each at most once, and ends equally in any order of outcomes', () => {
    fc.assert(
      fc.property(story, ({ tasks, ends, firstOrder, secondOrder }) => {
        const first = play(tasks, ends, firstOrder);
        const second = play(tasks, ends, secondOrder);
        expect(Math.max(...first.begun)).toBeLessThanOrEqual(1);
        expect(second.states).toEqual(first.states);
        expect(second.status).toBe(first.status);
        expect(first.status).not.toBe('running');
      }),
      { numRuns: 150 },
    );
  });

  it('has succeeded exactly when every task did or was skipped', () => {
    fc.assert(
      fc.property(story, ({ tasks, ends, firstOrder }) => {
        const { states, status } = play(tasks, ends, firstOrder);
        const isDone = states.every((state) => state === 'succeeded' || state === 'skipped');
        expect(status === 'succeeded').toBe(isDone);
        expect(status === 'failed').toBe(states.includes('dead'));
      }),
    );
  });
});
