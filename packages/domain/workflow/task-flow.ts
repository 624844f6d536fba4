import type { Fault } from '../fault.ts';
import { type TaskNode, validateTaskGraph } from './task-graph.ts';

/** What the flow of a run must know of a task besides its place in the graph. */
export interface FlowTask extends TaskNode {
  /** The task runs once per element of the array that stands at `path` (RFC 6901) in the output of `task`. */
  forEach?: { task: string; path: string };
  /** The mapped task to whose scope this one belongs: it runs once per element, too. */
  in?: string;
  /** An expression that is evaluated when the task could begin; false leaves it out. */
  when?: string;
  /** The task begins when one of these has ended dead, and their death fails nothing. */
  onFailure?: readonly string[];
  /** Its death counts as done. */
  continueOnFailure?: boolean;
  /** Tasks whose outputs its expressions read. Worked out when the workflow is stored. */
  reads?: readonly string[];
}

/** Scopes within each other. Each level multiplies what one run may become. */
export const SCOPE_DEPTH_MAX = 4;

/** A set of tasks that run together once per element; the first one, without a mapped task, is the run itself. */
export interface Scope {
  index: number;
  /** The scope around it; -1 for the run itself. */
  parent: number;
  depth: number;
  /** The task that opens it, and the one whose output holds the elements; -1 for the run itself. */
  mapped: number;
  source: number;
  /** The mapped task first, then those that are `in` it, in the order of the workflow. */
  tasks: number[];
  children: number[];
}

/** How a workflow version's tasks hang together. Tasks and scopes are named by their places. */
export interface RunPlan {
  tasks: readonly FlowTask[];
  indexByKey: ReadonlyMap<string, number>;
  scopes: readonly Scope[];
  /** For each task: its scope, its place in it, and the scope that it opens or -1. */
  scopeOf: readonly number[];
  slotOf: readonly number[];
  opens: readonly number[];
  /** Tasks that must be done before it begins; of a mapped one, before its scope opens. */
  parents: readonly (readonly number[])[];
  /** Tasks whose failure it handles. */
  handles: readonly (readonly number[])[];
  /** Tasks that look at it when it ends. */
  dependents: readonly (readonly number[])[];
  isHandled: readonly boolean[];
  /**
   * Tasks whose outputs it gets, and whether its own output is kept for others. The one that its elements come from is not among
   * them unless it is read: each of thousands would be told the whole list, of which it knows its item.
   */
  inputsOf: readonly (readonly number[])[];
  isKept: readonly boolean[];
  /** A graph and nothing more: its runs are one letter a task. */
  isPlain: boolean;
}

/** Whether `outer` is the scope `inner` or one around it. */
export function isAround(plan: Pick<RunPlan, 'scopes'>, outer: number, inner: number): boolean {
  let scope = inner;
  while (scope !== -1 && plan.scopes[scope]!.depth > plan.scopes[outer]!.depth) scope = plan.scopes[scope]!.parent;
  return scope === outer;
}

/** The scope in which it is decided whether a task begins: for a mapped one, that around the scope that it opens. */
export function homeOf(plan: Pick<RunPlan, 'scopes' | 'scopeOf' | 'opens'>, task: number): number {
  const opened = plan.opens[task]!;
  return opened === -1 ? plan.scopeOf[task]! : plan.scopes[opened]!.parent;
}

// A workflow version's tasks never change, and each outcome of its runs asks for them.
const plans = new WeakMap<readonly FlowTask[], RunPlan>();

/** The plan of tasks that `validateTaskFlow` has found sound. */
export function planRun(tasks: readonly FlowTask[]): RunPlan {
  let plan = plans.get(tasks);
  if (!plan) {
    plan = makePlan(tasks);
    plans.set(tasks, plan);
  }
  return plan;
}

function makePlan(tasks: readonly FlowTask[]): RunPlan {
  const indexByKey = new Map(tasks.map((task, index) => [task.key, index]));
  const place = (key: string) => indexByKey.get(key)!;
  const { scopes, scopeOf, opens } = makeScopes(tasks, indexByKey);
  const slotOf = tasks.map((_, index) => scopes[scopeOf[index]!]!.tasks.indexOf(index));
  const parents = tasks.map((task) => [
    ...new Set([...(task.after ?? []), ...(task.forEach ? [task.forEach.task] : [])].map(place)),
  ]);
  const handles = tasks.map((task) => [...new Set((task.onFailure ?? []).map(place))]);
  const dependents: number[][] = tasks.map(() => []);
  const isHandled = tasks.map(() => false);
  parents.forEach((ofTask, index) => {
    for (const parent of ofTask) dependents[parent]!.push(index);
  });
  handles.forEach((ofTask, index) => {
    for (const handled of ofTask) {
      dependents[handled]!.push(index);
      isHandled[handled] = true;
    }
  });
  const hasScopes = scopes.length > 1;
  const inputsOf = tasks.map((task, index) => [
    ...new Set([
      ...(task.reads ?? []).map(place),
      ...(hasScopes || isLeased(task)
        ? [...parents[index]!, ...handles[index]!].filter((input) => input !== scopes[scopeOf[index]!]!.source)
        : []),
    ]),
  ]);
  const isKept = tasks.map(() => false);
  tasks.forEach((task, index) => {
    if (task.forEach) isKept[place(task.forEach.task)] = true;
    const isTold = isLeased(task) || (hasScopes && describesItself(task));
    for (const read of isTold ? inputsOf[index]! : (task.reads ?? []).map(place)) isKept[read] = true;
  });
  const isPlain =
    !hasScopes &&
    !isKept.includes(true) &&
    tasks.every((task) => !task.when && !task.onFailure && !task.continueOnFailure);
  return {
    tasks,
    indexByKey,
    scopes,
    scopeOf,
    slotOf,
    opens,
    parents,
    handles,
    dependents,
    isHandled,
    inputsOf,
    isKept,
    isPlain,
  };
}

