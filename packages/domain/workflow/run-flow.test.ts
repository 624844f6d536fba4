import { describe, expect, it } from 'vitest';
import { advanceTree, type FlowData, type FlowNode, listFirstNodes, listUnlocked } from './run-flow.ts';
import {
  beginRunTree,
  decodeRunTree,
  ELEMENTS_PER_RUN_MAX,
  encodeRunTree,
  INSTANCES_PER_RUN_MAX,
  type RunTree,
  setTaskState,
} from './run-tree.ts';
import type { FlowTask } from './task-flow.ts';

const SPLIT: FlowTask = { key: 'split' };
const MAP: FlowTask = { key: 'map', forEach: { task: 'split', path: '' } };

/** A run whose tasks succeed as soon as they begin, until its mapped tasks may open. */
function open(tree: RunTree, data: FlowData) {
  const { tasks } = tree.plan;
  const { begun } = advanceTree(tree, listFirstNodes(tree), data);
  const unlocked: FlowNode[] = [];
  for (const { task, path } of begun) {
    setTaskState(tree, tasks[task]!.key, path, 'succeeded');
    unlocked.push(...listUnlocked(tree, task, path));
  }
  return advanceTree(tree, unlocked, data);
}

describe('what follows from one outcome', () => {
  it('is decided in a moment, however many elements there are', () => {
    const chain = Array.from({ length: 9 }, (_, n) => ({
      key: `t${n}`,
      in: 'map',
      after: [n === 0 ? 'map' : `t${n - 1}`],
    }));
    const tree = beginRunTree([SPLIT, { ...MAP, when: 'oracle' }, ...chain, { key: 'join', after: ['t8'] }]);
    const before = process.cpuUsage();
    const { begun, failed } = open(tree, { decide: () => false, countElements: () => INSTANCES_PER_RUN_MAX / 10 });
    // Of our own time, as the machine may be busy: some 200 ms. A queue that is gone through anew for each element takes seconds.
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1_000).toBeLessThan(1_000);
    expect({ begun, failed }).toEqual({ begun: [], failed: [] });
    expect(encodeRunTree(tree)).toMatch(/nnn$/);
  });

  it('is no more elements, and no more instances, than one run may have: the mapped task alone ends dead', () => {
    const inside = (count: number): FlowTask[] =>
      Array.from({ length: count }, (_, n) => ({ key: `t${n}`, in: 'map' }));
    const nested: FlowTask = { key: 'nested', forEach: { task: 'map', path: '' } };
    const give = (count: number): FlowData => ({ decide: () => true, countElements: () => count });
    const tryOut = (tasks: FlowTask[], count: number) => {
      const { begun, failed } = open(
        beginRunTree([SPLIT, MAP, ...tasks, { key: 'other', after: ['split'] }]),
        give(count),
      );
      return { begun: begun.length, failed: failed.map(({ error }) => error) };
    };
    const tooMany = (what: string) => [expect.stringContaining(`more than ${what}`)];
    expect(tryOut([], ELEMENTS_PER_RUN_MAX)).toEqual({ begun: ELEMENTS_PER_RUN_MAX + 1, failed: [] });
    expect(tryOut([], ELEMENTS_PER_RUN_MAX + 1)).toEqual({ begun: 1, failed: tooMany('10000 elements') });
    expect(tryOut(inside(4), ELEMENTS_PER_RUN_MAX)).toEqual({ begun: INSTANCES_PER_RUN_MAX + 1, failed: [] });
    expect(tryOut(inside(5), ELEMENTS_PER_RUN_MAX)).toEqual({ begun: 1, failed: tooMany('50000 instances') });
    // A scope within counts even before it opens: it may end dead in each element.
    expect(tryOut([...inside(4), nested], ELEMENTS_PER_RUN_MAX).failed).toEqual(tooMany('50000 instances'));
    expect(tryOut([...inside(999)], 50)).toEqual({ begun: INSTANCES_PER_RUN_MAX + 1, failed: [] });
    expect(tryOut([...inside(999)], 51).failed).toEqual(tooMany('50000 instances'));
  });

  it('counts the instances of all scopes together, also in a run that was stored', () => {
    const tasks: FlowTask[] = [SPLIT, MAP, { key: 'nested', forEach: { task: 'map', path: '' } }];
    const data: FlowData = { decide: () => true, countElements: (scope) => (scope === 1 ? 2 : 3) };
    const first = beginRunTree(tasks);
    open(first, data);
    const tree = decodeRunTree(tasks, encodeRunTree(first));
    setTaskState(tree, 'map', [1], 'succeeded');
    advanceTree(tree, listUnlocked(tree, 1, [1]), data);
    // Two elements of `map`, each with a scope in it, and three in the scope of one of them.
    expect(tree).toMatchObject({ elements: 5, instances: 7 });
    expect(decodeRunTree(tasks, encodeRunTree(tree))).toEqual(tree);
  });
});
