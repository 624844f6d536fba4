import {
  asTenant,
  type ChangeOrigin,
  lockRuns,
  readDeadLettersOfRun,
  recordChanges,
  type Transaction,
} from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { redriveWithin } from '../dead-letters/redrive.ts';
import { ProblemError } from '../problem.ts';
import { withTransaction } from '../transaction.ts';
import { describeRunChange } from './describe-run-change.ts';
import { createRunNotFound } from './show-runs.ts';

/**
 * Sends the dead letters of a run again, due now, with all their attempts before them; when they succeed, the tasks
 * behind them begin. Throws ProblemError: 404, 409 when the run was cancelled or no task of it is dead, 429 without room for so many live timers.
 */
export async function retryRun(
  context: ApiContext,
  client: Transaction | undefined,
  tenantId: string,
  id: string,
  origin: ChangeOrigin,
): Promise<void> {
  await withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    const [run] = await lockRuns(transaction, [id]);
    if (!run || run.tenant_id !== tenantId) throw createRunNotFound();
    if (run.status === 'cancelled') {
      throw new ProblemError(409, 'run_cancelled', 'The run was cancelled; it begins nothing more.');
    }
    const letters = await readDeadLettersOfRun(transaction, run.id);
    if (letters.length === 0) throw new ProblemError(409, 'nothing_to_retry', 'No task of the run is dead.');
    context.requestRates.countFound(tenantId, letters.length);
    const redriven = await redriveWithin(context, transaction, tenantId, letters);
    const timers = [...redriven.all].map((timerId) => ({ id: timerId }));
    await recordChanges(transaction, describeRunChange(tenantId, id, timers, origin));
  });
}
