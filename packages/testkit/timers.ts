import type { NewTimer } from '@punctual/database';
import { choosePartition, createId, DEFAULT_TENANT_ID } from '@punctual/domain';

/** Partitions of a test database. */
export const TEST_PARTITION_COUNT = 64;

/** A timer to insert, due now, of the default tenant, with a `noop` action; `fields` replace what they name. */
export function makeTimer(fields: Partial<NewTimer> = {}): NewTimer {
  const id = fields.id ?? createId();
  const now = Date.now();
  return {
    id,
    tenantId: DEFAULT_TENANT_ID,
    partition: choosePartition(id, TEST_PARTITION_COUNT),
    dueAt: now,
    createdAt: now,
    runId: null,
    workflowId: null,
    workflowVersion: null,
    taskKey: null,
    timeZone: null,
    delay: null,
    action: '{"type":"noop"}',
    payload: null,
    retry: null,
    timeoutMs: null,
    externalId: null,
    labels: null,
    ...fields,
  };
}
