import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Fate, playNaively } from './naive-run.oracle.ts';
import { advanceTree, type FlowNode, listFirstNodes, listUnlocked } from './run-flow.ts';
import {
  beginRunTree,
  computeTreeStatus,
  decodeRunTree,
  encodeRunTree,
  formatPath,
  parsePath,
  setTaskState,
  viewOutputs,
  visitStates,
} from './run-tree.ts';
import { type FlowTask, planRun, validateTaskFlow } from './task-flow.ts';

const TASKS_MAX = 9;
const ELEMENTS_MAX = 3;

/** What is tried for one task; what does not fit the tasks before it is left off. */
const trait = fc.record({
  after: fc.array(fc.nat(), { maxLength: 3 }),
  scope: fc.option(fc.nat(), { freq: 2 }),
  source: fc.option(fc.nat(), { freq: 2 }),
  handles: fc.oneof(
    { weight: 6, arbitrary: fc.constant(null) },
    { weight: 1, arbitrary: fc.array(fc.nat(), { minLength: 1, maxLength: 2 }) },
  ),
  hasCondition: fc.boolean(),
  isLight: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
});

const workflow = fc.array(trait, { minLength: 1, maxLength: TASKS_MAX }).map((traits) => {
  const tasks: FlowTask[] = [];
  const pick = (number: number) => tasks[number % tasks.length]!.key;
  traits.forEach(({ after, scope, source, handles, hasCondition, isLight }, index) => {
    const task: FlowTask = {
      key: `t${index}`,
      ...(hasCondition && { when: 'oracle' }),
      ...(isLight && { continueOnFailure: true }),
    };
    const isSound = (tried: FlowTask) => validateTaskFlow([...tasks, tried]).length === 0;
    const grow = (more: Partial<FlowTask>) => {
      if (tasks.length > 0 && isSound({ ...task, ...more })) Object.assign(task, more);
    };
    if (tasks.length > 0) {
      if (scope !== null) grow({ in: pick(scope) });
      if (handles) grow({ onFailure: [...new Set(handles.map(pick))] });
      else {
        if (source !== null) grow({ forEach: { task: pick(source), path: '' } });
        for (const parent of after) grow({ after: [...new Set([...(task.after ?? []), pick(parent)])] });
      }
    }
    tasks.push(task);
  });
  // A parent may be listed after the tasks behind it.
  return tasks;
});

/** Chance, decided by a seed and a name alone. */
function castFate(seed: number): Fate {
  const roll = (...parts: unknown[]) => {
    let hash = 2166136261 ^ seed;
    for (const letter of parts.join('/')) hash = Math.imul(hash ^ letter.codePointAt(0)!, 16777619);
    return ((hash ^ (hash >>> 13)) >>> 0) % 100;
  };
  return {
    ends: (key, path) => {
      const number = roll('ends', key, path);
      return number < 12 ? 'dead' : number < 20 ? 'skipped' : 'succeeded';
    },
    holds: (key, path) => {
      const number = roll('holds', key, path);
      return number < 4 ? 'faulty' : number > 35;
    },
    counts: (key, path) => {
      const number = roll('counts', key, path);
      return number < 6 ? -1 : number % (ELEMENTS_MAX + 1);
    },
  };
}

/** The engine, with outcomes in the order that `order` gives, several at a time, its row read anew now and then. */
function play(tasks: readonly FlowTask[], fate: Fate, order: readonly number[]) {
  let tree = beginRunTree(tasks);
  let turn = 0;
  const next = () => {
    turn += 1;
    return order[turn % order.length]!;
  };
  const live: FlowNode[] = [];
  const begun = new Set<string>();
  const asked = new Set<string>();
  /** The first time something is asked it is not there yet. */
  const later = <Answer>(name: string, answer: Answer): Answer | undefined => {
    if (asked.has(name)) return answer;
    asked.add(name);
    return undefined;
  };
  const advance = (first: readonly FlowNode[]) => {
    for (let nodes = first; nodes.length > 0; ) {
      const steps = advanceTree(tree, nodes, {
        decide: (task, path) => {
          const holds = fate.holds(tasks[task]!.key, path);
          return later(`d${task} ${path}`, holds === 'faulty' ? { error: 'no' } : holds);
        },
        countElements: (scope, path) => {
          const count = fate.counts(tasks[tree.plan.scopes[scope]!.mapped]!.key, path);
          return later(`c${scope} ${path}`, count < 0 ? { error: 'none' } : count);
        },
      });
      for (const node of steps.begun) {
        const name = `${node.task} ${node.path}`;
        expect(begun.has(name), `${name} has begun twice`).toBe(false);
        begun.add(name);
        live.push(node);
      }
      nodes = steps.undecided;
    }
  };
  advance(listFirstNodes(tree));
  while (live.length > 0) {
    expect(computeTreeStatus(tree)).toBe('running');
    const ended = Array.from({ length: 1 + (next() % 3) }, () => live.splice(next() % (live.length || 1), 1)[0]).filter(
      (node) => node !== undefined,
    );
    for (const { task, path } of ended) {
      setTaskState(tree, tasks[task]!.key, parsePath(formatPath(path)), fate.ends(tasks[task]!.key, path));
    }
    if (next() % 2 === 0) tree = decodeRunTree(tasks, encodeRunTree(tree));
    advance(ended.flatMap(({ task, path }) => listUnlocked(tree, task, path)));
  }
  const lines: string[] = [];
  visitStates(tree, (task, state, path, isOpening) => {
    lines.push(`${tasks[task]!.key} [${isOpening ? 'opening ' : ''}${path.join('.')}] ${state}`);
  });
  return { lines: lines.toSorted(), status: computeTreeStatus(tree) };
}

