import {
  addErasure,
  asTenant,
  type ChangeOrigin,
  hasLiveTimer,
  lockRuns,
  readExternalIdOfRun,
  recordChanges,
  removeHistoryOfRuns,
  removeRuns,
  type Transaction,
} from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { withTransaction } from '../transaction.ts';
import { createRunNotFound } from './show-runs.ts';

/**
 * Erases a run that has ended, with all that it left; the audit log alone keeps its id. Throws ProblemError: 404, 409 while
 * it, or an attempt of it, is under way.
 */
export async function eraseRun(
  context: ApiContext,
  client: Transaction | undefined,
  tenantId: string,
  id: string,
  origin: ChangeOrigin,
): Promise<void> {
  await withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    // Whoever would retry it waits for this lock, and finds it gone.
    const [run] = await lockRuns(transaction, [id]);
    if (!run || run.tenant_id !== tenantId) throw createRunNotFound();
    if (run.status === 'running' || run.status === 'paused') {
      throw new ProblemError(409, 'run_not_finished', `The run is ${run.status}: cancel it first.`);
    }
    if (await hasLiveTimer(transaction, id)) {
      throw new ProblemError(
        409,
        'run_not_finished',
        'An attempt of the run is still under way; try again when it has ended.',
      );
    }
    const ended = [{ ...run, external_id: await readExternalIdOfRun(transaction, id) }];
    await removeHistoryOfRuns(transaction, ended);
    await removeRuns(transaction, ended);
    await addErasure(transaction, tenantId, id);
    await recordChanges(transaction, [{ targetId: id, tenantId, origin }]);
  });
}
