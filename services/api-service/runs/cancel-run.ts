import {
  advanceRuns,
  asTenant,
  type CancelledTimer,
  type ChangeOrigin,
  cancelTimers,
  lockRuns,
  readWaitingTimersOfRun,
  recordChanges,
  TIMERS_PER_CANCEL_MAX,
  type Transaction,
} from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { withTransaction } from '../transaction.ts';
import { describeRunChange } from './describe-run-change.ts';
import { createRunNotFound } from './show-runs.ts';

/**
 * Cancels a run: what has not started never will, what runs may finish but lets nothing else begin. Does nothing when
 * it is cancelled already. Throws ProblemError: 404, 409 when it has ended.
 */
export async function cancelRun(
  context: ApiContext,
  client: Transaction | undefined,
  tenantId: string,
  id: string,
  origin: ChangeOrigin,
): Promise<void> {
  await withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    // The lock comes before the timers', and makes whoever would begin or return a timer of this run wait.
    const [run] = await lockRuns(transaction, [id]);
    if (!run || run.tenant_id !== tenantId) throw createRunNotFound();
    if (run.status === 'cancelled') return;
    if (run.status === 'succeeded' || run.status === 'failed') {
      throw new ProblemError(409, 'run_finished', `The run has ${run.status} already.`);
    }
    const cancelled: CancelledTimer[] = [];
    // In the order of their ids. A run with elements may have thousands that wait.
    const waitingIds = await readWaitingTimersOfRun(transaction, id);
    for (let start = 0; start < waitingIds.length; start += TIMERS_PER_CANCEL_MAX) {
      const some = waitingIds.slice(start, start + TIMERS_PER_CANCEL_MAX);
      cancelled.push(...(await cancelTimers(transaction, tenantId, some)));
    }
    context.requestRates.countFound(tenantId, cancelled.length);
    await advanceRuns(
      transaction,
      context.workflowVersions,
      [{ ...run, status: 'cancelled' }],
      cancelled.map((timer) => ({ ...timer, state: 'cancelled' as const })),
    );
    await recordChanges(transaction, describeRunChange(tenantId, id, cancelled, origin));
  });
}