type WithAction = FlowTask & { action?: { type: string; method?: string; body?: unknown } };

/** Whether workers of the customer do it: they always get the outputs of the tasks that it waits for. */
function isLeased(task: WithAction): boolean {
  return task.action?.type === 'pull';
}

const BODYLESS_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD']);

/** Whether requests of this method have no body. */
export function isBodyless(method: string | undefined): boolean {
  return method !== undefined && BODYLESS_METHODS.has(method);
}

/** Whether the request of a task is its own description, so that it carries all its inputs. */
function describesItself({ action }: WithAction): boolean {
  return action !== undefined && action.type !== 'noop' && action.body === undefined && !isBodyless(action.method);
}

function makeScopes(tasks: readonly FlowTask[], indexByKey: ReadonlyMap<string, number>) {
  const scopes: Scope[] = [{ index: 0, parent: -1, depth: 0, mapped: -1, source: -1, tasks: [], children: [] }];
  const opens = tasks.map(() => -1);
  // A scope is made after the one around it; tasks may be listed in any order.
  const open = (mapped: number): number => {
    if (opens[mapped] !== -1) return opens[mapped]!;
    const task = tasks[mapped]!;
    const source = indexByKey.get(task.forEach!.task)!;
    const parent = task.in === undefined ? findScope(source) : open(indexByKey.get(task.in)!);
    const index = scopes.length;
    scopes.push({ index, parent, depth: scopes[parent]!.depth + 1, mapped, source, tasks: [mapped], children: [] });
    scopes[parent]!.children.push(index);
    opens[mapped] = index;
    return index;
  };
  const findScope = (index: number): number => {
    const task = tasks[index]!;
    if (task.forEach) return open(index);
    return task.in === undefined ? 0 : open(indexByKey.get(task.in)!);
  };
  const scopeOf = tasks.map((_, index) => findScope(index));
  scopeOf.forEach((scope, index) => {
    if (opens[index] === -1) scopes[scope]!.tasks.push(index);
  });
  return { scopes, scopeOf, opens };
}

/**
 * Says what is wrong with tasks whose graph is sound by itself: unknown tasks, tasks that wait for each other in a round about
 * way, scopes that do not fit or lie too deep, outputs that are not there to be read. Pointers are relative to the list of
 * tasks.
 */
export function validateTaskFlow(tasks: readonly FlowTask[]): Fault[] {
  const faults: Fault[] = [];
  const keys = new Set(tasks.map(({ key }) => key));
  const mapped = new Set(tasks.filter(({ forEach }) => forEach).map(({ key }) => key));
  tasks.forEach((task, index) => {
    const at = (pointer: string, detail: string) => faults.push({ pointer: `/${index}${pointer}`, detail });
    const find = (key: string, pointer: string) => {
      if (!keys.has(key)) at(pointer, `there is no task "${key}"`);
    };
    if (task.forEach) {
      find(task.forEach.task, '/forEach/task');
      if (parsePointer(task.forEach.path) === undefined) {
        at('/forEach/path', 'it must be a JSON pointer such as /items, or empty for the whole output');
      }
    }
    if (task.in !== undefined) {
      find(task.in, '/in');
      if (keys.has(task.in) && !mapped.has(task.in)) at('/in', `"${task.in}" is not a mapped task: it has no forEach`);
    }
    const seen = new Set<string>();
    (task.onFailure ?? []).forEach((key, position) => {
      find(key, `/onFailure/${position}`);
      if (seen.has(key)) at(`/onFailure/${position}`, `"${key}" is named twice`);
      seen.add(key);
    });
    if (task.onFailure && task.after && task.after.length > 0) {
      at('/onFailure', 'a task waits either for success, with after, or for failure, with onFailure');
    }
    if (task.onFailure && task.forEach) at('/onFailure', 'a mapped task can not handle a failure; one behind it can');
  });
  if (faults.length > 0) return faults;
  const round = validateTaskGraph(tasks.map((task) => ({ key: task.key, after: [...listCauses(task)] })));
  if (round.length > 0) return round;
  const plan = makePlan(tasks);
  return [...validateScopes(plan), ...validateReads(plan)];
}

