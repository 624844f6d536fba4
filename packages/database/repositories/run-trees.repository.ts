import {
  advanceTree,
  computeTreeStatus,
  computeWait,
  createId,
  decodeRunTree,
  encodeRunTree,
  type FlowNode,
  formatPath,
  listAllNodes,
  listUnlocked,
  OUTPUTS_PER_RUN_MAX,
  parsePath,
  planRun,
  type RunTree,
  readOutputLength,
  setTaskState,
  toStoredPriority,
} from '@punctual/domain';
import type { Transaction } from '../connect.ts';
import { choosePullQueue } from '../pull-queue.ts';
import type { DeadTimer } from '../queries/create-dead-timers.ts';
import type { FinishedAttempt } from '../queries/finish-timers.ts';
import type { NewTimer } from '../queries/new-timer-columns.ts';
import {
  readRunInputs,
  readTaskKeys,
  readTaskOutputs,
  storeTaskOutputs,
  type TaskOutput,
} from '../queries/task-outputs.ts';
import type { WorkflowVersion, WorkflowVersions } from '../workflow-versions.ts';
import { RunFacts } from './run-facts.ts';
import type { BeginningRun, DueTimes, EndedTask, LockedRun } from './run-progress.repository.ts';

/** A run that is more than a graph, on its way through one transaction. */
export interface MappedRun {
  run: BeginningRun;
  version: WorkflowVersion;
  tree: RunTree;
  facts: RunFacts;
  /** What is to be looked at next. */
  nodes: readonly FlowNode[];
}

/** The timers that such runs begin with, or end at once. */
export interface BegunTimers {
  timers: NewTimer[];
  skipped: NewTimer[];
  dead: DeadTimer[];
}

/**
 * Writes into a locked run what became of its tasks, and keeps their outputs. What may follow, or with `isWhole` whatever is
 * left, is still to be begun, unless the run was cancelled.
 */
export function noteEnds(
  run: LockedRun,
  version: WorkflowVersion,
  ended: readonly EndedTask[],
  isWhole: boolean,
): MappedRun {
  const tree = decodeRunTree(version.tasks, run.task_states);
  const facts = new RunFacts(tree);
  for (const task of ended) {
    const path = parsePath(task.path ?? null);
    setTaskState(tree, task.task_key, path, task.state);
    if (task.output != null && isKept(version, task.task_key)) {
      tree.outputLength += task.output.length;
      facts.addOutput(task.task_key!, task.path ?? '', task.output);
    }
  }
  const nodes = isWhole
    ? listAllNodes(tree)
    : ended.flatMap((task) =>
        listUnlocked(tree, tree.plan.indexByKey.get(task.task_key!)!, parsePath(task.path ?? null)),
      );
  return { run, version, tree, facts, nodes: run.status === 'cancelled' ? [] : nodes };
}

/** Stores the outputs that tasks of these runs ended with. */
export async function storeOutputs(
  client: Transaction,
  mapped: readonly (Pick<MappedRun, 'version'> & { run: LockedRun })[],
  endedByRun: ReadonlyMap<string | null, readonly EndedTask[]>,
): Promise<void> {
  const outputs = mapped.flatMap(({ run, version }) =>
    (endedByRun.get(run.id) ?? []).flatMap((task) =>
      task.output == null || !isKept(version, task.task_key)
        ? []
        : [
            {
              runId: run.id,
              tenantId: run.tenant_id,
              taskKey: task.task_key!,
              path: task.path ?? '',
              output: task.output,
            },
          ],
    ),
  );
  await storeTaskOutputs(client, outputs);
}

function isKept({ tasks }: WorkflowVersion, key: string | null | undefined): boolean {
  const plan = planRun(tasks);
  const task = plan.indexByKey.get(key ?? '');
  return task !== undefined && plan.isKept[task]!;
}

/**
 * Begins all that may begin in these runs. Conditions and elements may need inputs and outputs that are stored: they are read
 * for all runs together, as often as one decision leads to the next.
 */
export async function beginReadyNodes(
  client: Transaction,
  runs: readonly MappedRun[],
  dueTimes: DueTimes = new Map(),
): Promise<BegunTimers> {
  const begun: BegunTimers = { timers: [], skipped: [], dead: [] };
  let busy = runs.filter(({ nodes }) => nodes.length > 0);
  while (busy.length > 0) {
    for (const run of busy) run.nodes = advance(run, begun, dueTimes);
    busy = busy.filter(({ nodes }) => nodes.length > 0);
    await readFacts(client, busy);
  }
  return begun;
}

/**
 * The same for a run that is about to begin. Its input is known, and no task has an output: one that ends at once, left out or
 * dead, may have others behind it which ask for it all the same.
 */
export function beginFirstNodes(run: MappedRun, begun: BegunTimers, dueTimes: DueTimes = new Map()): void {
  while (run.nodes.length > 0) {
    run.nodes = advance(run, begun, dueTimes);
    run.facts.takeWishes();
  }
}

export function describeTree({ tree }: MappedRun) {
  return { taskStates: encodeRunTree(tree), status: computeTreeStatus(tree) };
}

