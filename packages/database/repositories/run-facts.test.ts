import { advanceTree, beginRunTree, type FlowTask, listFirstNodes, listUnlocked, setTaskState } from '@punctual/domain';
import { describe, expect, it } from 'vitest';
import { RunFacts, WHEN_COST_PER_RUN_MAX } from './run-facts.ts';

const TASKS: FlowTask[] = [
  { key: 'split' },
  { key: 'map', forEach: { task: 'split', path: '' }, when: 'inputs.split.all(x, x > 0)', reads: ['split'] },
];

describe('the conditions that one transaction asks', () => {
  it('cost together what one run may, and tasks beyond that end dead with the reason', () => {
    const tree = beginRunTree(TASKS);
    const facts = new RunFacts(tree);
    advanceTree(tree, listFirstNodes(tree), facts);
    setTaskState(tree, 'split', [], 'succeeded');
    const elements = 5_000;
    facts.setOutput(
      'split',
      '',
      Array.from({ length: elements }, () => 1),
    );
    const before = process.cpuUsage();
    const { begun, failed } = advanceTree(tree, listUnlocked(tree, 0, []), facts);
    const { user, system } = process.cpuUsage(before);
    expect(begun.length + failed.length).toBe(elements);
    // Each looks at all elements, and so at four units at the least for each of them.
    expect(begun.length).toBeGreaterThan(10);
    expect(begun.length).toBeLessThan(WHEN_COST_PER_RUN_MAX / elements / 2);
    expect(new Set(failed.map(({ error }) => error))).toEqual(
      new Set(['when: the expressions that are evaluated at once have too much to do together']),
    );
    // Of our own time; without an end it takes half a minute.
    expect((user + system) / 1_000).toBeLessThan(5_000);
  });

  it('are those of all runs that share a purse', () => {
    const begin = (purse: { left: number }) => {
      const tree = beginRunTree([{ key: 'a', when: 'input.all(x, x > 0)' }]);
      const facts = new RunFacts(tree, purse);
      facts.setInput(JSON.stringify(Array.from({ length: 1_000 }, () => 1)));
      return advanceTree(tree, listFirstNodes(tree), facts);
    };
    const purse = { left: 12_000 };
    const begun = Array.from({ length: 5 }, () => begin(purse).begun.length);
    expect(begun[0]).toBe(1);
    expect(begun.at(-1)).toBe(0);
    expect(begin({ left: 12_000 }).begun).toHaveLength(1);
  });
});
