import {
  asTenant,
  type BulkPlan,
  type BulkSource,
  createBulkOperation,
  createTimers,
  type Database,
  inTransaction,
  type NewBulkOperation,
  readBulkOperation,
  WorkflowVersions,
} from '@punctual/database';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { createTestLogger, makeTimer, TEST_PARTITION_COUNT } from '@punctual/testkit';
import { Registry } from 'prom-client';
import { createWorkerMetrics } from '../metrics.ts';
import { BulkWorker } from '../system/bulk-operation.ts';

export const HOUR_MS = 3_600_000;

/** What tests of bulk operations do on `db`, which is open only once a test runs. */
export function openBulkSteps(db: { database: Database }) {
  const tenantId = DEFAULT_TENANT_ID;
  const versions = new WorkflowVersions();

  const openBulk = (database = db.database) =>
    new BulkWorker({
      database,
      workflowVersions: versions,
      partitionCount: TEST_PARTITION_COUNT,
      metrics: createWorkerMetrics(new Registry()),
      logger: createTestLogger().logger,
    });

  /** Timers that sleep, of which no other test knows. */
  async function storeTimers(count: number, fields: (index: number) => object = () => ({})) {
    const label = createId();
    const timers = Array.from({ length: count }, (_, index) =>
      makeTimer({ dueAt: Date.now() + HOUR_MS, labels: JSON.stringify({ label }), ...fields(index) }),
    );
    for (let start = 0; start < count; start += 1_000)
      await createTimers(db.database.hot, timers.slice(start, start + 1_000));
    const condition = { tenantId, labels: JSON.stringify({ label }) };
    return { timers, ids: timers.map(({ id }) => id), condition };
  }

  const store = (plan: BulkPlan, source: BulkSource, fields: Partial<NewBulkOperation> = {}) =>
    inTransaction(asTenant(db.database, tenantId).hot, (client) =>
      createBulkOperation(
        client,
        {
          id: createId(),
          tenantId,
          action: 'cancel',
          target: 'timer',
          request: '{}',
          plan,
          source,
          ratePerSecond: null,
          origin: { actor: 'nobody', keyId: null, requestId: 'r' },
          ...fields,
        },
        TEST_PARTITION_COUNT,
      ),
    );

  const read = async (id: string) => (await readBulkOperation(db.database.hot, id, tenantId))!;

  /** Carries it out as one lane would, to its end. */
  async function carryOut(id: string): Promise<Awaited<ReturnType<typeof read>>> {
    const bulk = openBulk();
    for (let turns = 0; turns < 100 && (await bulk.run(id)) !== 'done'; turns += 1);
    return read(id);
  }

  const readRows = async (ids: readonly string[]) =>
    (await db.database.ordinary.query('SELECT * FROM timers WHERE id = ANY ($1) ORDER BY id', [ids])).rows;

  return { versions, openBulk, storeTimers, store, read, carryOut, readRows };
}
