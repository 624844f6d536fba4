import { expect, test } from 'vitest';
import { advanceTree, listFirstNodes, listUnlocked } from './run-flow.ts';
import { beginRunTree, decodeRunTree, getTaskState, mayBegin, setTaskState } from './run-tree.ts';
import type { FlowTask } from './task-flow.ts';

const TASKS: FlowTask[] = [
  { key: 'split' },
  { key: 'each', forEach: { task: 'split', path: '' } },
  { key: 'inner', in: 'each', after: ['each'] },
  { key: 'join', after: ['inner'] },
];
const facts = { decide: () => true, countElements: () => 2 };
const asks = (key: string) => (task: number) => TASKS[task]!.key === key;

test('a plain task may begin while it is pending, and not after that', () => {
  const tasks = [{ key: 'a' }, { key: 'b', after: ['a'] }];
  const isB = (task: number) => task === 1;
  expect(mayBegin(decodeRunTree(tasks, 'lp'), isB)).toBe(true);
  for (const states of ['ll', 'ls', 'sd', 'sc', 'sk']) expect(mayBegin(decodeRunTree(tasks, states), isB)).toBe(false);
  expect(mayBegin(decodeRunTree(tasks, 'pl'), isB)).toBe(false);
});

test('a task within a scope may begin while the scope may open, and then while one instance of it is pending', () => {
  const tree = beginRunTree(TASKS);
  advanceTree(tree, listFirstNodes(tree), facts);
  for (const key of ['each', 'inner', 'join']) expect(mayBegin(tree, asks(key))).toBe(true);
  expect(mayBegin(tree, asks('split'))).toBe(false);
  setTaskState(tree, 'split', [], 'succeeded');
  advanceTree(tree, listUnlocked(tree, 0, []), facts);
  expect(getTaskState(tree, 1, [1])).toBe('live');
  expect(mayBegin(tree, asks('each'))).toBe(false);
  expect(mayBegin(tree, asks('inner'))).toBe(true);
  for (const place of [0, 1]) {
    setTaskState(tree, 'each', [place], 'succeeded');
    advanceTree(tree, listUnlocked(tree, 1, [place]), facts);
    expect(mayBegin(tree, asks('inner'))).toBe(place === 0);
  }
  expect(mayBegin(tree, asks('join'))).toBe(true);
});
