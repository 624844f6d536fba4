import { describe, expect, it } from 'vitest';
import { type FlowTask, parsePointer, planRun, readPointer, SCOPE_DEPTH_MAX, validateTaskFlow } from './task-flow.ts';

const NESTED: FlowTask[] = [
  { key: 'join', after: ['reduce'] },
  { key: 'reduce', in: 'map', after: ['leaf'] },
  { key: 'leaf', forEach: { task: 'map', path: '/leaves' } },
  { key: 'map', forEach: { task: 'split', path: '' } },
  { key: 'split' },
];
const map = (key: string, task: string, more: Partial<FlowTask> = {}): FlowTask => ({
  key,
  forEach: { task, path: '' },
  ...more,
});

describe('the plan of a run', () => {
  it('nests scopes as their elements come from each other, in whatever order tasks are listed', () => {
    expect(validateTaskFlow(NESTED)).toEqual([]);
    const { scopes, scopeOf, isPlain } = planRun(NESTED);
    expect(isPlain).toBe(false);
    const depthOf = (key: string) => scopes[scopeOf[NESTED.findIndex((task) => task.key === key)]!]!.depth;
    expect(['split', 'map', 'leaf', 'reduce', 'join'].map(depthOf)).toEqual([0, 1, 2, 1, 0]);
  });

  it('is plain for a graph and nothing more, and then keeps no outputs', () => {
    expect(planRun([{ key: 'a' }, { key: 'b', after: ['a'] }])).toMatchObject({
      isPlain: true,
      isKept: [false, false],
    });
  });

  it('keeps the outputs that others read, and no others', () => {
    const tasks = [{ key: 'a' }, { key: 'b', after: ['a'] }, { key: 'c', after: ['b'], reads: ['a'] }];
    expect(planRun(tasks)).toMatchObject({ isPlain: false, isKept: [true, false, false] });
    expect(planRun(NESTED).isKept).toEqual([false, false, false, true, true]);
  });
});

describe('the outputs that a task is told', () => {
  it('are those of all that it waits for, but for the list that its own element is of, unless it reads that', () => {
    const tasks: FlowTask[] = [
      { key: 'split' },
      { key: 'login' },
      map('m', 'split', { after: ['login', 'split'] }),
      { key: 'inner', in: 'm', after: ['split', 'm'] },
      map('reading', 'split', { reads: ['split'] }),
      { key: 'outside', after: ['split', 'm'] },
      { key: 'handler', onFailure: ['split'] },
    ];
    expect(planRun(tasks).inputsOf).toEqual([[], [], [1], [2], [0], [0, 2], [0]]);
  });
});

describe('a request without a body', () => {
  it('carries no outputs, so that none are kept for it', () => {
    const tasks = (method: string) => [
      { key: 'split' },
      map('m', 'split'),
      { key: 'join', after: ['m'], action: { type: 'http', method } } as FlowTask,
    ];
    expect(planRun(tasks('POST')).isKept).toEqual([true, true, false]);
    for (const method of ['GET', 'HEAD']) expect(planRun(tasks(method)).isKept).toEqual([true, false, false]);
  });
});

