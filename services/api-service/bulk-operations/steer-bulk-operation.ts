import {
  asTenant,
  type BulkOperationRow,
  type ChangeOrigin,
  lockBulkOperation,
  readPlan,
  recordChanges,
  setBulkStatus,
  startLanes,
  type Transaction,
} from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { withTransaction } from '../transaction.ts';

/** The tenant has no such operation; another's is none. */
export function createOperationNotFound(): ProblemError {
  return new ProblemError(404, 'bulk_operation_not_found', 'There is no such bulk operation.');
}

/** What one may want of an operation that has not ended, and the status that it has then. */
const WANTED = { pause: 'paused', resume: 'running', abort: 'aborted' } as const;
export type BulkVerb = keyof typeof WANTED;

/**
 * Pauses, resumes or aborts an operation; again when it is so already does nothing. After the commit of a pause or an abort it
 * changes nothing more: a portion under way is rolled back. Throws ProblemError: 404, 409 when it has ended, or can not be aborted.
 */
export function steerBulkOperation(
  context: ApiContext,
  client: Transaction | undefined,
  { tenantId, id, verb, origin }: { tenantId: string; id: string; verb: BulkVerb; origin: ChangeOrigin },
): Promise<BulkOperationRow> {
  return withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    const operation = await lockBulkOperation(transaction, tenantId, id);
    if (!operation) throw createOperationNotFound();
    const wanted = WANTED[verb];
    if (operation.status === wanted) return operation;
    if (operation.status !== 'running' && operation.status !== 'paused') {
      throw new ProblemError(409, 'bulk_operation_finished', `The operation has ended: it has ${operation.status}.`);
    }
    // Some would have been moved, and would be moved again by the next resume of their workflow.
    if (verb === 'abort' && readPlan(operation).plan.do === 'shift') {
      throw new ProblemError(
        409,
        'bulk_operation_not_abortable',
        'It moves the due times of a workflow that is being resumed, all or none; it can be paused.',
      );
    }
    const changed = await setBulkStatus(transaction, id, wanted);
    await recordChanges(transaction, [{ targetId: id, tenantId, origin }]);
    // One that was paused has nobody who works at it. To end it means work, too: what it had still to do is forgotten.
    if (wanted !== 'paused' && operation.status === 'paused') {
      await startLanes(transaction, operation, context.partitionCount);
    }
    return changed;
  });
}
