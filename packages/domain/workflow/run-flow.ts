import type { TaskState } from './run-progress.ts';
import {
  createInstance,
  ELEMENTS_PER_RUN_MAX,
  findInstance,
  findOpening,
  getTaskState,
  INSTANCES_PER_RUN_MAX,
  type Opening,
  type RunTree,
  type ScopeInstance,
  type TaskPath,
  weighElement,
} from './run-tree.ts';
import { homeOf, isAround } from './task-flow.ts';

/** An instance of a task; for a mapped one perhaps the opening of its scope, at the path of the instance around it. */
export interface FlowNode {
  task: number;
  path: TaskPath;
  isOpening: boolean;
}

/** What a decision needs that does not stand in the run's states. Undefined: not known yet, ask again later. */
export interface FlowData {
  /** Whether the condition of a task holds, or why that can not be said. */
  decide: (task: number, path: TaskPath) => boolean | { error: string } | undefined;
  /** How many elements the source of a scope gives, or why there are none. */
  countElements: (scope: number, path: TaskPath) => number | { error: string } | undefined;
}

/** What is to be done about the tasks that were looked at. Their states are written down already. */
export interface FlowSteps {
  /** They begin to wait for their due times. */
  begun: FlowNode[];
  /** They end dead without having been tried. */
  failed: (FlowNode & { error: string })[];
  /** Nothing could be said of these without data that was not there. */
  undecided: FlowNode[];
}

/** The tasks with which a run can begin. */
export function listFirstNodes(tree: RunTree): FlowNode[] {
  return listNodes(tree, 0, []);
}

/** Every task of every element that there is so far, and every scope: for a run of which nobody knows what it waits for. */
export function listAllNodes(tree: RunTree): FlowNode[] {
  const nodes: FlowNode[] = [];
  const walk = (scope: number, instance: ScopeInstance, path: TaskPath) => {
    nodes.push(...listNodes(tree, scope, path));
    tree.plan.scopes[scope]!.children.forEach((child, slot) => {
      instance.openings[slot]!.instances.forEach((inner, place) => void walk(child, inner, [...path, place]));
    });
  };
  walk(0, tree.root, []);
  return nodes;
}

/** The tasks that the end of an instance of a task may unlock. */
export function listUnlocked(tree: RunTree, task: number, path: TaskPath): FlowNode[] {
  const { plan } = tree;
  const scope = plan.scopeOf[task]!;
  // A scope that could not be opened ends for all that is in it.
  if (path.length < plan.scopes[scope]!.depth) return listBehindScope(tree, scope, path);
  return listBehind(tree, task, path);
}

/**
 * Looks at tasks that may begin now, and at whatever that decides in its turn: begins, leaves out, opens scopes, until nothing
 * more follows. Each instance is decided once: what is not `pending` is passed over.
 */
export function advanceTree(tree: RunTree, nodes: readonly FlowNode[], data: FlowData): FlowSteps {
  const steps: FlowSteps = { begun: [], failed: [], undecided: [] };
  // In the order in which they came: what waits for all elements is then looked at once behind all of them, not once for each.
  const queue: { name: string; node: FlowNode }[] = [];
  const queued = new Set<string>();
  const add = (more: readonly FlowNode[]) => {
    for (const node of more) {
      const name = `${node.isOpening ? 'o' : 't'}${node.task}/${node.path.join('.')}`;
      if (queued.has(name)) continue;
      queued.add(name);
      queue.push({ name, node });
    }
  };
  add(nodes);
  for (let at = 0; at < queue.length; at += 1) {
    const { name, node } = queue[at]!;
    queued.delete(name);
    add(decideNode(tree, node, data, steps));
  }
  return steps;
}

