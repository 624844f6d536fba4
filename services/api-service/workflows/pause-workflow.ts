import {
  announceGates,
  asTenant,
  type ChangeOrigin,
  cancelByGate,
  dropBulkPortions,
  findShiftOf,
  type GateKey,
  lockFailedShiftOf,
  lockWorkflow,
  type ResumeManner,
  readGate,
  readWorkflow,
  recordChanges,
  type StoredWorkflow,
  setBulkStatus,
  setWorkflowActive,
  setWorkflowPaused,
  startLanes,
  type Transaction,
  type WorkflowRow,
} from '@punctual/database';
import { createId } from '@punctual/domain';
import { beginBulkOperation } from '../bulk-operations/begin-bulk-operation.ts';
import type { ApiContext } from '../context.ts';
import { closeWithin, openWithin } from '../gates/change-gates.ts';
import { ProblemError } from '../problem.ts';
import { withTransaction } from '../transaction.ts';
import { createWorkflowNotFound } from './workflow-problems.ts';

interface Target {
  tenantId: string;
  id: string;
  origin: ChangeOrigin;
}

const gateOf = ({ tenantId, id }: Target): GateKey => ({ tenantId, kind: 'workflow', name: id });

/**
 * Pauses a workflow by one row, however many of its timers sleep: it begins no more runs, and none of its tasks starts.
 * Takes effect with the commit; whoever answers waits until it is heeded. Throws ProblemError: 404, 409 when archived.
 */
export function pauseWorkflow(
  context: ApiContext,
  client: Transaction | undefined,
  target: Target,
): Promise<StoredWorkflow> {
  return changeWorkflow(context, client, target, async (transaction, workflow) => {
    if (workflow.status === 'archived') throw createArchived();
    if (await findShiftOf(transaction, target.tenantId, target.id)) {
      throw new ProblemError(409, 'workflow_resuming', 'The workflow is being resumed; wait for that.');
    }
    await setWorkflowPaused(transaction, target.tenantId, target.id);
    await closeWithin(transaction, { key: gateOf(target), targetId: target.id, origin: target.origin });
  });
}

/**
 * Lets a paused workflow go on. Due times that stay: at once, and what was held back comes back at the pace. Due times that
 * move: all that waits is moved first, while the workflow is still paused; one that failed at that goes on with it. Also releases
 * what an aborted release has left.
 */
export async function resumeWorkflow(
  context: ApiContext,
  client: Transaction | undefined,
  target: Target,
  manner: ResumeManner & { ratePerSecond: number },
): Promise<{ workflow: StoredWorkflow; bulkOperationId: string | undefined }> {
  const { tenantId, id, origin } = target;
  let bulkOperationId: string | undefined;
  const workflow = await changeWorkflow(context, client, target, async (transaction) => {
    bulkOperationId = await findShiftOf(transaction, tenantId, id);
    if (bulkOperationId !== undefined) return;
    const pausedAt = (await readGate(transaction, gateOf(target)))?.pausedAt ?? null;
    const failed = pausedAt === null ? undefined : await lockFailedShiftOf(transaction, tenantId, id, pausedAt);
    if (manner.dueTimes === 'shift' && pausedAt !== null) {
      if (failed) {
        // It goes on with what it had left: what was moved is not moved again.
        await setBulkStatus(transaction, failed.id, 'running');
        await startLanes(transaction, failed, context.partitionCount);
        await recordChanges(transaction, [{ targetId: id, tenantId, origin }]);
        bulkOperationId = failed.id;
        return;
      }
      bulkOperationId = createId();
      const { ratePerSecond } = manner;
      await beginBulkOperation(context, transaction, {
        id: bulkOperationId,
        tenantId,
        action: 'resume',
        target: 'timer',
        request: JSON.stringify({ action: 'resume', change: { dueTimes: 'shift' }, ratePerSecond, workflowId: id }),
        plan: {
          do: 'shift',
          workflowId: id,
          pausedAt,
          resumedAt: Math.ceil(context.clock.now()),
          ratePerSecond,
        },
        source: { of: 'timers', condition: { tenantId, workflowId: id, statuses: ['scheduled', 'paused'] } },
        // The pace is that of the release.
        ratePerSecond: null,
        origin,
      });
      await recordChanges(transaction, [{ targetId: id, tenantId, origin }]);
      return;
    }
    // Nobody goes on with it any more.
    if (failed) await dropBulkPortions(transaction, failed.id);
    await setWorkflowActive(transaction, tenantId, id);
    bulkOperationId = await openWithin(context, transaction, { key: gateOf(target), targetId: id, origin }, manner);
  });
  return { workflow, bulkOperationId };
}

/**
 * Cancels all that there is of a workflow, at once: no task of a run that was created before starts any more. The runs end one
 * after the other, by the operation that is returned. The workflow stays as it is and may begin new ones.
 */
export async function cancelWorkflow(
  context: ApiContext,
  client: Transaction | undefined,
  target: Target,
  request: object,
  ratePerSecond: number | null,
) {
  const { tenantId, id, origin } = target;
  return withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    if (!(await lockWorkflow(transaction, tenantId, id))) throw createWorkflowNotFound();
    const { cancelledBefore } = await cancelByGate(transaction, gateOf(target));
    const operation = await beginBulkOperation(context, transaction, {
      id: createId(),
      tenantId,
      action: 'cancel',
      target: 'run',
      request: JSON.stringify({ ...request, workflowId: id }),
      plan: { do: 'cancelRuns', workflowId: id, before: cancelledBefore! },
      source: { of: 'liveRuns', workflowId: id, before: cancelledBefore! },
      ratePerSecond,
      origin,
    });
    await recordChanges(transaction, [{ targetId: id, tenantId, origin }]);
    await announceGates(transaction);
    return operation;
  });
}

function changeWorkflow(
  context: ApiContext,
  client: Transaction | undefined,
  { tenantId, id }: Target,
  change: (transaction: Transaction, workflow: WorkflowRow) => Promise<void>,
): Promise<StoredWorkflow> {
  return withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    const workflow = await lockWorkflow(transaction, tenantId, id);
    if (!workflow) throw createWorkflowNotFound();
    await change(transaction, workflow);
    return (await readWorkflow(transaction, tenantId, id))!;
  });
}

function createArchived(): ProblemError {
  return new ProblemError(409, 'workflow_archived', 'The workflow is archived; cancel its runs, or leave them to end.');
}
