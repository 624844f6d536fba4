import {
  asTenant,
  type ChangeOrigin,
  inTransaction,
  type LockedRun,
  lockRuns,
  type RedrivenTimer,
  readRunIdsOfDeadLetters,
  readTimers,
  recordChanges,
  redriveTimers,
  reviveRuns,
  type Transaction,
} from '@punctual/database';
import { decodeTaskStates, encodeTaskStates } from '@punctual/domain';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { type ItemResult, showAmong } from '../timers/item-results.ts';
import { createTimerNotFound } from '../timers/read-timers.ts';

/**
 * Makes dead letters live timers again, due now, with all their attempts before them; runs that failed by them go on.
 * 200 for each that was; 404 or 409 for the others. All in one transaction, that of `client` if there is one. Throws a 429
 * when the tenant has no room for so many live timers.
 */
export async function redriveEach(
  context: ApiContext,
  tenantId: string,
  ids: readonly string[],
  origin: ChangeOrigin,
  client?: Transaction,
): Promise<ItemResult[]> {
  const work = async (transaction: Transaction) => {
    const redriven = await redriveWithin(context, transaction, tenantId, ids);
    await recordChanges(
      transaction,
      [...redriven.all].map((targetId) => ({ targetId, tenantId, origin })),
    );
    return showRedriven(context, transaction, tenantId, ids, redriven);
  };
  return client ? work(client) : inTransaction(asTenant(context.database, tenantId).hot, work);
}

/** Which of those named are live again, and which are not because their run was cancelled. */
export interface Redriven {
  all: ReadonlySet<string>;
  refused: ReadonlySet<string>;
}

/** The same within a transaction that does more, and tells the audit log of it by itself. */
export async function redriveWithin(
  context: ApiContext,
  client: Transaction,
  tenantId: string,
  ids: readonly string[],
): Promise<Redriven> {
  const letters = await readRunIdsOfDeadLetters(client, tenantId, ids);
  const runIds = letters.flatMap(({ runId }) => (runId === null ? [] : [runId]));
  const runs = new Map((await lockRuns(client, [...new Set(runIds)])).map((run) => [run.id, run]));
  // A run that a person cancelled begins nothing more.
  const isOfCancelledRun = (runId: string | null) => runId !== null && runs.get(runId)?.status === 'cancelled';
  const chosen = letters.filter(({ runId }) => !isOfCancelledRun(runId)).map(({ id }) => id);
  const refusal = await context.liveTimers.take(tenantId, chosen.length, client);
  if (refusal) throw refusal;
  const pausedRunIds = [...runs.values()].filter(({ status }) => status === 'paused').map(({ id }) => id);
  const redriven = await redriveTimers(client, tenantId, chosen, pausedRunIds);
  await revive(context, client, runs, redriven);
  return {
    all: new Set(redriven.map(({ id }) => id)),
    refused: new Set(letters.filter(({ runId }) => isOfCancelledRun(runId)).map(({ id }) => id)),
  };
}

async function showRedriven(
  context: ApiContext,
  client: Transaction,
  tenantId: string,
  ids: readonly string[],
  redriven: Redriven,
): Promise<ItemResult[]> {
  const records = await readTimers(client, tenantId, ids);
  const results: ItemResult[] = [];
  for (const id of ids) {
    const record = records.get(id);
    if (!record) results.push({ error: createTimerNotFound() });
    else if (redriven.all.has(id)) results.push(await showAmong(ids.length, context, record, client));
    else results.push({ error: redriven.refused.has(id) ? createRunCancelled() : createNotDead() });
  }
  return results;
}

/** Writes into the runs that these tasks are live again. */
async function revive(
  context: ApiContext,
  client: Transaction,
  runs: ReadonlyMap<string, LockedRun>,
  redriven: readonly RedrivenTimer[],
): Promise<void> {
  const revived: { id: string; taskStates: string; status: 'running' | 'paused' }[] = [];
  for (const [runId, tasks] of Map.groupBy(redriven, (timer) => timer.runId)) {
    const run = runId === null ? undefined : runs.get(runId);
    if (!run) continue;
    const version = await context.workflowVersions.read(client, run.workflow_id, run.workflow_version);
    const states = decodeTaskStates(run.task_states);
    for (const { taskKey } of tasks) states[version.tasks.findIndex(({ key }) => key === taskKey)] = 'live';
    revived.push({
      id: run.id,
      taskStates: encodeTaskStates(states),
      status: run.status === 'paused' ? 'paused' : 'running',
    });
  }
  await reviveRuns(client, revived);
}

function createNotDead(): ProblemError {
  return new ProblemError(409, 'not_a_dead_letter', 'The timer is no dead letter, or not any more.');
}

function createRunCancelled(): ProblemError {
  return new ProblemError(409, 'run_cancelled', 'The run of the timer was cancelled; it begins nothing more.');
}