function decideNode(tree: RunTree, node: FlowNode, data: FlowData, steps: FlowSteps): readonly FlowNode[] {
  const { plan } = tree;
  const { task, path, isOpening } = node;
  const opening = isOpening ? findOpening(tree, plan.opens[task]!, path) : undefined;
  const instance = isOpening ? undefined : findInstance(tree, plan.scopeOf[task]!, path);
  const slot = plan.slotOf[task]!;
  if ((opening?.state ?? instance?.states[slot]) !== 'pending') return [];
  const set = (state: 'live' | 'dead' | 'excluded') => {
    if (opening) opening.state = state;
    else instance!.states[slot] = state;
  };
  const behind = () => (isOpening ? listBehindScope(tree, plan.opens[task]!, path) : listBehind(tree, task, path));
  const fail = (error: string) => {
    set('dead');
    steps.failed.push({ ...node, error });
    return behind();
  };
  const verdict = judge(tree, node);
  if (verdict === 'wait') return [];
  if (verdict === 'exclude') {
    set('excluded');
    return behind();
  }
  if (opening) {
    const count = data.countElements(plan.opens[task]!, path);
    if (count === undefined) steps.undecided.push(node);
    else if (typeof count === 'object') return fail(count.error);
    else if (tree.elements + count > ELEMENTS_PER_RUN_MAX) {
      return fail(`The run would have more than ${ELEMENTS_PER_RUN_MAX} elements.`);
    } else if (tree.instances + count * weighElement(plan, plan.opens[task]!) > INSTANCES_PER_RUN_MAX) {
      return fail(
        `The run would have more than ${INSTANCES_PER_RUN_MAX} instances of tasks: each element counts once for every task and every scope in its own scope.`,
      );
    } else return openScope(tree, plan.opens[task]!, path, opening, count);
    return [];
  }
  if (plan.tasks[task]!.when !== undefined) {
    const answer = data.decide(task, path);
    if (answer === undefined) {
      steps.undecided.push(node);
      return [];
    }
    if (typeof answer === 'object') return fail(answer.error);
    if (!answer) {
      set('excluded');
      return behind();
    }
  }
  set('live');
  steps.begun.push(node);
  return [];
}

function openScope(tree: RunTree, scope: number, path: TaskPath, opening: Opening, count: number): readonly FlowNode[] {
  opening.state = 'open';
  opening.instances = Array.from({ length: count }, () => createInstance(tree.plan, scope));
  tree.elements += count;
  tree.instances += count * weighElement(tree.plan, scope);
  if (count === 0) return listBehindScope(tree, scope, path);
  return opening.instances.flatMap((_, place) => listNodes(tree, scope, [...path, place]));
}

// Of a mapped task in its own scope nothing is asked: the opening has waited for its parents.
function judge(tree: RunTree, { task, path, isOpening }: FlowNode): 'wait' | 'begin' | 'exclude' {
  const { plan } = tree;
  if (!isOpening && plan.opens[task] !== -1) return 'begin';
  const home = homeOf(plan, task);
  const handles = plan.handles[task]!;
  if (handles.length > 0) {
    const seen = handles.map((handled) => summarise(tree, handled, home, path));
    if (seen.some((flags) => !(flags & PENDING) && flags & DEAD)) return 'begin';
    return seen.some((flags) => flags & PENDING) ? 'wait' : 'exclude';
  }
  const parents = plan.parents[task]!;
  let areAllExcluded = parents.length > 0;
  let isBehindFailure = false;
  for (const parent of parents) {
    const flags = summarise(tree, parent, home, path);
    if (flags & (PENDING | BLOCKING)) return 'wait';
    if (flags & HANDLED) isBehindFailure = true;
    if (flags & ~EXCLUDED) areAllExcluded = false;
  }
  if (isBehindFailure) return 'exclude';
  if (isOpening) {
    const { source } = plan.scopes[plan.opens[task]!]!;
    const state = getTaskState(tree, source, path.slice(0, plan.scopes[plan.scopeOf[source]!]!.depth));
    if (state === 'skipped' || state === 'excluded') return 'exclude';
  }
  // A mapped task asks its own condition for each element, of which there are none here.
  return areAllExcluded && (isOpening || plan.tasks[task]!.when === undefined) ? 'exclude' : 'begin';
}

// What the instances of a task below one place come to.
const PENDING = 1;
const DONE = 2;
const EXCLUDED = 4;
/** Dead, and some other task is there to begin because of that. */
const HANDLED = 8;
/** Dead and nobody minds it, or cancelled: nothing behind it will ever begin. */
const BLOCKING = 16;
/** Dead, in whatever way. */
const DEAD = 32;

