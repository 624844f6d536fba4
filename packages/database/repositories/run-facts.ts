import {
  type CostPurse,
  collectNeeds,
  compileExpression,
  ExpressionError,
  type ExpressionValues,
  type FlowData,
  formatPath,
  isAround,
  parseTemplate,
  type RunTree,
  readPointer,
  renderText,
  type TaskPath,
  viewOutputs,
} from '@punctual/domain';
import type { OutputWish } from '../queries/task-outputs.ts';

/** What the errors of conditions begin with: a task that ended by one was never begun. */
export const WHEN_ERROR = 'when: ';

/**
 * What the conditions of one run may cost in one transaction, which holds the run's lock meanwhile: ten times what a single one
 * may, about half a second. Ten thousand elements can ask 200 units each. Of what is beyond it the tasks end dead.
 */
export const WHEN_COST_PER_RUN_MAX = 2_000_000;

type Wish = Omit<OutputWish, 'runId'>;

/**
 * What conditions and the opening of scopes ask of one run: its input and outputs of its tasks. What is asked for and not known
 * is wished for; once the wishes were taken, what was not added does not exist.
 */
export class RunFacts implements FlowData {
  readonly #tree: RunTree;
  readonly #purse: CostPurse;
  readonly #outputs = new Map<string, unknown>();
  readonly #known = new Set<string>();
  readonly #wishes = new Map<string, Wish>();
  #input: unknown;
  #hasInput = false;
  wantsInput = false;

  /** `purse`: what conditions may cost, if others share it. */
  constructor(tree: RunTree, purse: CostPurse = { left: WHEN_COST_PER_RUN_MAX }) {
    this.#tree = tree;
    this.#purse = purse;
  }

  /** JSON text; null when the run has none. */
  setInput(text: string | null): void {
    this.#input = text === null ? null : JSON.parse(text);
    this.#hasInput = true;
    this.wantsInput = false;
  }

  addOutput(taskKey: string, path: string, text: string): void {
    this.setOutput(taskKey, path, JSON.parse(text));
  }

  /** The same of one that is parsed already. */
  setOutput(taskKey: string, path: string, value: unknown): void {
    this.#outputs.set(`${taskKey} ${path}`, value);
  }

  /** Says that this task has no other outputs than those added. */
  takeWishes(): Wish[] {
    const wishes = [...this.#wishes.values()];
    for (const name of this.#wishes.keys()) this.#known.add(name);
    this.#wishes.clear();
    return wishes;
  }

  countElements(scope: number, path: TaskPath): number | { error: string } | undefined {
    const elements = this.findElements(scope, path);
    return Array.isArray(elements) ? elements.length : elements;
  }

  /** The elements of a scope that is opened within the instance at `path`. */
  findElements(scope: number, path: TaskPath): unknown[] | { error: string } | undefined {
    const { plan } = this.#tree;
    const { source, mapped } = plan.scopes[scope]!;
    const depth = plan.scopes[plan.scopeOf[source]!]!.depth;
    const found = this.#find(source, path.slice(0, depth));
    if (found === undefined) return undefined;
    const { task, path: pointer } = plan.tasks[mapped]!.forEach!;
    const elements = readPointer(found.value, pointer);
    if (Array.isArray(elements)) return elements;
    return { error: `The output of "${task}" has no array at "${pointer}".` };
  }

  decide(task: number, path: TaskPath): boolean | { error: string } | undefined {
    const { when } = this.#tree.plan.tasks[task]!;
    if (when === undefined) return true;
    const hasItem = this.#tree.plan.scopeOf[task] !== 0;
    try {
      const { reads, readsInput, readsItem, evaluate } = compileExpression(when, hasItem);
      const values = this.collectValues(task, path, { reads, readsInput, readsItem });
      if (!values) return undefined;
      const answer = evaluate(values, this.#purse);
      return typeof answer === 'boolean' ? answer : { error: `${WHEN_ERROR}the expression is neither true nor false.` };
    } catch (error) {
      if (error instanceof ExpressionError) return { error: `${WHEN_ERROR}${error.message}` };
      throw error;
    }
  }

  /**
   * A text with templates as it is for one instance of a task; it costs what conditions do. Undefined while something is not known; an error when it can not
   * be rendered.
   */
  renderText(task: number, path: TaskPath, text: string): string | { error: string } | undefined {
    try {
      const template = parseTemplate(text, this.#tree.plan.scopeOf[task] !== 0);
      if (!template) return text;
      const values = this.collectValues(task, path, collectNeeds(template));
      return values && renderText(template, values, (value) => value, undefined, this.#purse);
    } catch (error) {
      if (error instanceof ExpressionError) return { error: error.message };
      throw error;
    }
  }

  /** What expressions of a task's instance may name. Undefined while something is not known. */
  collectValues(
    task: number,
    path: TaskPath,
    { reads, readsInput, readsItem }: { reads: readonly string[]; readsInput: boolean; readsItem: boolean },
  ): ExpressionValues | undefined {
    const { plan } = this.#tree;
    let isComplete = true;
    if (readsInput && !this.#hasInput) {
      this.wantsInput = true;
      isComplete = false;
    }
    const scope = plan.scopeOf[task]!;
    let item: unknown;
    if (readsItem && scope !== 0) {
      const elements = this.findElements(scope, path.slice(0, -1));
      if (elements === undefined) isComplete = false;
      else if (Array.isArray(elements)) item = elements[path.at(-1)!];
    }
    const inputs: Record<string, unknown> = {};
    for (const key of reads) {
      const value = this.#view(plan.indexByKey.get(key)!, scope, path);
      if (value === undefined) isComplete = false;
      else Object.defineProperty(inputs, key, { value: value.value, enumerable: true });
    }
    if (!isComplete) return undefined;
    return { input: this.#input ?? null, inputs, ...(scope !== 0 && { item, index: path.at(-1)! }) };
  }

  #find(task: number, path: TaskPath): { value: unknown } | undefined {
    const key = this.#tree.plan.tasks[task]!.key;
    const name = `${key} ${formatPath(path) ?? ''}`;
    if (this.#outputs.has(name)) return { value: this.#outputs.get(name) };
    if (this.#known.has(name)) return { value: null };
    this.#wishes.set(name, { taskKey: key, path: formatPath(path) ?? '', isBelow: false });
    return undefined;
  }

  #view(task: number, from: number, path: TaskPath): { value: unknown } | undefined {
    const { plan } = this.#tree;
    const scope = plan.scopeOf[task]!;
    if (isAround(plan, scope, from)) return this.#find(task, path.slice(0, plan.scopes[scope]!.depth));
    const key = plan.tasks[task]!.key;
    const beneath = formatPath(path) ?? '';
    const name = `${key} ${beneath}*`;
    if (!this.#known.has(name)) {
      this.#wishes.set(name, { taskKey: key, path: beneath, isBelow: true });
      return undefined;
    }
    const read = (here: TaskPath) => this.#outputs.get(`${key} ${formatPath(here) ?? ''}`);
    return { value: viewOutputs(this.#tree, task, from, path, read) };
  }
}
