import type { Database, NewTimer, StartedTimer } from '@punctual/database';
import { choosePartition, createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { waitUntil } from './wait-until.ts';

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
    waitsFor: null,
    ...fields,
  };
}

/** A timer without a run as a start returns it: its first attempt, which began when it was due. */
export function makeStarted(fields: Partial<StartedTimer> = {}): StartedTimer {
  return {
    id: createId(),
    tenant_id: DEFAULT_TENANT_ID,
    version: 2,
    attempt: 1,
    lost: 0,
    wake_at: 0,
    started_at: 0,
    due_at: 0,
    run_id: null,
    workflow_id: null,
    workflow_version: null,
    task_key: null,
    path: null,
    action: null,
    payload: null,
    retry: null,
    timeout_ms: null,
    input: null,
    run_status: null,
    waits_for: null,
    signal: null,
    ...fields,
  };
}

/**
 * Waits until these timers are due by the database's clock. One that is stored as due now may be due half a millisecond
 * later, because wake times are rounded to milliseconds; whoever starts it at once would come too early.
 */
export async function waitUntilDue(database: Database, ids: readonly string[]): Promise<void> {
  await waitUntil('the timers are due', async () => {
    const { rows } = await database.ordinary.query(
      'SELECT FROM timers WHERE id = ANY ($1) AND wake_at > clock_timestamp() LIMIT 1',
      [ids],
    );
    return rows.length === 0;
  });
}
