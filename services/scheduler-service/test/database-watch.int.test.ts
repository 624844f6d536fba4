import { createTimers, foldLedger, TENANTS_SHOWN_MAX } from '@punctual/database';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { createTestLogger, makeTimer, repeatUnderFaults, useTestDatabase } from '@punctual/testkit';
import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { DatabaseWatch } from '../database-watch.ts';
import { createSchedulerMetrics } from '../metrics.ts';

const db = useTestDatabase(4);
const query = (text: string, values: unknown[] = []) => db.database.ordinary.query(text, values);

function openWatch() {
  const registry = new Registry();
  const lead = { isLeading: true };
  const watch = new DatabaseWatch({
    database: db.service,
    isLeading: () => lead.isLeading,
    intervalMs: 600_000,
    metrics: createSchedulerMetrics(registry),
    logger: createTestLogger().logger,
  });
  return { watch, lead, registry };
}

/** What is shown, by name and labels. */
async function readShown(registry: Registry): Promise<Map<string, number>> {
  const lines = (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

it('the scheduler that leads shows sizes, rows and the totals of tenants', async () => {
  await createTimers(db.database.hot, [makeTimer(), makeTimer(), makeTimer()]);
  await foldLedger(db.database.ordinary);
  const { watch, registry } = openWatch();
  await repeatUnderFaults(() => watch.runOnce());
  const shown = await readShown(registry);
  expect(shown.get(`scheduler_tenant_timers{tenant="${DEFAULT_TENANT_ID}",status="live"}`)).toBe(3);
  expect(shown.get(`scheduler_tenant_timers{tenant="${DEFAULT_TENANT_ID}",status="created"}`)).toBe(3);
  expect(shown.get('scheduler_table_bytes{table="timers"}')).toBeGreaterThan(8_000);
  expect(shown.has('scheduler_table_rows{table="timers",kind="dead"}')).toBe(true);
  expect(shown.get('scheduler_database_bytes')).toBeGreaterThan(1_000_000);
  expect(shown.get('scheduler_database_connections{kind="max"}')).toBeGreaterThan(
    shown.get('scheduler_database_connections{kind="open"}')!,
  );
  expect(shown.get('scheduler_figures_read_timestamp_seconds')).toBeGreaterThan(0);
});

it('a transaction that stays open is seen', async () => {
  const client = await db.database.ordinary.connect();
  try {
    await client.query('BEGIN');
    await client.query('SELECT 1');
    const { watch, registry } = openWatch();
    await repeatUnderFaults(() => watch.runOnce());
    expect((await readShown(registry)).get('scheduler_database_oldest_transaction_seconds')).toBeGreaterThan(0);
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
});

it('no more tenants are shown than TENANTS_SHOWN_MAX: those with the most live timers', async () => {
  const tenants = Array.from({ length: TENANTS_SHOWN_MAX + 5 }, (_, index) => ({ id: createId(), live: 100 + index }));
  for (const { id, live } of tenants) {
    await query('INSERT INTO ledger_totals (tenant_id, partition, created) VALUES ($1, 0, $2)', [id, live]);
  }
  const { watch, registry } = openWatch();
  await repeatUnderFaults(() => watch.runOnce());
  const live = [...(await readShown(registry)).keys()].filter((key) => key.includes('status="live"'));
  const shown = tenants
    .slice(-TENANTS_SHOWN_MAX)
    .map(({ id }) => `scheduler_tenant_timers{tenant="${id}",status="live"}`);
  expect(live.toSorted()).toEqual(shown.toSorted());
});

it('who does not lead asks nothing, and who leads no more shows nothing of it any more', async () => {
  const { watch, lead, registry } = openWatch();
  lead.isLeading = false;
  await watch.runOnce();
  expect((await readShown(registry)).get('scheduler_database_bytes')).toBe(0);
  lead.isLeading = true;
  await expect
    .poll(
      async () => {
        await repeatUnderFaults(() => watch.runOnce());
        return (await readShown(registry)).get('scheduler_database_bytes');
      },
      { timeout: 10_000 },
    )
    .toBeGreaterThan(0);
  lead.isLeading = false;
  await watch.runOnce();
  const shown = await readShown(registry);
  expect(shown.get('scheduler_database_bytes')).toBe(0);
  expect([...shown.keys()].filter((key) => key.startsWith('scheduler_table_'))).toEqual([]);
});
