import {
  BULK_OPERATIONS_UNFINISHED_MAX,
  type BulkOperationRow,
  createBulkOperation,
  hasBulkOperationsEnough,
  type NewBulkOperation,
  type Transaction,
} from '@punctual/database';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';

/** What a request may be refused with that begins an operation. */
export const TOO_MANY_OPERATIONS = { 429: ['too_many_bulk_operations'] };
/** Operations end within minutes as a rule; one that is aborted makes room at once. */
const RETRY_AFTER_SECONDS = 10;

/** Stores an operation that a request wants. Throws a 429 when the tenant has too many that have not ended. */
export async function beginBulkOperation(
  { partitionCount }: Pick<ApiContext, 'partitionCount'>,
  client: Transaction,
  operation: NewBulkOperation,
): Promise<BulkOperationRow> {
  if (await hasBulkOperationsEnough(client, operation.tenantId)) {
    throw new ProblemError(
      429,
      'too_many_bulk_operations',
      `The tenant has ${BULK_OPERATIONS_UNFINISHED_MAX} bulk operations that have not ended; wait for some, or abort them.`,
      { headers: { 'retry-after': String(RETRY_AFTER_SECONDS) } },
    );
  }
  return createBulkOperation(client, operation, partitionCount);
}
