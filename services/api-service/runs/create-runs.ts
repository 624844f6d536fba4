import type { Run } from '@punctual/contracts';
import {
  type BegunRun,
  beginRun,
  beginsByInput,
  claimRunExternalIds,
  findRunsByExternalId,
  prepareBeginning,
  type RunBeginning,
  type RunExternalId,
  type RunOrder,
  readWorkflowHeads,
  recordChanges,
  recordTraces,
  storeRuns,
  type Transaction,
  WHEN_COST_PER_RUN_MAX,
  type WorkflowHead,
} from '@punctual/database';
import { choosePartition, createId } from '@punctual/domain';
import { type ApiContext, readAnchorAt } from '../context.ts';
import { createInvalidRequest, refuseFaults } from '../plugins/problems.ts';
import { ProblemError } from '../problem.ts';
import { createWorkflowNotFound } from '../workflows/workflow-problems.ts';
import { findKeyFaults } from './key-faults.ts';
import { showBegunRun } from './show-begun-run.ts';
import { showRuns } from './show-runs.ts';

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

/**
 * What the conditions of all first tasks of one batch may cost together, while its transaction is open: two seconds' worth. Those
 * of single runs that happen to share a transaction are of one tenant, too.
 */
const WHEN_COST_PER_BATCH_MAX = 4 * WHEN_COST_PER_RUN_MAX;

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
  const candidates: Candidate[] = [];
  for (const order of orders) {
    const head = heads.get(order.workflowId);
    const barred = findRefusal(order, head);
    const barredByKey = barred ?? (await findKeyRefusal(context, client, order, head!));
    const timers = barredByKey ? 0 : await countBoundedTimers(context, client, order, head!);
    const refusal = barredByKey ?? (await context.liveTimers.take(order.tenantId, timers, client));
    candidates.push({ order, head, id: createId(), timers, refusal });
  }
  // External ids come first: whoever waits for another's claim must not yet hold what others may wait for.
  const named = candidates
    .filter(({ order }) => order.externalId !== null)
    .map((candidate) => ({ candidate, ...nameRun(candidate) }));
  const claimed = await claimRunExternalIds(
    client,
    named.filter(({ candidate }) => !candidate.refusal),
  );
  for (const { candidate } of named) {
    const { order, id, timers, refusal } = candidate;
    if (!refusal && !claimed.has(id)) context.liveTimers.give(order.tenantId, timers);
  }
  const anchorAt = readAnchorAt(context);
  const purse = { left: WHEN_COST_PER_BATCH_MAX };
  const beginnings = new Map<string, RunBeginning>();
  const begun = new Map<string, BegunRun>();
  const shown = new Map<string, Run>();
  for (const { order, head, id, refusal } of candidates) {
    if (refusal || !head || (order.externalId !== null && !claimed.has(id))) continue;
    let beginning = beginnings.get(head.id);
    if (!beginning) {
      const version = await context.workflowVersions.read(client, head.id, head.version);
      beginning = prepareBeginning(version, anchorAt, order.input, purse);
      if (!beginsByInput(version)) beginnings.set(head.id, beginning);
    }
    const run = beginRun(beginning, id, order, choosePartition(id, context.partitionCount));
    begun.set(id, run);
    shown.set(id, showBegunRun(run, beginning.version));
  }
  await storeRuns(client, [...begun.values()]);
  const changes = candidates
    .filter(({ id }) => begun.has(id))
    .map(({ id, order }) => ({ targetId: id, tenantId: order.tenantId, origin: order.origin }));
  await recordTraces(client, changes);
  await recordChanges(client, changes);
  const existing = await readExisting(
    context,
    client,
    named.filter(({ runId }) => !shown.has(runId)),
    shown,
  );
  return candidates.map(({ order, id, refusal }): RunResult => {
    const created = shown.get(id);
    if (created) return { kind: 'created', run: created };
    const run = order.externalId === null ? undefined : existing.get(nameKey(order.tenantId, order.externalId));
    if (run) return { kind: 'existing', run };
    return { kind: 'refused', problem: refusal ?? createRunGone() };
  });
}

interface Candidate {
  order: RunOrder;
  head: WorkflowHead | undefined;
  /** Of the run, if it begins. */
  id: string;
  /** Those that were let in for it, where its tenant has a quota. */
  timers: number;
  refusal: ProblemError | undefined;
}

function nameRun({ order, id }: Candidate): RunExternalId {
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

/** A run of whose tasks one has a concurrency key that its input does not give. */
async function findKeyRefusal(
  { workflowVersions }: Pick<ApiContext, 'workflowVersions'>,
  client: Transaction,
  { input }: RunOrder,
  head: WorkflowHead,
): Promise<ProblemError | undefined> {
  const { tasks } = await workflowVersions.read(client, head.id, head.version);
  const faults = findKeyFaults(tasks, input, '/input');
  return faults.length === 0 ? undefined : createInvalidRequest(faults);
}

/**
 * The timers with which the run would begin, for the tenant's quota; 0 without one. Those that its later tasks bring are
 * not known yet.
 */
async function countBoundedTimers(
  { liveTimers, workflowVersions }: Pick<ApiContext, 'liveTimers' | 'workflowVersions'>,
  client: Transaction,
  { tenantId }: RunOrder,
  head: WorkflowHead,
): Promise<number> {
  if (!liveTimers.isBounded(tenantId)) return 0;
  const { tasks } = await workflowVersions.read(client, head.id, head.version);
  const roots = tasks.filter(
    ({ after, forEach, in: scope, onFailure }) =>
      (after === undefined || after.length === 0) && !forEach && scope === undefined && !onFailure,
  );
  return roots.length;
}

function createRunGone(): ProblemError {
  return new ProblemError(409, 'external_id_taken', 'The external id belongs to a run that is not kept any more.');
}

/** The runs that have these external ids already, in the table or in this very batch. */
async function readExisting(
  context: ApiContext,
  client: Transaction,
  named: readonly RunExternalId[],
  begun: ReadonlyMap<string, Run>,
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
    const run = begun.get(runId) ?? rowsById.get(runId);
    if (run) runs.set(nameKey(tenantId, externalId), run);
  }
  return runs;
}

function nameKey(tenantId: string, externalId: string): string {
  return `${tenantId} ${externalId}`;
}