function summarise(tree: RunTree, task: number, home: number, path: TaskPath): number {
  const { plan } = tree;
  const scope = plan.scopeOf[task]!;
  if (isAround(plan, scope, home)) {
    const state = getTaskState(tree, task, path.slice(0, plan.scopes[scope]!.depth));
    return state === undefined ? PENDING : flagOf(tree, task, state);
  }
  const chain: number[] = [];
  for (let at = scope; at !== home; at = plan.scopes[at]!.parent) chain.unshift(at);
  const walk = (instance: ScopeInstance, at: number, level: number): number => {
    if (level === chain.length) return flagOf(tree, task, instance.states[plan.slotOf[task]!]!);
    const child = chain[level]!;
    const opening = instance.openings[plan.scopes[at]!.children.indexOf(child)]!;
    if (opening.state !== 'open') return flagOfOpening(tree, task, child, opening.state);
    if (opening.instances.length === 0) return DONE;
    let flags = 0;
    for (const inner of opening.instances) flags |= walk(inner, child, level + 1);
    return flags;
  };
  const instance = findInstance(tree, home, path);
  return instance ? walk(instance, home, 0) : PENDING;
}

function flagOf({ plan }: RunTree, task: number, state: TaskState): number {
  switch (state) {
    case 'pending':
    case 'live':
      return PENDING;
    case 'succeeded':
    case 'skipped':
      return DONE;
    case 'excluded':
      return EXCLUDED;
    case 'cancelled':
      return BLOCKING;
    case 'dead':
      if (plan.tasks[task]!.continueOnFailure) return DONE | DEAD;
      return (plan.isHandled[task] ? HANDLED : BLOCKING) | DEAD;
  }
}

/** What a scope that did not open says of a task in it: the mapped task failed, the others never came to be. */
function flagOfOpening(tree: RunTree, task: number, scope: number, state: Exclude<Opening['state'], 'open'>): number {
  const { mapped } = tree.plan.scopes[scope]!;
  const flags = flagOf(tree, mapped, state);
  if (task === mapped || !(flags & DEAD)) return flags;
  return flags & BLOCKING ? BLOCKING : EXCLUDED;
}

/** All that can begin in one instance of a scope: its tasks and the scopes within. */
function listNodes({ plan }: RunTree, scope: number, path: TaskPath): FlowNode[] {
  const { tasks, children } = plan.scopes[scope]!;
  return [
    ...tasks.map((task) => ({ task, path, isOpening: false })),
    ...children.map((child) => ({ task: plan.scopes[child]!.mapped, path, isOpening: true })),
  ];
}

function listBehind(tree: RunTree, task: number, path: TaskPath): FlowNode[] {
  const { plan } = tree;
  const nodes: FlowNode[] = [];
  for (const dependent of plan.dependents[task]!) {
    const home = homeOf(plan, dependent);
    const isOpening = plan.opens[dependent] !== -1;
    const { depth } = plan.scopes[home]!;
    if (depth <= path.length) nodes.push({ task: dependent, path: path.slice(0, depth), isOpening });
    else for (const below of listPathsBelow(tree, home, path)) nodes.push({ task: dependent, path: below, isOpening });
  }
  return nodes;
}

/** The paths of all instances of a scope that lie below a path. */
function listPathsBelow(tree: RunTree, scope: number, path: TaskPath): TaskPath[] {
  const { plan } = tree;
  const { parent, depth } = plan.scopes[scope]!;
  if (depth <= path.length) return [path];
  return listPathsBelow(tree, parent, path).flatMap((around) =>
    (findOpening(tree, scope, around)?.instances ?? []).map((_, place) => [...around, place]),
  );
}

/** What may begin when a scope, at the path of the instance around it, has come to an end without instances. */
function listBehindScope(tree: RunTree, scope: number, path: TaskPath): FlowNode[] {
  const { plan } = tree;
  const nodes: FlowNode[] = [];
  const walk = (at: number) => {
    for (const task of plan.scopes[at]!.tasks) {
      for (const dependent of plan.dependents[task]!) {
        const home = homeOf(plan, dependent);
        // What is within the scope itself does not exist.
        if (!isAround(plan, home, plan.scopes[scope]!.parent)) continue;
        const { depth } = plan.scopes[home]!;
        nodes.push({ task: dependent, path: path.slice(0, depth), isOpening: plan.opens[dependent] !== -1 });
      }
    }
    for (const child of plan.scopes[at]!.children) walk(child);
  };
  walk(scope);
  return nodes;
}
