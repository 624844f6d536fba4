import type { Database, NewTimer } from '@punctual/database';
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
