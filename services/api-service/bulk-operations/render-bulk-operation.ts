import type { BulkOperation } from '@punctual/contracts';
import type { BulkOperationRow } from '@punctual/database';

/** What was asked for, as it is kept and shown. */
export interface KeptRequest {
  workflowId?: string;
  filter?: BulkOperation['filter'];
  change?: BulkOperation['change'];
  ratePerSecond?: number;
  reason?: string;
  dryRun?: boolean;
  capped?: boolean;
}

/** A bulk operation as the api shows it. */
export function renderBulkOperation(row: BulkOperationRow): BulkOperation {
  const { workflowId, filter, change, ratePerSecond, reason, dryRun, capped } = JSON.parse(row.request) as KeptRequest;
  return {
    id: row.id,
    action: row.action as BulkOperation['action'],
    status: row.status,
    target: row.target,
    matched: row.matched,
    ...(capped === true && { capped }),
    isListed: row.is_listed,
    done: row.done,
    failed: row.failed,
    dryRun: dryRun === true,
    ...(row.samples !== null && { samples: JSON.parse(row.samples) }),
    ...(workflowId !== undefined && { workflowId }),
    ...(filter !== undefined && { filter }),
    ...(change !== undefined && { change }),
    ...(ratePerSecond !== undefined && { ratePerSecond }),
    ...(reason !== undefined && { reason }),
    createdAt: new Date(row.created_at).toISOString(),
    ...(row.finished_at !== null && { finishedAt: new Date(row.finished_at).toISOString() }),
  };
}