describe('the check of the flow', () => {
  it('lets what is in a scope read all that the scope waited for, but not the mapped task that may still run', () => {
    const tasks = (reads: string[], more: Partial<FlowTask> = {}): FlowTask[] => [
      { key: 'login' },
      { key: 'split', after: ['login'] },
      map('m', 'split'),
      { key: 'inner', in: 'm' },
      map('n', 'inner'),
      { key: 'deep', in: 'n', ...more, reads },
    ];
    expect(validateTaskFlow(tasks(['login', 'split', 'inner']))).toEqual([]);
    expect(validateTaskFlow(tasks(['n']))).toEqual([
      { pointer: '/5', detail: 'inputs.n: the task does not wait for "n"' },
    ]);
    expect(validateTaskFlow(tasks(['n'], { after: ['n'] }))).toEqual([]);
  });

  it.each<[string, FlowTask[], string, RegExp]>([
    ['an unknown source', [map('m', 'x')], '/0/forEach/task', /no task "x"/],
    ['itself as the source', [map('m', 'm')], '/0/after', /wait for each other/],
    [
      'a path that is no JSON pointer',
      [{ key: 'a' }, { key: 'm', forEach: { task: 'a', path: 'items' } }],
      '/1/forEach/path',
      /JSON pointer/,
    ],
    ['an unknown scope', [{ key: 'a', in: 'x' }], '/0/in', /no task "x"/],
    ['a scope that is none', [{ key: 'a' }, { key: 'b', in: 'a' }], '/1/in', /not a mapped task/],
    ['a source that comes later', [map('m', 'b'), { key: 'b', after: ['m'] }], '/1/after', /wait for each other/],
    ['a source within its own scope', [{ key: 'a' }, map('m', 'a', { in: 'm' })], '/1/after', /wait for each other/],
    [
      'a parent in another scope',
      [{ key: 'a' }, map('m', 'a'), map('n', 'a'), { key: 'b', in: 'n', after: ['m'] }],
      '/3/after/0',
      /whose scope/,
    ],
    [
      'a source in a scope that it is not in',
      [{ key: 'a' }, map('m', 'a'), map('n', 'a'), map('o', 'm', { in: 'n' })],
      '/3/forEach/task',
      /scope/,
    ],
    [
      'both after and onFailure',
      [{ key: 'a' }, { key: 'b', after: ['a'], onFailure: ['a'] }],
      '/1/onFailure',
      /either/,
    ],
    ['an unknown task whose failure is handled', [{ key: 'b', onFailure: ['a'] }], '/0/onFailure/0', /no task "a"/],
    ['a handler that is mapped', [{ key: 'a' }, map('b', 'a', { onFailure: ['a'] })], '/1/onFailure', /mapped/],
    ['an output of nobody', [{ key: 'a', reads: ['x'] }], '/0', /no task "x"/],
    ['an output that is not waited for', [{ key: 'a' }, { key: 'b', reads: ['a'] }], '/1', /does not wait/],
    [
      'an output of another scope',
      [
        { key: 'a' },
        map('m', 'a'),
        { key: 'j', after: ['m'] },
        map('n', 'j', { after: ['j'], reads: ['m'] }),
        map('o', 'a', { after: ['j'], reads: ['m'] }),
      ]
        .slice(0, 3)
        .concat([map('n', 'a', { after: ['j'] }), { key: 'x', in: 'n', after: ['n'], reads: ['m'] }]),
      '/4',
      /another scope/,
    ],
  ])('refuses %s', (_case, tasks, pointer, detail) => {
    expect(validateTaskFlow(tasks)).toContainEqual({ pointer, detail: expect.stringMatching(detail) });
  });

  it(`allows scopes ${SCOPE_DEPTH_MAX} deep and no deeper`, () => {
    const tasks = Array.from({ length: SCOPE_DEPTH_MAX + 2 }, (_, depth) =>
      depth === 0 ? { key: 't0' } : map(`t${depth}`, `t${depth - 1}`),
    );
    expect(validateTaskFlow(tasks.slice(0, -1))).toEqual([]);
    expect(validateTaskFlow(tasks)).toEqual([
      { pointer: `/${SCOPE_DEPTH_MAX + 1}/forEach`, detail: expect.stringContaining('deep') },
    ]);
  });
});

describe('a JSON pointer', () => {
  it('finds what stands there, and nothing that does not', () => {
    const value = { items: [{ 'a/b': 1, 'm~n': 2 }], '': 3 };
    expect(readPointer(value, '')).toBe(value);
    expect(readPointer(value, '/items/0/a~1b')).toBe(1);
    expect(readPointer(value, '/items/0/m~0n')).toBe(2);
    expect(readPointer(value, '/')).toBe(3);
    for (const pointer of [
      '/items/1',
      '/items/00',
      '/items/length',
      '/items/-',
      '/constructor',
      '/__proto__',
      '/items/0/a~1b/x',
    ]) {
      expect(readPointer(value, pointer), pointer).toBeUndefined();
    }
    expect(parsePointer('items')).toBeUndefined();
    expect(parsePointer('/a~2')).toBeUndefined();
  });
});
