import type { SignalAnswer } from '@punctual/contracts';
import {
  asTenant,
  type ChangeOrigin,
  deliverSignals,
  lockRuns,
  recordChanges,
  SIGNAL_BYTES_PER_RUN_MAX,
  SIGNALS_PER_RUN_MAX,
  storeSignal,
  type Transaction,
} from '@punctual/database';
import { decodeRunTree, mayBegin } from '@punctual/domain';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { withTransaction } from '../transaction.ts';
import { describeRunChange } from './describe-run-change.ts';
import { createRunNotFound } from './show-runs.ts';

/** A signal for a run. */
export interface RunSignal {
  runId: string;
  name: string;
  /** JSON text. */
  payload: string;
}

/**
 * Gives a signal to all tasks of a run that wait for it: they are due now. When none does it is kept for those that do so next,
 * as long as there can be one. Under the lock of the run, so that nothing begins to wait meanwhile. Throws ProblemError: 404,
 * 409 when it comes too late or there is no room for it.
 */
export async function signalRun(
  context: ApiContext,
  client: Transaction | undefined,
  tenantId: string,
  { runId, name, payload }: RunSignal,
  origin: ChangeOrigin,
): Promise<SignalAnswer> {
  return withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    const [run] = await lockRuns(transaction, [runId]);
    if (!run || run.tenant_id !== tenantId) throw createRunNotFound();
    if (run.status !== 'running' && run.status !== 'paused') {
      throw new ProblemError(409, 'run_finished', `The run has ended: it is ${run.status}.`);
    }
    const version = await context.workflowVersions.read(transaction, run.workflow_id, run.workflow_version);
    const isMeant = version.tasks.map(({ delay }) => delay?.type === 'signal' && delay.name === name);
    if (!isMeant.includes(true)) {
      throw new ProblemError(404, 'signal_not_found', 'No task of the run waits for a signal of this name.');
    }
    if (!(await storeSignal(transaction, { runId, tenantId, name, payload }))) {
      throw new ProblemError(
        409,
        'too_many_signals',
        `A run takes at most ${SIGNALS_PER_RUN_MAX} signals, with ${SIGNAL_BYTES_PER_RUN_MAX} bytes of payloads together.`,
      );
    }
    const timers = await deliverSignals(transaction, [{ runId, name, version }]);
    const outcome = timers.length > 0 ? 'delivered' : 'kept';
    // Rolls back what was stored.
    if (outcome === 'kept' && !mayBegin(decodeRunTree(version.tasks, run.task_states), (task) => isMeant[task]!)) {
      throw new ProblemError(
        409,
        'signal_too_late',
        'Nothing waits for this signal any more: each task of it got one before, ended, or began because its time-out passed.',
      );
    }
    context.requestRates.countFound(tenantId, timers.length);
    await recordChanges(transaction, describeRunChange(tenantId, runId, timers, origin));
    return { runId, name, outcome, timers: timers.length };
  });
}