const story = fc.record({
  tasks: workflow,
  seed: fc.nat(),
  order: fc.array(fc.nat(), { minLength: 7, maxLength: 40 }),
});

describe('a run with scopes, conditions and failures', () => {
  it('ends, in every order of outcomes, as the rules say when they are read one by one', () => {
    const seen = { scopes: 0, nested: 0, failed: 0, handled: 0, excluded: 0 };
    fc.assert(
      fc.property(story, ({ tasks, seed, order }) => {
        const fate = castFate(seed);
        const wanted = playNaively(tasks, fate);
        expect(play(tasks, fate, order)).toEqual(wanted);
        const plan = planRun(tasks);
        seen.scopes += Number(plan.scopes.length > 1);
        seen.nested += Number(plan.scopes.some(({ depth }) => depth > 1));
        seen.failed += Number(wanted.status === 'failed');
        seen.handled += Number(plan.isHandled.includes(true));
        seen.excluded += Number(wanted.lines.some((line) => line.endsWith('excluded')));
      }),
      { numRuns: 3_000 },
    );
    // What never happens is not tested.
    for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(100);
  });

  it('gives a join the outputs in the order of the elements, nested as the scopes are', () => {
    const tasks: FlowTask[] = [
      { key: 'split' },
      { key: 'map', forEach: { task: 'split', path: '' } },
      { key: 'leaf', forEach: { task: 'map', path: '' } },
      { key: 'reduce', in: 'map', after: ['leaf'] },
      { key: 'join', after: ['reduce', 'leaf'] },
    ];
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 4 }), { maxLength: 5 }),
        fc.array(fc.nat(), { minLength: 7 }),
        (sizes, order) => {
          const fate: Fate = {
            ends: () => 'succeeded',
            holds: () => true,
            counts: (key, path) => (key === 'map' ? sizes.length : sizes[path[0]!]!),
          };
          expect(play(tasks, fate, order).status).toBe('succeeded');
          const tree = beginRunTree(tasks);
          const steps = {
            decide: () => true,
            countElements: (scope: number, path: readonly number[]) =>
              fate.counts(tasks[tree.plan.scopes[scope]!.mapped]!.key, path),
          };
          let nodes = listFirstNodes(tree);
          while (nodes.length > 0) {
            const { begun } = advanceTree(tree, nodes, steps);
            for (const { task, path } of begun) setTaskState(tree, tasks[task]!.key, path, 'succeeded');
            nodes = begun.flatMap(({ task, path }) => listUnlocked(tree, task, path));
          }
          const name = (path: readonly number[]) => path.join('.');
          const [leaf, reduce] = [2, 3];
          expect(viewOutputs(tree, leaf, 0, [], name)).toEqual(
            sizes.map((size, outer) => Array.from({ length: size }, (_, inner) => `${outer}.${inner}`)),
          );
          expect(viewOutputs(tree, reduce, 0, [], name)).toEqual(sizes.map((_, outer) => `${outer}`));
          const map = tree.plan.scopeOf[reduce]!;
          sizes.forEach((size, outer) => {
            expect(viewOutputs(tree, leaf, map, [outer], name)).toEqual(
              Array.from({ length: size }, (_, inner) => `${outer}.${inner}`),
            );
          });
        },
      ),
      { numRuns: 100 },
    );
  });
});
