import type { Run } from '@punctual/contracts';
import {
  beginReadyTasks,
  claimRunExternalIds,
  createRuns,
  createSkippedTimers,
  createTimers,
  findRunsByExternalId,
  type NewRun,
  type NewTimer,
  type RunExternalId,
  type RunTimer,
  readWorkflowHeads,
  TIMERS_PER_INSERT_MAX,
  type WorkflowHead,
  type WorkflowVersion, type Transaction } from '@punctual/database';
import { beginTaskStates, choosePartition, computeRunStatus, createId, encodeTaskStates } from '@punctual/domain';
import { type ApiContext, readAnchorAt } from '../context.ts';
import { refuseFaults } from '../plugins/problems.ts';
import { ProblemError } from '../problem.ts';
import { createWorkflowNotFound } from '../workflows/workflow-problems.ts';
import { renderRun } from './render-run.ts';
import { showRuns } from './show-runs.ts';

/** A run that somebody wants begun. JSON as text, absent values as null. */
export interface RunOrder {
  tenantId: string;
  workflowId: string;
  input: string | null;
  externalId: string | null;
  labels: string | null;
}

/** What became of an order: begun, there already under its external id, or refused. */
export type RunResult =
  | { kind: 'created'; run: Run }
  | { kind: 'existing'; run: Run }
  | { kind: 'refused'; problem: ProblemError };

/**
 * Tasks that the runs of one batch may have in all. Each may become a timer in the same transaction, and stands in the
 * answer: fifty thousand are some 5 MB of JSON and half a second of Postgres.
 */
export const TASKS_PER_BATCH_MAX = 50_000;

/** Throws ProblemError for a whole batch: 404 without the workflow, 400 when the runs have more tasks than one batch may. */
export async function checkRunBatch(
  context: ApiContext,
  client: Transaction,
  orders: readonly RunOrder[],
): Promise<void> {
  const [first] = orders;
  if (!first) return;
  const [head] = await readWorkflowHeads(client, [first.workflowId]);
  if (!head || head.tenant_id !== first.tenantId) throw createWorkflowNotFound();
  const { tasks } = await context.workflowVersions.read(client, head.id, head.version);
  if (tasks.length * orders.length > TASKS_PER_BATCH_MAX) {
    const fitting = Math.floor(TASKS_PER_BATCH_MAX / tasks.length);
    refuseFaults([
      { pointer: '/runs', detail: `With ${tasks.length} tasks a run, one batch takes at most ${fitting} runs.` },
    ]);
  }
}

/**
 * Begins runs, of whatever tenants and workflows, in the transaction of `client`, by a handful of statements however
 * many they are: at most RUNS_PER_INSERT_MAX. Answers in the order of `orders`; a refused one leaves the others alone.
 */
export async function beginRuns(
  context: ApiContext,
  client: Transaction,
  orders: readonly RunOrder[],
): Promise<RunResult[]> {
  const workflowIds = [...new Set(orders.map((order) => order.workflowId))];
  const heads = new Map((await readWorkflowHeads(client, workflowIds)).map((head) => [head.id, head]));
  const candidates = orders.map((order) => {
    const head = heads.get(order.workflowId);
    return { order, head, id: createId(), refusal: findRefusal(order, head) };
  });
  // External ids come first: whoever waits for another's claim must not yet hold what others may wait for.
  const named = candidates
    .filter(({ order }) => order.externalId !== null)
    .map((candidate) => ({ candidate, ...nameRun(candidate) }));
  const claimed = await claimRunExternalIds(
    client,
    named.filter(({ candidate }) => !candidate.refusal),
  );
  const begun = new Map<string, Begun>();
  for (const { order, head, id, refusal } of candidates) {
    if (refusal || !head || (order.externalId !== null && !claimed.has(id))) continue;
    begun.set(id, beginRun(context, id, order, await context.workflowVersions.read(client, head.id, head.version)));
  }
  await storeRuns(client, [...begun.values()]);
  const existing = await readExisting(
    context,
    client,
    named.filter(({ runId }) => !begun.has(runId)),
    begun,
  );
  return candidates.map(({ order, id, refusal }): RunResult => {
    const created = begun.get(id);
    if (created) return { kind: 'created', run: created.shown };
    const run = order.externalId === null ? undefined : existing.get(nameKey(order.tenantId, order.externalId));
    if (run) return { kind: 'existing', run };
    return { kind: 'refused', problem: refusal ?? createRunGone() };
  });
}

