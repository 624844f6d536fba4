import { DatabaseClock, synchronizeClock } from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { createTestLogger, repeatUnderFaults, useTestDatabase, waitUntil } from '@punctual/testkit';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { createSchedulerMetrics } from '../metrics.ts';
import { Pruner } from '../pruner.ts';

const db = useTestDatabase(4);

async function openPruner(clock = new DatabaseClock()): Promise<Pruner> {
  if (!clock.isKnown) await synchronizeClock(db.database.ordinary, clock);
  return new Pruner({
    database: db.service,
    clock,
    retentionDays: 30,
    daysIntervalMs: 600_000,
    metrics: createSchedulerMetrics(new Registry()),
    logger: createTestLogger().logger,
  });
}

const count = async (text: string) =>
  (await db.database.ordinary.query<{ count: number }>(`SELECT count(*) AS count FROM ${text}`)).rows[0]!.count;

describe('the pruner', () => {
  it('folds the ledger without changing a sum, forgets keys older than a day, and makes the days ahead', async () => {
    await db.database.ordinary.query(
      `INSERT INTO ledger_entries (tenant_id, partition, created) SELECT $1, n % 5, 2 FROM generate_series(1, 1000) AS n`,
      [DEFAULT_TENANT_ID],
    );
    await db.database.ordinary.query(
      `INSERT INTO idempotency_keys (tenant_id, key, request_hash, status, headers, body, created_at)
       SELECT $1, 'key' || n, '', 200, '{}', '', clock_timestamp() - n * interval '1 hour' FROM generate_series(1, 48) AS n`,
      [DEFAULT_TENANT_ID],
    );
    const { rows } = await db.database.ordinary.query<{ name: string }>(
      `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'attempts'::regclass ORDER BY 1`,
    );
    const lastDay = rows.at(-2)!.name;
    await db.database.ordinary.query(`DROP TABLE ${lastDay}`);
    await waitUntil('it has made the day', async () => {
      const pruner = await openPruner();
      await repeatUnderFaults(() => pruner.runOnce());
      return (await count(`pg_class WHERE relname = '${lastDay}'`)) === 1;
    });
    expect(await count('ledger_entries')).toBe(0);
    const totals = await db.database.ordinary.query('SELECT sum(created)::int AS created FROM ledger_totals');
    expect(totals.rows).toEqual([{ created: 2_000 }]);
    expect(await count('idempotency_keys')).toBe(23);
  });

  it('goes on at once while there is more than one turn does', async () => {
    await db.database.ordinary.query(
      'INSERT INTO ledger_entries (tenant_id, partition, created) SELECT $1, n % 64, 1 FROM generate_series(1, 160000) AS n',
      [DEFAULT_TENANT_ID],
    );
    const pruner = await openPruner();
    const beganAt = performance.now();
    pruner.start();
    // Four turns of 50,000, with 5 s between them were it not behind.
    await waitUntil('all is folded', async () => (await count('ledger_entries')) === 0, 20_000);
    expect(performance.now() - beganAt).toBeLessThan(10_000);
    await pruner.stop();
  });

  it('runs on several schedulers at once', async () => {
    await db.database.ordinary.query(
      'INSERT INTO ledger_entries (tenant_id, partition, created) SELECT $1, n % 64, 1 FROM generate_series(1, 20000) AS n',
      [DEFAULT_TENANT_ID],
    );
    const before = await db.database.ordinary.query(
      'SELECT (SELECT sum(created) FROM ledger_totals) + (SELECT sum(created) FROM ledger_entries) AS created',
    );
    const pruners = await Promise.all([openPruner(), openPruner(), openPruner()]);
    await Promise.all(pruners.map((pruner) => repeatUnderFaults(() => pruner.runOnce())));
    await repeatUnderFaults(() => pruners[0]!.runOnce());
    const after = await db.database.ordinary.query('SELECT sum(created) AS created FROM ledger_totals');
    expect(after.rows).toEqual(before.rows);
  });
});
