import { decodeTaskState, encodeTaskState, type RunStatus, type TaskState } from './run-progress.ts';
import { type FlowTask, isAround, planRun, type RunPlan } from './task-flow.ts';

/** Elements that all scopes of one run may have together: a place in a path has four digits. */
export const ELEMENTS_PER_RUN_MAX = 10_000;
/**
 * What these elements may be together: for each one the tasks of its scope, and the scopes that may open within it. Bounds a
 * run's row (a letter for each), and what one outcome can unlock or end, a row for each, in one transaction.
 */
export const INSTANCES_PER_RUN_MAX = 50_000;
/** Outputs that one run may keep, as JSON text (characters): a join may have to read them all. */
export const OUTPUTS_PER_RUN_MAX = 1_048_576;

/** Where an instance is: the place of its element in each scope around it, from the outside in. Empty: the run itself. */
export type TaskPath = readonly number[];

/** One instance of a scope: the states of its tasks, in the plan's order, and what became of the scopes within. */
export interface ScopeInstance {
  states: TaskState[];
  openings: Opening[];
}

/**
 * A scope within an instance: `pending` until its elements are known, `open` from then on. It is `dead` when there were no
 * elements to be had, and `live` while somebody has sent the dead letter of that again.
 */
export interface Opening {
  state: 'pending' | 'open' | 'live' | 'dead' | 'cancelled' | 'excluded';
  instances: ScopeInstance[];
}

/** A run as its row stores it. */
export interface RunTree {
  plan: RunPlan;
  root: ScopeInstance;
  /** Of all scopes, ever opened. */
  elements: number;
  /** Of tasks, and of scopes that may open, in these elements. */
  instances: number;
  /** Characters of all outputs kept. */
  outputLength: number;
}

/** Of the innermost scopes, of which there may be ten thousand: nobody adds to it. */
const NO_OPENINGS: Opening[] = [];

const PATH_DIGITS = 4;

/** The text of a path: it sorts as the elements do. Null for the run itself. */
export function formatPath(path: TaskPath): string | null {
  return path.length === 0 ? null : path.map((place) => String(place).padStart(PATH_DIGITS, '0')).join('.');
}

export function parsePath(text: string | null): number[] {
  return text === null || text === '' ? [] : text.split('.').map(Number);
}

/** A run in which nothing has begun. */
export function beginRunTree(tasks: readonly FlowTask[]): RunTree {
  const plan = planRun(tasks);
  return { plan, root: createInstance(plan, 0), elements: 0, instances: 0, outputLength: 0 };
}

/** What one element of a scope adds to the instances of its run. */
export function weighElement(plan: RunPlan, scope: number): number {
  const { tasks, children } = plan.scopes[scope]!;
  return tasks.length + children.length;
}

export function createInstance(plan: RunPlan, scope: number): ScopeInstance {
  const { tasks, children } = plan.scopes[scope]!;
  return {
    states: tasks.map(() => 'pending'),
    openings: children.length === 0 ? NO_OPENINGS : children.map(() => ({ state: 'pending', instances: [] })),
  };
}

/** The instance at a path in a scope; undefined when there is none. */
export function findInstance(tree: RunTree, scope: number, path: TaskPath): ScopeInstance | undefined {
  const { scopes } = tree.plan;
  if (path.length !== scopes[scope]!.depth) return undefined;
  if (scope === 0) return tree.root;
  return findOpening(tree, scope, path.slice(0, -1))?.instances[path.at(-1)!];
}

/** The opening of a scope within the instance around it, which is at `path`. */
export function findOpening(tree: RunTree, scope: number, path: TaskPath): Opening | undefined {
  const { scopes } = tree.plan;
  const { parent } = scopes[scope]!;
  return findInstance(tree, parent, path)?.openings[scopes[parent]!.children.indexOf(scope)];
}

/**
 * Writes down the state of a task's instance. At the path of the instance around its scope a mapped task stands for the scope
 * itself, which could not be opened.
 */
