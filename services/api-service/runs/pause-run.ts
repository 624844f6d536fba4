import {
  asTenant,
  type ChangeOrigin,
  type LockedRun,
  lockRuns,
  pauseLockedRun,
  type ResumeManner,
  recordChanges,
  resumeLockedRun,
  type Transaction,
} from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { withTransaction } from '../transaction.ts';
import { createRunNotFound } from './show-runs.ts';

/**
 * Pauses a run: what waits is paused, and so is what begins to wait. An attempt under way finishes. Does nothing when it is
 * paused already. Throws ProblemError: 404, 409 when it has ended.
 */
export function pauseRun(
  context: ApiContext,
  client: Transaction | undefined,
  tenantId: string,
  id: string,
  origin: ChangeOrigin,
): Promise<void> {
  return changeRun(context, client, tenantId, id, async (transaction, run) => {
    if (run.status === 'paused') return;
    await pauseLockedRun(transaction, id);
    await recordChanges(transaction, [{ targetId: id, tenantId, origin }]);
  });
}

/** Lets a paused run go on. Does nothing when it is running. Throws ProblemError: 404, 409 when it has ended. */
export function resumeRun(
  context: ApiContext,
  client: Transaction | undefined,
  tenantId: string,
  id: string,
  manner: ResumeManner,
  origin: ChangeOrigin,
): Promise<void> {
  return changeRun(context, client, tenantId, id, async (transaction, run) => {
    if (run.status === 'running') return;
    await resumeLockedRun(transaction, run, manner);
    await recordChanges(transaction, [{ targetId: id, tenantId, origin }]);
  });
}

function changeRun(
  context: ApiContext,
  client: Transaction | undefined,
  tenantId: string,
  id: string,
  change: (transaction: Transaction, run: LockedRun) => Promise<void>,
): Promise<void> {
  return withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    // Before the timers' locks: whoever begins or returns a timer of this run waits, and then sees how the run is.
    const [run] = await lockRuns(transaction, [id]);
    if (!run || run.tenant_id !== tenantId) throw createRunNotFound();
    if (run.status !== 'running' && run.status !== 'paused') {
      throw new ProblemError(409, 'run_finished', `The run has ended: it is ${run.status}.`);
    }
    await change(transaction, run);
  });
}
