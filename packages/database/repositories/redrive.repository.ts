import { computeWait, decodeRunTree, encodeRunTree, parsePath, readOnTimeout, setTaskState } from '@punctual/domain';
import type { Transaction } from '../connect.ts';
import {
  DEAD_LETTERS_PER_REDRIVE_MAX,
  type RedrivenTimer,
  readRunIdsOfDeadLetters,
  redriveTimers,
  reviveRuns,
} from '../queries/redrive-timers.ts';
import { deliverSignals, type RenewedWait, waitForSignals } from '../queries/run-signals.ts';
import type { WorkflowVersion, WorkflowVersions } from '../workflow-versions.ts';
import { type LockedRun, lockRuns } from './run-progress.repository.ts';

/** Which of the dead letters named are live again, and which are not because their run was cancelled. */
export interface Redriven {
  all: ReadonlySet<string>;
  refused: ReadonlySet<string>;
  /** Those for which there was no room. */
  left: ReadonlySet<string>;
}

/**
 * Makes dead letters live timers again, due now, with all their attempts before them; runs that failed by them go on. One whose
 * signal did not come in time waits for it anew.
 * `admit` is told of how many there are, once all locks of runs are held: it returns how many of them may be, or throws.
 */
export async function redriveDeadLetters(
  client: Transaction,
  versions: WorkflowVersions,
  tenantId: string,
  ids: readonly string[],
  admit: (count: number) => number | Promise<number> = (count) => count,
): Promise<Redriven> {
  const letters = await readRunIdsOfDeadLetters(client, tenantId, ids);
  const runIds = letters.flatMap(({ runId }) => (runId === null ? [] : [runId]));
  const runs = new Map((await lockRuns(client, [...new Set(runIds)])).map((run) => [run.id, run]));
  // A run that a person cancelled begins nothing more.
  const isOfCancelledRun = (runId: string | null) => runId !== null && runs.get(runId)?.status === 'cancelled';
  const chosen = letters.filter(({ runId }) => !isOfCancelledRun(runId)).map(({ id }) => id);
  const room = await admit(chosen.length);
  const pausedRunIds = [...runs.values()].filter(({ status }) => status === 'paused').map(({ id }) => id);
  const redriven: RedrivenTimer[] = [];
  // A run with elements may have thousands. The portions of one transaction are locked in one order.
  const sorted = chosen.slice(0, room).toSorted();
  for (let start = 0; start < sorted.length; start += DEAD_LETTERS_PER_REDRIVE_MAX) {
    const some = sorted.slice(start, start + DEAD_LETTERS_PER_REDRIVE_MAX);
    redriven.push(...(await redriveTimers(client, tenantId, some, pausedRunIds)));
  }
  await revive(client, versions, runs, redriven);
  return {
    all: new Set(redriven.map(({ id }) => id)),
    left: new Set(chosen.slice(room)),
    refused: new Set(letters.filter(({ runId }) => isOfCancelledRun(runId)).map(({ id }) => id)),
  };
}

/** Writes into the runs that these tasks are live again. */
async function revive(
  client: Transaction,
  versions: WorkflowVersions,
  runs: ReadonlyMap<string, LockedRun>,
  redriven: readonly RedrivenTimer[],
): Promise<void> {
  const revived: { id: string; taskStates: string; status: 'running' | 'paused' }[] = [];
  const waiting: RenewedWait[] = [];
  for (const [runId, tasks] of Map.groupBy(redriven, (timer) => timer.runId)) {
    const run = runId === null ? undefined : runs.get(runId);
    if (!run) continue;
    const version = await versions.read(client, run.workflow_id, run.workflow_version);
    const tree = decodeRunTree(version.tasks, run.task_states);
    for (const timer of tasks) {
      setTaskState(tree, timer.taskKey, parsePath(timer.path), 'live');
      const wait = waitAgain(timer, version, run.locked_at);
      if (wait) waiting.push({ ...wait, id: timer.id, runId: run.id, version });
    }
    revived.push({
      id: run.id,
      taskStates: encodeRunTree(tree),
      status: run.status === 'paused' ? 'paused' : 'running',
    });
  }
  await reviveRuns(client, revived);
  await waitForSignals(client, waiting);
  await deliverSignals(client, waiting);
}

/**
 * How a task waits that is dead because its signal did not come: anew, as the version says that its run follows by now. Where the
 * date of the time-out is past, there is only what is kept for it.
 */
function waitAgain({ taskKey, waitsFor }: RedrivenTimer, version: WorkflowVersion, lockedAt: number) {
  if (waitsFor === null) return undefined;
  const delay = version.tasks.find(({ key }) => key === taskKey)?.delay;
  if (delay?.type !== 'signal' || readOnTimeout(delay) !== 'fail') return undefined;
  const anchorAt = Math.ceil(lockedAt);
  const { due } = computeWait(delay, { anchorAt, timeZone: version.timeZone });
  return { dueAt: due.kind === 'due' ? due.dueAt : anchorAt, name: delay.name };
}
