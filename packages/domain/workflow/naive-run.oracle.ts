import type { TaskState } from './run-progress.ts';
import { type FlowTask, homeOf, isAround, planRun, type RunPlan } from './task-flow.ts';

/** What chance decides about each instance of a task, the same whenever it is asked. */
export interface Fate {
  ends: (key: string, path: readonly number[]) => 'succeeded' | 'dead' | 'skipped';
  holds: (key: string, path: readonly number[]) => boolean | 'faulty';
  /** Elements of a mapped task's scope; -1: none to be had. */
  counts: (key: string, path: readonly number[]) => number;
}

/** How a run ends, by the rules as docs/data-flow.md tells them and no thought of speed: look at everything until nothing changes. */
export function playNaively(tasks: readonly FlowTask[], fate: Fate) {
  const plan = planRun(tasks);
  const states = new Map<string, TaskState>();
  const counts = new Map<string, number>();
  const name = (task: number, path: readonly number[]) => `${tasks[task]!.key} ${path.join('.')}`;
  const scopeName = (scope: number, path: readonly number[]) => `${scope} ${path.join('.')}`;

  /** All instances of a scope that there are at present, beneath a path. */
  const list = (scope: number, beneath: readonly number[]): number[][] => {
    if (plan.scopes[scope]!.depth <= beneath.length) return [beneath.slice(0, plan.scopes[scope]!.depth)];
    return list(plan.scopes[scope]!.parent, beneath).flatMap((path) =>
      Array.from({ length: counts.get(scopeName(scope, path)) ?? 0 }, (_, place) => [...path, place]),
    );
  };
  const stateOf = (task: number, path: readonly number[]) => states.get(name(task, path)) ?? 'pending';

  /** What the instances of `task` that one place must wait for are like; a scope that is not open yet counts as pending. */
  const look = (task: number, home: number, path: readonly number[]): (TaskState | 'handled' | 'light')[] => {
    const scope = plan.scopeOf[task]!;
    const judge = (state: TaskState, of: number) => {
      if (state !== 'dead') return state;
      return tasks[of]!.continueOnFailure ? 'light' : plan.isHandled[of] ? 'handled' : 'dead';
    };
    if (isAround(plan, scope, home)) {
      const depth = plan.scopes[scope]!.depth;
      return [judge(stateOf(task, path.slice(0, depth)), task)];
    }
    const walk = (at: number, here: readonly number[]): (TaskState | 'handled' | 'light')[] => {
      const next = nextScope(plan, at, scope);
      const { mapped } = plan.scopes[next]!;
      const count = counts.get(scopeName(next, here));
      if (count === undefined) {
        const opening = states.get(`opening ${scopeName(next, here)}`) ?? 'pending';
        const judged = judge(opening, mapped);
        if (task === mapped) return [judged];
        return [judged === 'light' || judged === 'handled' ? 'excluded' : judged === 'dead' ? 'cancelled' : judged];
      }
      // A scope without elements has done all that it had to do.
      if (count === 0) return ['succeeded'];
      return Array.from({ length: count }, (_, place) => [...here, place]).flatMap((inner) =>
        next === scope ? [judge(stateOf(task, inner), task)] : walk(next, inner),
      );
    };
    return walk(home, path);
  };

  const decide = (task: number, home: number, path: readonly number[], isOpening: boolean) => {
    const handles = plan.handles[task]!.map((handled) => look(handled, home, path));
    if (handles.length > 0) {
      const isEnded = (seen: string[]) => !seen.includes('pending') && !seen.includes('live');
      if (handles.some((seen) => isEnded(seen) && seen.some((state) => /dead|handled|light/.test(state))))
        return 'begin';
      return handles.every(isEnded) ? 'exclude' : 'wait';
    }
    const seen = plan.parents[task]!.map((parent) => look(parent, home, path));
    if (seen.flat().some((state) => /pending|live|dead|cancelled/.test(state))) return 'wait';
    if (seen.flat().includes('handled')) return 'exclude';
    if (isOpening) {
      const { source } = plan.scopes[plan.opens[task]!]!;
      const state = stateOf(source, path.slice(0, plan.scopes[plan.scopeOf[source]!]!.depth));
      if (state === 'skipped' || state === 'excluded') return 'exclude';
    }
    const areAllOut = seen.length > 0 && seen.every((of) => of.every((state) => state === 'excluded'));
    return areAllOut && (isOpening || tasks[task]!.when === undefined) ? 'exclude' : 'begin';
  };

  const lookAtAll = (): boolean => {
    let hasChanged = false;
    const set = (of: string, state: TaskState) => {
      states.set(of, state);
      hasChanged = true;
    };
    tasks.forEach((task, index) => {
      const home = homeOf(plan, index);
      const opened = plan.opens[index]!;
      if (opened !== -1) {
        for (const path of list(home, [])) {
          const of = `opening ${scopeName(opened, path)}`;
          if (states.has(of) || counts.has(scopeName(opened, path))) continue;
          const verdict = decide(index, home, path, true);
          const count = fate.counts(task.key, path);
          if (verdict === 'exclude') set(of, 'excluded');
          else if (verdict === 'begin' && count < 0) set(of, 'dead');
          else if (verdict === 'begin') {
            counts.set(scopeName(opened, path), count);
            hasChanged = true;
          }
        }
      }
      for (const path of list(plan.scopeOf[index]!, [])) {
        if (states.has(name(index, path))) continue;
        const verdict = opened === -1 ? decide(index, home, path, false) : 'begin';
        if (verdict === 'exclude') set(name(index, path), 'excluded');
        if (verdict !== 'begin') continue;
        const holds = task.when === undefined || fate.holds(task.key, path);
        if (holds === 'faulty') set(name(index, path), 'dead');
        else set(name(index, path), holds ? fate.ends(task.key, path) : 'excluded');
      }
    });
    return hasChanged;
  };
  while (lookAtAll());

  const isBad = (of: number) => !plan.isHandled[of] && !tasks[of]!.continueOnFailure;
  const ends = tasks.flatMap((_, index) => [
    ...list(plan.scopeOf[index]!, []).map((path) => [index, stateOf(index, path), path.join('.')] as const),
    ...(plan.opens[index] === -1
      ? []
      : list(homeOf(plan, index), [])
          .filter((path) => !counts.has(scopeName(plan.opens[index]!, path)))
          .map(
            (path) =>
              [
                index,
                states.get(`opening ${scopeName(plan.opens[index]!, path)}`) ?? 'pending',
                `opening ${path.join('.')}`,
              ] as const,
          )),
  ]);
  const hasFailed = ends.some(([index, state]) => state === 'dead' && isBad(index));
  const lines = ends.map(([index, state, path]) => `${tasks[index]!.key} [${path}] ${state}`).toSorted();
  return { lines, status: hasFailed ? 'failed' : 'succeeded' };
}

function nextScope(plan: RunPlan, from: number, to: number): number {
  let scope = to;
  while (plan.scopes[scope]!.parent !== from) scope = plan.scopes[scope]!.parent;
  return scope;
}
