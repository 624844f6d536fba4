import {
  beginRunTree,
  beginTaskStates,
  type CostPurse,
  computeRunStatus,
  createId,
  encodeTaskStates,
  listFirstNodes,
  planRun,
} from '@punctual/domain';
import type { Transaction } from '../connect.ts';
import { createDeadTimers, type DeadTimer } from '../queries/create-dead-timers.ts';
import { createRuns, type NewRun } from '../queries/create-runs.ts';
import { createSkippedTimers, createTimers, TIMERS_PER_INSERT_MAX } from '../queries/create-timers.ts';
import type { NewTimer } from '../queries/new-timer-columns.ts';
import { createParkedTimers, PARKED_FOR_RUN } from '../queries/pause-timers.ts';
import type { ChangeOrigin } from '../queries/record-changes.ts';
import type { WorkflowVersion } from '../workflow-versions.ts';
import { nameLane } from './name-lanes.ts';
import { RunFacts } from './run-facts.ts';
import { beginReadyTasks } from './run-progress.repository.ts';
import { type BegunTimers, beginFirstNodes, describeTree } from './run-trees.repository.ts';

/** A run that somebody wants begun. JSON as text, absent values as null. */
export interface RunOrder {
  tenantId: string;
  workflowId: string;
  input: string | null;
  externalId: string | null;
  labels: string | null;
  /** Nothing of it starts until it is resumed. */
  isPaused: boolean;
  origin: ChangeOrigin;
}

/** A run about to be stored, with its timers. */
export interface BegunRun {
  run: NewRun;
  timers: NewTimer[];
  skipped: NewTimer[];
  dead: DeadTimer[];
}

/** How every run of a workflow version begins at one instant: the same but for ids. */
export interface RunBeginning {
  version: WorkflowVersion;
  /** Epoch ms. */
  anchorAt: number;
  status: NewRun['status'];
  taskStates: string;
  timers: NewTimer[];
  skipped: NewTimer[];
  dead: DeadTimer[];
}

/**
 * Works out the beginning of runs once for all of them: the due time of a date costs far more than a copy. Where conditions may
 * ask what a run was begun with, `input` (JSON text) is what this one was, and `purse` what they may cost.
 */
export function prepareBeginning(
  version: WorkflowVersion,
  anchorAt: number,
  input: string | null,
  purse: CostPurse,
): RunBeginning {
  if (!planRun(version.tasks).isPlain) return prepareMapped(version, anchorAt, input, purse);
  const states = beginTaskStates(version.tasks);
  const timers: NewTimer[] = [];
  const skipped: NewTimer[] = [];
  // The ids are those of each run, later.
  beginReadyTasks({ id: '', tenant_id: '', partition: 0, locked_at: anchorAt }, version, states, timers, skipped);
  const taskStates = encodeTaskStates(states);
  return { version, anchorAt, status: computeRunStatus(states), taskStates, timers, skipped, dead: [] };
}

/** Whether runs of a version may begin differently, so that a beginning is good for one of them only. */
export function beginsByInput(version: WorkflowVersion): boolean {
  return version.tasks.some(({ when }) => when !== undefined);
}

function prepareMapped(
  version: WorkflowVersion,
  anchorAt: number,
  input: string | null,
  purse: CostPurse,
): RunBeginning {
  const tree = beginRunTree(version.tasks);
  const facts = new RunFacts(tree, purse);
  facts.setInput(input);
  const begun: BegunTimers = { timers: [], skipped: [], dead: [] };
  const run = { id: '', tenant_id: '', partition: 0, locked_at: anchorAt };
  const progress = { run, version, tree, facts, nodes: listFirstNodes(tree) };
  beginFirstNodes(progress, begun);
  return { version, anchorAt, ...describeTree(progress), ...begun };
}

/** One run of `order` that begins so. `createdAt`: when it was made, if its tasks count their delays from another instant. */
export function beginRun(
  beginning: RunBeginning,
  id: string,
  order: Omit<RunOrder, 'origin'>,
  partition: number,
  createdAt: number = beginning.anchorAt,
): BegunRun {
  const { version, taskStates } = beginning;
  // One that has ended at once has nothing to hold back.
  const status = order.isPaused && beginning.status === 'running' ? 'paused' : beginning.status;
  const own = <Timer extends NewTimer>(timer: Timer): Timer => ({
    ...timer,
    id: createId(),
    runId: id,
    tenantId: order.tenantId,
    partition,
    ...(timer.concurrency && { concurrency: nameLane(timer.concurrency, order.input) }),
  });
  const timers = beginning.timers.map((timer) => own(timer));
  const skipped = beginning.skipped.map((timer) => own(timer));
  const dead = beginning.dead.map((timer) => own(timer));
  const run = { ...order, id, workflowVersion: version.version, partition, status, taskStates, createdAt };
  return { run, timers, skipped, dead };
}

/** Stores runs that begin, with their timers: at most RUNS_PER_INSERT_MAX. */
export async function storeRuns(client: Transaction, begun: readonly BegunRun[]): Promise<void> {
  await createRuns(
    client,
    begun.map(({ run }) => run),
  );
  await inPortions(
    begun.flatMap(({ run, timers }) => (run.status === 'paused' ? [] : timers)),
    (timers) => createTimers(client, timers),
  );
  await createParkedTimers(
    client,
    begun.flatMap(({ run, timers }) => (run.status === 'paused' ? timers : [])),
    PARKED_FOR_RUN,
  );
  await inPortions(
    begun.flatMap(({ skipped }) => skipped),
    (timers) => createSkippedTimers(client, timers),
  );
  await inPortions(
    begun.flatMap(({ dead }) => dead),
    (timers) => createDeadTimers(client, timers),
  );
}

async function inPortions<Timer extends NewTimer>(
  timers: readonly Timer[],
  store: (portion: Timer[]) => Promise<void>,
): Promise<void> {
  for (let start = 0; start < timers.length; start += TIMERS_PER_INSERT_MAX) {
    await store(timers.slice(start, start + TIMERS_PER_INSERT_MAX));
  }
}
