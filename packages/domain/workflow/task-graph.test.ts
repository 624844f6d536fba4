import { describe, expect, it } from 'vitest';
import { TASKS_PER_WORKFLOW_MAX, type TaskNode, validateTaskGraph } from './task-graph.ts';

describe('the check of a task graph', () => {
  it('accepts a diamond, in whatever order its tasks are written', () => {
    const tasks = [
      { key: 'd', after: ['b', 'c'] },
      { key: 'b', after: ['a'] },
      { key: 'c', after: ['a'] },
      { key: 'a' },
    ];
    expect(validateTaskGraph(tasks)).toEqual([]);
  });

  it('points at a repeated key, an unknown parent and a parent named twice, all at once', () => {
    const tasks = [{ key: 'a' }, { key: 'a' }, { key: 'b', after: ['x', 'a', 'a'] }];
    expect(validateTaskGraph(tasks)).toEqual([
      { pointer: '/1/key', detail: 'the key "a" is already that of task 0' },
      { pointer: '/2/after/0', detail: 'there is no task "x"' },
      { pointer: '/2/after/2', detail: '"a" is named twice' },
    ]);
  });

  it('refuses a task that waits for itself', () => {
    const [fault] = validateTaskGraph([{ key: 'root' }, { key: 'a', after: ['root', 'a'] }]);
    expect(fault?.pointer).toBe('/1/after');
    expect(fault?.detail).toContain('"a"');
  });

  it('takes keys such as "__proto__" and "constructor" for what they are', () => {
    const tasks = [{ key: '__proto__' }, { key: 'constructor', after: ['__proto__'] }];
    expect(validateTaskGraph(tasks)).toEqual([]);
    expect(validateTaskGraph([{ key: 'a', after: ['toString'] }])).toHaveLength(1);
  });

  it('names no more than ten tasks of a long cycle', () => {
    const tasks = Array.from(
      { length: 50 },
      (_, index): TaskNode => ({ key: `t${index}`, after: [`t${(index + 49) % 50}`] }),
    );
    const [fault] = validateTaskGraph(tasks);
    expect(fault!.detail.match(/"t\d+"/g)).toHaveLength(10);
    expect(fault!.detail).toContain('…');
  });

  it('judges the largest workflow, with every edge that it can have, in time that grows with the edges only', () => {
    const keys = Array.from({ length: TASKS_PER_WORKFLOW_MAX }, (_, index) => `t${index}`);
    const tasks = keys.map((key, index): TaskNode => ({ key, after: keys.slice(0, index) }));
    const beganAt = performance.now();
    expect(validateTaskGraph(tasks)).toEqual([]);
    // 0.2 s when the machine has nothing else to do; hours were it the product of tasks and edges.
    expect(performance.now() - beganAt).toBeLessThan(10_000);
  });
});