export function setTaskState(tree: RunTree, key: string | null, path: TaskPath, state: TaskState): void {
  const { plan } = tree;
  const task = key === null ? undefined : plan.indexByKey.get(key);
  if (task === undefined) throw new RangeError(`the workflow has no task "${key}"`);
  const instance = findInstance(tree, plan.scopeOf[task]!, path);
  if (instance) {
    instance.states[plan.slotOf[task]!] = state;
    return;
  }
  const opening = plan.opens[task] === -1 ? undefined : findOpening(tree, plan.opens[task]!, path);
  if (!opening) throw new RangeError(`the run has no instance [${path.join(', ')}] of the task "${key}"`);
  opening.state = state === 'succeeded' || state === 'skipped' ? 'excluded' : state;
}

/** The state of a task's instance; undefined where there is none (yet). */
export function getTaskState(tree: RunTree, task: number, path: TaskPath): TaskState | undefined {
  const { plan } = tree;
  const instance = findInstance(tree, plan.scopeOf[task]!, path);
  if (instance) return instance.states[plan.slotOf[task]!];
  const opening = plan.opens[task] === -1 ? undefined : findOpening(tree, plan.opens[task]!, path);
  return opening && opening.state !== 'open' ? opening.state : undefined;
}

/** As the run's row stores it. A plain run is one letter a task. */
export function encodeRunTree(tree: RunTree): string {
  if (tree.plan.isPlain) return tree.root.states.map(encodeTaskState).join('');
  return `${tree.elements},${tree.outputLength};${encodeInstance(tree.root)}`;
}

function encodeInstance({ states, openings }: ScopeInstance): string {
  let text = '';
  for (const state of states) text += encodeTaskState(state);
  for (const opening of openings) {
    if (opening.state !== 'open') {
      text += encodeTaskState(opening.state);
      continue;
    }
    text += `o${opening.instances.length}:`;
    for (const inner of opening.instances) text += encodeInstance(inner);
  }
  return text;
}

/** Throws RangeError on a text that is not that of a run of these tasks. */
export function decodeRunTree(tasks: readonly FlowTask[], text: string): RunTree {
  const plan = planRun(tasks);
  if (plan.isPlain) {
    const root = { states: Array.from(text, decodeTaskState), openings: [] };
    return { plan, root, elements: 0, instances: 0, outputLength: 0 };
  }
  const head = /^(\d+),(\d+);/.exec(text);
  if (!head) throw new RangeError('the states of a run have no beginning');
  const cursor = { text, at: head[0].length, instances: 0 };
  const root = decodeInstance(plan, 0, cursor);
  if (cursor.at !== text.length) throw new RangeError('the states of a run go on behind their end');
  const [elements, outputLength] = [Number(head[1]), Number(head[2])];
  return { plan, root, elements, instances: cursor.instances, outputLength };
}

/** How many characters of outputs a run keeps, by its text alone. */
export function readOutputLength(text: string): number {
  return Number(/^\d+,(\d+);/.exec(text)?.[1] ?? 0);
}

function decodeInstance(
  plan: RunPlan,
  scope: number,
  cursor: { text: string; at: number; instances: number },
): ScopeInstance {
  const { tasks, children } = plan.scopes[scope]!;
  const states: TaskState[] = [];
  for (let count = tasks.length; count > 0; count -= 1) {
    states.push(decodeTaskState(cursor.text[cursor.at]!));
    cursor.at += 1;
  }
  if (children.length === 0) return { states, openings: NO_OPENINGS };
  const openings: Opening[] = [];
  for (const child of children) {
    const letter = cursor.text[cursor.at]!;
    cursor.at += 1;
    if (letter !== 'o') {
      openings.push({ state: decodeTaskState(letter) as Exclude<Opening['state'], 'open'>, instances: [] });
      continue;
    }
    const end = cursor.text.indexOf(':', cursor.at);
    const count = Number(cursor.text.slice(cursor.at, end));
    if (end === -1 || !(count <= ELEMENTS_PER_RUN_MAX)) throw new RangeError('the states of a run are cut off');
    cursor.at = end + 1;
    cursor.instances += count * weighElement(plan, child);
    const instances: ScopeInstance[] = [];
    for (let place = 0; place < count; place += 1) instances.push(decodeInstance(plan, child, cursor));
    openings.push({ state: 'open', instances });
  }
  return { states, openings };
}