/** Every task that must have come before this one could begin, in whatever way. */
function listCauses(task: FlowTask): Set<string> {
  const causes = new Set([...(task.after ?? []), ...(task.onFailure ?? [])]);
  if (task.forEach) causes.add(task.forEach.task);
  if (task.in !== undefined) causes.add(task.in);
  return causes;
}

function validateScopes(plan: RunPlan): Fault[] {
  const faults: Fault[] = [];
  const { tasks, scopes, scopeOf, indexByKey } = plan;
  const areRelated = (one: number, other: number) => isAround(plan, one, other) || isAround(plan, other, one);
  tasks.forEach((task, index) => {
    const home = homeOf(plan, index);
    const opened = plan.opens[index]!;
    if (opened !== -1 && scopes[opened]!.depth > SCOPE_DEPTH_MAX) {
      faults.push({ pointer: `/${index}/forEach`, detail: `scopes lie at most ${SCOPE_DEPTH_MAX} deep` });
    }
    if (opened !== -1 && !isAround(plan, scopeOf[scopes[opened]!.source]!, home)) {
      faults.push({
        pointer: `/${index}/forEach/task`,
        detail: `"${task.forEach!.task}" runs once per element of a scope that this task is not in`,
      });
    }
    const check = (key: string, pointer: string) => {
      if (areRelated(scopeOf[indexByKey.get(key)!]!, home)) return;
      const other = tasks[scopes[scopeOf[indexByKey.get(key)!]!]!.mapped]!.key;
      faults.push({
        pointer: `/${index}${pointer}`,
        detail: `"${key}" runs once per element of "${other}", whose scope this task neither is in nor around`,
      });
    };
    (task.after ?? []).forEach((key, position) => void check(key, `/after/${position}`));
    (task.onFailure ?? []).forEach((key, position) => void check(key, `/onFailure/${position}`));
  });
  return faults;
}

function validateReads(plan: RunPlan): Fault[] {
  if (plan.tasks.every(({ reads }) => !reads)) return [];
  const faults: Fault[] = [];
  const ancestors = findAncestors(plan);
  plan.tasks.forEach((task, index) => {
    for (const key of task.reads ?? []) {
      const read = plan.indexByKey.get(key);
      const pointer = `/${index}`;
      if (read === undefined) faults.push({ pointer, detail: `inputs.${key}: there is no task "${key}"` });
      else if (!((ancestors(index) >> BigInt(read)) & 1n)) {
        faults.push({ pointer, detail: `inputs.${key}: the task does not wait for "${key}"` });
      } else if (
        !isAround(plan, plan.scopeOf[read]!, plan.scopeOf[index]!) &&
        !isAround(plan, plan.scopeOf[index]!, plan.scopeOf[read]!)
      ) {
        faults.push({ pointer, detail: `inputs.${key}: "${key}" runs once per element of another scope` });
      }
    }
  });
  return faults;
}

/**
 * For each task the set of those that it waits for, directly or not, as a bit for each place: what is in a scope also for all that
 * the scope waited for, but not for the mapped task's own turn. Only of a sound graph.
 */
function findAncestors(plan: RunPlan): (index: number) => bigint {
  const known = new Map<number, bigint>();
  const causes = plan.tasks.map((_, index) => [...plan.parents[index]!, ...plan.handles[index]!]);
  const find = (index: number): bigint => {
    const found = known.get(index);
    if (found !== undefined) return found;
    let bits = 0n;
    for (const cause of causes[index]!) bits |= find(cause) | (1n << BigInt(cause));
    const { mapped } = plan.scopes[homeOf(plan, index)]!;
    if (mapped !== -1) bits |= find(mapped);
    known.set(index, bits);
    return bits;
  };
  return find;
}

/** The steps of a JSON pointer (RFC 6901), or undefined when it is none. */
export function parsePointer(pointer: string): string[] | undefined {
  if (pointer === '') return [];
  if (!pointer.startsWith('/') || /~(?![01])/.test(pointer)) return undefined;
  return pointer
    .slice(1)
    .split('/')
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** What stands at a JSON pointer; undefined when nothing does. */
export function readPointer(value: unknown, pointer: string): unknown {
  let found = value;
  for (const step of parsePointer(pointer) ?? []) {
    if (found === null || typeof found !== 'object' || !Object.hasOwn(found, step)) return undefined;
    // `length` is no element of an array.
    if (Array.isArray(found) && !/^(?:0|[1-9]\d*)$/.test(step)) return undefined;
    found = (found as Record<string, unknown>)[step];
  }
  return found;
}
