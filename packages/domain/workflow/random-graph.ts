import fc from 'fast-check';
import type { TaskNode } from './task-graph.ts';

/** The most tasks of a graph made here: enough for every shape, few enough for thousands of runs. */
const TASKS_MAX = 12;

/** A random DAG in a random order of its tasks: edges lead from earlier tasks of a hidden order to later ones. */
export const randomDag: fc.Arbitrary<TaskNode[]> = fc.integer({ min: 1, max: TASKS_MAX }).chain((count) =>
  fc
    .tuple(
      fc.array(fc.array(fc.boolean(), { minLength: count, maxLength: count }), { minLength: count, maxLength: count }),
      fc.shuffledSubarray([...Array(count).keys()], { minLength: count, maxLength: count }),
    )
    .map(([edges, order]) =>
      order.map((index): TaskNode => {
        const after = edges[index]!.flatMap((isEdge, parent) => (isEdge && parent < index ? [`t${parent}`] : []));
        return after.length > 0 ? { key: `t${index}`, after } : { key: `t${index}` };
      }),
    ),
);