interface Begun {
  run: NewRun;
  timers: NewTimer[];
  skipped: NewTimer[];
  shown: Run;
}

function nameRun({ order, id }: { order: RunOrder; id: string }): RunExternalId {
  return { tenantId: order.tenantId, externalId: order.externalId!, runId: id };
}

/** Another tenant's workflow does not exist. */
function findRefusal(order: RunOrder, head: WorkflowHead | undefined): ProblemError | undefined {
  if (!head || head.tenant_id !== order.tenantId) return createWorkflowNotFound();
  if (head.status === 'paused')
    return new ProblemError(409, 'workflow_paused', 'The workflow is paused and begins no runs.');
  if (head.status === 'archived')
    return new ProblemError(409, 'workflow_archived', 'The workflow is archived and begins no runs.');
  return undefined;
}

function createRunGone(): ProblemError {
  return new ProblemError(409, 'external_id_taken', 'The external id belongs to a run that is not kept any more.');
}

function beginRun(context: ApiContext, id: string, order: RunOrder, version: WorkflowVersion): Begun {
  const createdAt = readAnchorAt(context);
  const partition = choosePartition(id, context.partitionCount);
  const states = beginTaskStates(version.tasks);
  const timers: NewTimer[] = [];
  const skipped: NewTimer[] = [];
  beginReadyTasks({ id, tenant_id: order.tenantId, partition, locked_at: createdAt }, version, states, timers, skipped);
  const status = computeRunStatus(states);
  const run: NewRun = {
    ...order,
    id,
    workflowVersion: version.version,
    partition,
    status,
    taskStates: encodeTaskStates(states),
    createdAt,
  };
  const shown = renderRun(
    {
      id,
      tenant_id: order.tenantId,
      workflow_id: version.workflowId,
      workflow_version: version.version,
      partition,
      status,
      task_states: run.taskStates,
      input: order.input,
      external_id: order.externalId,
      labels: order.labels === null ? null : JSON.parse(order.labels),
      created_at: createdAt,
      finished_at: status === 'running' ? null : createdAt,
    },
    [...timers.map((timer) => showTimer(timer, 'scheduled')), ...skipped.map((timer) => showTimer(timer, 'skipped'))],
    version,
  );
  return { run, timers, skipped, shown };
}

function showTimer(timer: NewTimer, state: 'scheduled' | 'skipped'): RunTimer {
  const { id, dueAt, createdAt } = timer;
  return {
    id,
    taskKey: timer.taskKey!,
    state,
    dueAt,
    attempt: 0,
    startedAt: null,
    finishedAt: state === 'skipped' ? createdAt : null,
  };
}

async function storeRuns(client: Transaction, begun: readonly Begun[]): Promise<void> {
  await createRuns(
    client,
    begun.map(({ run }) => run),
  );
  await inPortions(
    begun.flatMap(({ timers }) => timers),
    (timers) => createTimers(client, timers),
  );
  await inPortions(
    begun.flatMap(({ skipped }) => skipped),
    (timers) => createSkippedTimers(client, timers),
  );
}

async function inPortions(timers: readonly NewTimer[], store: (portion: NewTimer[]) => Promise<void>): Promise<void> {
  for (let start = 0; start < timers.length; start += TIMERS_PER_INSERT_MAX) {
    await store(timers.slice(start, start + TIMERS_PER_INSERT_MAX));
  }
}

/** The runs that have these external ids already, in the table or in this very batch. */
async function readExisting(
  context: ApiContext,
  client: Transaction,
  named: readonly RunExternalId[],
  begun: ReadonlyMap<string, Begun>,
): Promise<Map<string, Run>> {
  const runs = new Map<string, Run>();
  const found = await findRunsByExternalId(client, named);
  const stored = found.filter((claim) => !begun.has(claim.runId));
  const rowsById = new Map<string, Run>();
  for (const [tenantId, claims] of Map.groupBy(stored, (claim) => claim.tenantId)) {
    for (const run of await showRuns(
      context,
      client,
      tenantId,
      claims.map((claim) => claim.runId),
    ))
      rowsById.set(run.id, run);
  }
  for (const { tenantId, externalId, runId } of found) {
    const run = begun.get(runId)?.shown ?? rowsById.get(runId);
    if (run) runs.set(nameKey(tenantId, externalId), run);
  }
  return runs;
}

function nameKey(tenantId: string, externalId: string): string {
  return `${tenantId} ${externalId}`;
}
