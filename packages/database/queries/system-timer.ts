import { choosePartition, createId, SYSTEM_TENANT_ID, type SystemAction } from '@punctual/domain';
import type { NewTimer } from './new-timer-columns.ts';

/** A timer of the system, to be stored with the rights of our own user. `dueAt` in epoch ms; in the past: at once. */
export function makeSystemTimer(
  action: SystemAction,
  { dueAt, timeoutMs, partitionCount }: { dueAt: number; timeoutMs: number; partitionCount: number },
): NewTimer {
  const id = createId();
  return {
    id,
    tenantId: SYSTEM_TENANT_ID,
    partition: choosePartition(id, partitionCount),
    dueAt,
    createdAt: Date.now(),
    runId: null,
    workflowId: null,
    workflowVersion: null,
    taskKey: null,
    timeZone: null,
    delay: null,
    action: JSON.stringify(action),
    payload: null,
    retry: null,
    timeoutMs,
    externalId: null,
    labels: null,
    waitsFor: null,
  };
}