/** Calls `visit` with the state of each instance of each task; a scope that is not open stands for all tasks in it. */
export function visitStates(
  tree: RunTree,
  visit: (task: number, state: TaskState, path: TaskPath, isOpening: boolean) => void,
): void {
  const { plan } = tree;
  const walk = (scope: number, instance: ScopeInstance, path: TaskPath) => {
    const { tasks, children } = plan.scopes[scope]!;
    tasks.forEach((task, slot) => void visit(task, instance.states[slot]!, path, false));
    children.forEach((child, slot) => {
      const opening = instance.openings[slot]!;
      if (opening.state !== 'open') visit(plan.scopes[child]!.mapped, opening.state, path, true);
      opening.instances.forEach((inner, place) => void walk(child, inner, [...path, place]));
    });
  };
  walk(0, tree.root, []);
}

/**
 * The status of a run whose ready tasks have all begun: as of a plain run, but for tasks whose death is handled or made light
 * of.
 */
export function computeTreeStatus(tree: RunTree): RunStatus {
  const { plan } = tree;
  const seen = { isLive: false, isDead: false, isCancelled: false };
  const look = (task: number, state: TaskState | 'open') => {
    if (state === 'live') seen.isLive = true;
    else if (state === 'cancelled') seen.isCancelled = true;
    else if (state === 'dead' && !plan.isHandled[task] && !plan.tasks[task]!.continueOnFailure) seen.isDead = true;
  };
  const walk = (scope: number, instance: ScopeInstance) => {
    const { tasks, children } = plan.scopes[scope]!;
    for (let slot = 0; slot < tasks.length; slot += 1) look(tasks[slot]!, instance.states[slot]!);
    for (let slot = 0; slot < children.length; slot += 1) {
      const opening = instance.openings[slot]!;
      look(plan.scopes[children[slot]!]!.mapped, opening.state);
      for (const inner of opening.instances) walk(children[slot]!, inner);
    }
  };
  walk(0, tree.root);
  if (seen.isLive) return 'running';
  if (seen.isDead) return 'failed';
  return seen.isCancelled ? 'cancelled' : 'succeeded';
}

/**
 * The outputs of a task as an instance at `path` of the scope `from` sees them: the one of its own element, or an array of
 * those of all elements below, in their order. `read` gives the output of one instance; absent ones are null.
 */
export function viewOutputs(
  tree: RunTree,
  task: number,
  from: number,
  path: TaskPath,
  read: (path: TaskPath) => unknown,
): unknown {
  const { plan } = tree;
  const scope = plan.scopeOf[task]!;
  const { depth } = plan.scopes[scope]!;
  if (depth <= plan.scopes[from]!.depth) return read(path.slice(0, depth)) ?? null;
  const chain: number[] = [];
  for (let at = scope; at !== from; at = plan.scopes[at]!.parent) chain.unshift(at);
  const view = (instance: ScopeInstance | undefined, at: number, level: number, here: TaskPath): unknown => {
    if (level === chain.length) return read(here) ?? null;
    const child = chain[level]!;
    const opening = instance?.openings[plan.scopes[at]!.children.indexOf(child)];
    if (opening?.state !== 'open') return null;
    return opening.instances.map((inner, place) => view(inner, child, level + 1, [...here, place]));
  };
  return view(findInstance(tree, from, path), from, 0, path);
}

/** Whether a task that is meant may still begin to wait: an instance of it is pending, or the scope in which it would be one. */
export function mayBegin(tree: RunTree, isMeant: (task: number) => boolean): boolean {
  const { plan } = tree;
  const tasks = plan.tasks.flatMap((_, task) => (isMeant(task) ? [task] : []));
  let found = false;
  visitStates(tree, (task, state, _path, isOpening) => {
    if (state !== 'pending' || found) return;
    found = isOpening
      ? tasks.some((meant) => isAround(plan, plan.opens[task]!, plan.scopeOf[meant]!))
      : tasks.includes(task);
  });
  return found;
}