// Returns the nodes that could not be decided.
function advance(mapped: MappedRun, begun: BegunTimers, dueTimes: DueTimes): readonly FlowNode[] {
  const { run, version, tree, facts } = mapped;
  const anchorAt = Math.ceil(run.locked_at);
  const undecided: FlowNode[] = [];
  let { nodes } = mapped;
  while (nodes.length > 0) {
    const steps = advanceTree(tree, nodes, facts);
    const next: FlowNode[] = [];
    for (const { task, path } of steps.begun) {
      const stored = version.tasks[task]!;
      let wait = dueTimes.get(stored);
      if (!wait) {
        wait = computeWait(stored.delay, { anchorAt, timeZone: version.timeZone });
        dueTimes.set(stored, wait);
      }
      const { due, waitsFor } = wait;
      const isSkipped = due.kind !== 'due';
      const dueAt = due.kind === 'due' ? due.dueAt : anchorAt;
      const timer = makeTaskTimer(run, version, task, formatPath(path), { dueAt, waitsFor });
      (isSkipped ? begun.skipped : begun.timers).push(timer);
      if (!isSkipped) continue;
      setTaskState(tree, stored.key, path, 'skipped');
      next.push(...listUnlocked(tree, task, path));
    }
    for (const { task, path, error } of steps.failed) {
      begun.dead.push({
        ...makeTaskTimer(run, version, task, formatPath(path), { dueAt: anchorAt, waitsFor: null }),
        error,
      });
    }
    undecided.push(...steps.undecided);
    nodes = next;
  }
  return undecided;
}

/** The timer of a task's instance, which begins now. */
export function makeTaskTimer(
  run: BeginningRun,
  version: WorkflowVersion,
  task: number,
  path: string | null,
  wait: Pick<NewTimer, 'dueAt' | 'waitsFor'>,
): NewTimer {
  const { key, timeoutMs, concurrency, priority } = version.tasks[task]!;
  return {
    id: createId(),
    tenantId: run.tenant_id,
    partition: run.partition,
    ...wait,
    createdAt: Math.ceil(run.locked_at),
    runId: run.id,
    workflowId: version.workflowId,
    workflowVersion: version.version,
    taskKey: key,
    timeZone: null,
    delay: null,
    action: null,
    payload: null,
    retry: null,
    timeoutMs: timeoutMs ?? null,
    externalId: null,
    labels: null,
    path,
    pullQueue: choosePullQueue(version.tasks[task]!, wait.waitsFor),
    concurrency: concurrency ? JSON.stringify(concurrency) : null,
    priority: toStoredPriority(priority ?? version.priority),
  };
}

/** Reads what these runs' facts have been asked for and do not know. */
export async function readFacts(client: Transaction, runs: readonly MappedRun[]): Promise<void> {
  if (runs.length === 0) return;
  const byId = new Map(runs.map((mapped) => [mapped.run.id, mapped.facts]));
  const inputless = runs.filter(({ facts }) => facts.wantsInput).map(({ run }) => run.id);
  if (inputless.length > 0) {
    for (const [id, input] of await readRunInputs(client, inputless)) byId.get(id)!.setInput(input);
  }
  const wishes = runs.flatMap(({ run, facts }) => facts.takeWishes().map((wish) => ({ ...wish, runId: run.id })));
  if (wishes.length === 0) return;
  const found: TaskOutput[] = await readTaskOutputs(client, wishes);
  for (const { runId, taskKey, path, output } of found) byId.get(runId)!.addOutput(taskKey, path, output);
}

/** A task that ends, and what others may need of it (JSON text). */
export interface EndingTask {
  runId: string;
  record: FinishedAttempt;
  output: string | undefined;
}

/**
 * Drops outputs that nobody needs: whoever ends a task may not know, and its run may follow another version by now. Of the
 * others, tasks whose outputs would be more than their locked runs may keep end dead instead: they and nothing else. The rest
 * stays as it is.
 */
export async function admitOutputs<Ending extends EndingTask>(
  client: Transaction,
  versions: WorkflowVersions,
  runs: readonly LockedRun[],
  endings: readonly Ending[],
): Promise<readonly Ending[]> {
  if (endings.every(({ output }) => output === undefined)) return endings;
  const rooms = new Map<string, { version: WorkflowVersion; left: number }>();
  for (const run of runs) {
    const version = await versions.read(client, run.workflow_id, run.workflow_version);
    if (planRun(version.tasks).isPlain) continue;
    rooms.set(run.id, { version, left: OUTPUTS_PER_RUN_MAX - readOutputLength(run.task_states) });
  }
  const keepable = endings.filter(({ runId, output }) => output !== undefined && rooms.has(runId));
  const keys =
    keepable.length === 0
      ? new Map<string, string | null>()
      : await readTaskKeys(
          client,
          keepable.map(({ record }) => record.id),
        );
  return endings.map((ending) => {
    if (ending.output === undefined) return ending;
    const room = rooms.get(ending.runId);
    if (!room || !isKept(room.version, keys.get(ending.record.id))) return { ...ending, output: undefined };
    if (ending.output.length <= room.left) {
      room.left -= ending.output.length;
      return ending;
    }
    const error = `The outputs of the run would be larger than ${OUTPUTS_PER_RUN_MAX} characters together.`;
    return { ...ending, output: undefined, record: { ...ending.record, state: 'dead', outcome: 'permanent', error } };
  });
}
