import {
  type ActionTemplate,
  beginRunTree,
  decodeRunTree,
  type ExpressionValues,
  isAround,
  parsePath,
  planRun,
  type RunPlan,
} from '@punctual/domain';
import type { Queryable } from './connect.ts';
import { giveUpUnsent, leaveOut, type Outcome } from './outcome.ts';
import { VERSION_STARTED_AT_ONCE } from './queries/create-started-timers.ts';
import type { StartedTimer } from './queries/start-timers.ts';
import { haveAttemptsFailedBy, readRunStates, readTaskOutputs, type TaskOutput } from './queries/task-outputs.ts';
import { RunFacts, WHEN_ERROR } from './repositories/run-facts.ts';
import type { WorkflowVersion } from './workflow-versions.ts';

/** What the flow of a workflow asks of the attempt of one of its tasks. */
export interface TaskFlow {
  plan: RunPlan;
  task: number;
  /** Whether others need its output. */
  isKept: boolean;
  /** What the attempt itself needs to know; undefined for one that needs nothing. */
  needs: FlowNeeds | undefined;
}

export interface FlowNeeds {
  reads: readonly string[];
  readsInput: boolean;
  readsItem: boolean;
}

/** Wishes that one query carries; more wait for the next. */
const WISHES_PER_QUERY_MAX = 500;
/** Queries under way at once. */
const QUERIES_MAX = 2;
/** Outputs kept in memory, as JSON text (characters): those that elements come from, each used by all of its instances. */
const CACHED_LENGTH_MAX = 16_000_000;

/** The flow of a run's task; undefined for one of a plain run without templates. */
export function describeFlow(
  version: WorkflowVersion,
  task: number,
  template: ActionTemplate | undefined,
  isOwnDescription: boolean,
): TaskFlow | undefined {
  const plan = planRun(version.tasks);
  if (plan.isPlain && !template) return undefined;
  const told = isOwnDescription ? plan.inputsOf[task]!.map((input) => plan.tasks[input]!.key) : [];
  const reads = [...new Set([...(template?.reads ?? []), ...told])];
  const readsItem = (template?.readsItem ?? false) || (isOwnDescription && plan.scopeOf[task] !== 0);
  const readsInput = template?.readsInput ?? false;
  const needs = template || reads.length > 0 || readsItem ? { reads, readsInput, readsItem } : undefined;
  return { plan, task, isKept: plan.isKept[task]!, needs };
}

/** Said of a timer that stands for the opening of a scope that failed, and was sent again. */
const NO_ELEMENT = 'The task still has no elements to run for: see the attempt before this one.';

/** Whether a timer is for an element, if its task runs once per element. */
function hasElement(timer: Pick<StartedTimer, 'path'>, { plan, task }: TaskFlow): boolean {
  return parsePath(timer.path).length === plan.scopes[plan.scopeOf[task]!]!.depth;
}

/** What an action may name of the signal that its task waited for. */
function readSignal({ signal, waits_for: waitsFor }: StartedTimer): Pick<ExpressionValues, 'signal' | 'timedOut'> {
  return { signal: signal === null ? null : JSON.parse(signal), timedOut: waitsFor !== null };
}

interface Wish {
  runId: string;
  taskKey: string;
  path: string;
  isBelow: boolean;
}

/**
 * Reads what expressions and requests of runs' tasks need. Wishes that come at about the same time share a query, and an output
 * from which many elements come is read once. Outputs never change, so what was read stays true.
 */
export class FlowReader {
  readonly #database: { hot: Queryable };
  readonly #cache = new Map<string, { value: Promise<unknown>; length: number }>();
  #cachedLength = 0;
  #waiting: { wish: Wish; resolve: (outputs: TaskOutput[]) => void; reject: (error: unknown) => void }[] = [];
  #underWay = 0;

  constructor(database: { hot: Queryable }) {
    this.#database = database;
  }

  /**
   * The end of a started timer that must not be tried; undefined for almost all. It may stand for a scope that could not be
   * opened, or for a task whose condition could not be told, which is asked again then: the dead letters of both can be sent
   * again.
   */
  async findEnd(timer: StartedTimer, version: WorkflowVersion, flow: TaskFlow): Promise<Outcome | undefined> {
    const { plan, task } = flow;
    if (!hasElement(timer, flow)) return giveUpUnsent(timer, NO_ELEMENT);
    // A timer that was started for the first time has just been decided about.
    if (plan.tasks[task]!.when === undefined || timer.version <= VERSION_STARTED_AT_ONCE) return undefined;
    if (!(await haveAttemptsFailedBy(this.#database.hot, timer.id, WHEN_ERROR))) return undefined;
    const tree = decodeRunTree(version.tasks, await readRunStates(this.#database.hot, timer.run_id!));
    const facts = new RunFacts(tree);
    facts.setInput(timer.input);
    const answer = await this.#ask(timer, facts, () => facts.decide(task, parsePath(timer.path)));
    if (typeof answer === 'object') return giveUpUnsent(timer, answer.error);
    return answer ? undefined : leaveOut(timer);
  }

  /** The values that a task's instance may name. Rejects when the database does not answer. */
  async read(timer: StartedTimer, version: WorkflowVersion, flow: TaskFlow): Promise<ExpressionValues> {
    const { plan, task } = flow;
    const needs = flow.needs!;
    const scope = plan.scopeOf[task]!;
    const joins = needs.reads.some((key) => !isAround(plan, plan.scopeOf[plan.indexByKey.get(key)!]!, scope));
    // How many elements there are stands in the run alone; what is of this very element needs no more than its path.
    const tree = joins
      ? decodeRunTree(version.tasks, await readRunStates(this.#database.hot, timer.run_id!))
      : beginRunTree(version.tasks);
    const facts = new RunFacts(tree);
    facts.setInput(timer.input);
    const values = await this.#ask(timer, facts, () => facts.collectValues(task, parsePath(timer.path), needs));
    return version.tasks[task]!.delay?.type === 'signal' ? { ...values, ...readSignal(timer) } : values;
  }

  // Reads what `answer` misses, until it has one.
  async #ask<Answer>(timer: StartedTimer, facts: RunFacts, answer: () => Answer | undefined): Promise<Answer> {
    for (;;) {
      const answered = answer();
      if (answered !== undefined) return answered;
      await Promise.all(
        facts.takeWishes().map(async (wish) => {
          if (!wish.isBelow) {
            const value = await this.#readOne({ ...wish, runId: timer.run_id! });
            if (value !== undefined) facts.setOutput(wish.taskKey, wish.path, value);
            return;
          }
          for (const { taskKey, path, output } of await this.#fetch({ ...wish, runId: timer.run_id! })) {
            facts.addOutput(taskKey, path, output);
          }
        }),
      );
    }
  }

  // Undefined when there is none.
  #readOne(wish: Wish): Promise<unknown> {
    const name = `${wish.runId} ${wish.taskKey} ${wish.path}`;
    const known = this.#cache.get(name);
    if (known) {
      this.#cache.delete(name);
      this.#cache.set(name, known);
      return known.value;
    }
    const entry = { value: Promise.resolve<unknown>(undefined), length: name.length };
    const forget = () => {
      if (this.#cache.get(name) === entry && this.#cache.delete(name)) this.#cachedLength -= entry.length;
    };
    entry.value = this.#fetch(wish).then(
      ([found]) => {
        // One that is not there may come: of a dead task that counts as done and is sent again.
        if (!found) forget();
        else if (this.#cache.get(name) === entry) {
          entry.length += found.output.length;
          this.#cachedLength += found.output.length;
          this.#forgetOldest();
        }
        return found && JSON.parse(found.output);
      },
      (error) => {
        forget();
        throw error;
      },
    );
    this.#cache.set(name, entry);
    this.#cachedLength += entry.length;
    return entry.value;
  }

  #forgetOldest(): void {
    while (this.#cachedLength > CACHED_LENGTH_MAX && this.#cache.size > 1) {
      const [name, { length }] = this.#cache.entries().next().value!;
      this.#cache.delete(name);
      this.#cachedLength -= length;
    }
  }

  #fetch(wish: Wish): Promise<TaskOutput[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ wish, resolve, reject });
      if (this.#waiting.length === 1) queueMicrotask(() => this.#query());
    });
  }

  #query(): void {
    while (this.#waiting.length > 0 && this.#underWay < QUERIES_MAX) {
      const portion = this.#waiting.splice(0, WISHES_PER_QUERY_MAX);
      this.#underWay += 1;
      // One row may be wanted by several; who wants it takes it.
      readTaskOutputs(
        this.#database.hot,
        portion.map(({ wish }) => wish),
      )
        .then((found) => {
          const byTask = Map.groupBy(found, ({ runId, taskKey }) => `${runId} ${taskKey}`);
          for (const { wish, resolve } of portion) {
            const ofTask = byTask.get(`${wish.runId} ${wish.taskKey}`) ?? [];
            resolve(ofTask.filter(({ path }) => (wish.isBelow ? isBelow(path, wish.path) : path === wish.path)));
          }
        })
        .catch((error: unknown) => {
          for (const { reject } of portion) reject(error);
        })
        .finally(() => {
          this.#underWay -= 1;
          this.#query();
        });
    }
  }
}

function isBelow(path: string, around: string): boolean {
  return around === '' || path.startsWith(`${around}.`);
}
