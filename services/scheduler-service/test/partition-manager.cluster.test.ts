import { connectDatabase, type Database, inTransaction, readMonotonicMs, steerInstance } from '@punctual/database';
import { createId } from '@punctual/domain';
import { createTestLogger, startProxy, TEST_PARTITION_COUNT, useTestDatabase, waitUntil } from '@punctual/testkit';
import { Registry } from 'prom-client';
import { afterEach, describe, expect, it } from 'vitest';
import { createSchedulerMetrics } from '../metrics.ts';
import { PartitionManager } from '../partition-manager.ts';

const db = useTestDatabase(8);
/** The guarantee is 5 s with the usual settings; a machine under load gets as much again. */
const REBALANCE_MS = 5_000;
const LEASE_TTL_MS = 3_000;
const RENEW_MS = 1_000;
/** Two renewals. */
const HAND_OVER_MS = 2 * RENEW_MS;

const managers = new Set<PartitionManager>();
const instanceIds = new WeakMap<PartitionManager, string>();

function openManager(
  database: Database = db.service,
  leaseTtlMs = LEASE_TTL_MS,
  renewIntervalMs = RENEW_MS,
): PartitionManager {
  const { logger } = createTestLogger();
  const id = createId();
  const manager = new PartitionManager({
    database,
    instance: { id, role: 'scheduler', host: 'test', pid: 1, version: '0', details: {} },
    leaseTtlMs,
    renewIntervalMs,
    metrics: createSchedulerMetrics(new Registry()),
    logger,
  });
  managers.add(manager);
  instanceIds.set(manager, id);
  return manager;
}

/** Stops its loop without a word, as a process does that is killed. */
async function kill(manager: PartitionManager): Promise<void> {
  await manager.loop.stop();
  managers.delete(manager);
}

afterEach(async () => {
  await Promise.all([...managers].map((manager) => manager.stop()));
  managers.clear();
  await db.database.ordinary.query('DELETE FROM service_instances');
  await db.database.ordinary.query(`UPDATE partition_leases SET owner_id = NULL, expires_at = '-infinity'`);
});

const count = (manager: PartitionManager) => manager.listOwned().length;

/** How long it takes until these managers own all partitions, in shares that differ by no more than the rounding. */
async function measureSharing(sharing: readonly PartitionManager[]): Promise<number> {
  const beganAt = performance.now();
  const share = Math.ceil(TEST_PARTITION_COUNT / sharing.length);
  await waitUntil(
    `${sharing.length} managers have shared the partitions`,
    () =>
      sharing.reduce((sum, manager) => sum + count(manager), 0) === TEST_PARTITION_COUNT &&
      sharing.every((manager) => count(manager) <= share && count(manager) >= share - 1),
    4 * REBALANCE_MS,
  );
  return performance.now() - beganAt;
}

describe('partition managers', () => {
  it('read what they give back until somebody else has it', async () => {
    const [first, second] = [openManager(), openManager()];
    await first.runOnce();
    await second.runOnce();
    // Half of them is now free, and nobody has taken it.
    await first.runOnce();
    expect(count(first)).toBe(TEST_PARTITION_COUNT / 2);
    expect(first.listRead()).toHaveLength(TEST_PARTITION_COUNT);
    await second.runOnce();
    expect(count(second)).toBe(TEST_PARTITION_COUNT / 2);

    const taken = first.listOwned();
    const stopping = first.stop();
    await waitUntil('the partitions are given back', () => count(first) === 0);
    expect(first.listRead()).toEqual(expect.arrayContaining(taken));
    await waitUntil('the second has all', async () => {
      await second.runOnce();
      return count(second) === TEST_PARTITION_COUNT;
    });
    await stopping;
    await waitUntil('nothing is read by two for long', () => first.listRead().length === 0, 2 * HAND_OVER_MS);
  });

  it('share the partitions within 5 s when others come, leave, or fall silent', async () => {
    const first = openManager();
    first.start();
    expect(await measureSharing([first])).toBeLessThan(REBALANCE_MS);

    const [second, third] = [openManager(), openManager()];
    second.start();
    third.start();
    expect(await measureSharing([first, second, third])).toBeLessThan(REBALANCE_MS);

    await second.stop();
    expect(await measureSharing([first, third]), 'after one said goodbye').toBeLessThan(REBALANCE_MS);

    await kill(first);
    expect(await measureSharing([third]), 'after one was killed').toBeLessThan(REBALANCE_MS);
  });

  it('that are drained give their partitions away and take them back when they are resumed', async () => {
    const [first, second, third] = [openManager(), openManager(), openManager()];
    const steer = (manager: PartitionManager, isDraining: boolean) =>
      inTransaction(db.database.hot, (client) =>
        steerInstance(client, { role: 'scheduler', id: instanceIds.get(manager)!, isDraining, isForced: true }),
      );
    for (const manager of [first, second, third]) manager.start();
    await measureSharing([first, second, third]);
    await steer(second, true);
    expect(await measureSharing([first, third]), 'after one is drained').toBeLessThan(REBALANCE_MS);
    await waitUntil('the drained one has none', () => count(second) === 0);
    // As its own heartbeat would be taken for gone when it was away for a minute.
    await db.database.ordinary.query('DELETE FROM service_instances WHERE id = $1', [instanceIds.get(second)]);
    await second.runOnce();
    expect(count(second)).toBe(0);
    await steer(second, false);
    expect(await measureSharing([first, second, third]), 'after it is resumed').toBeLessThan(REBALANCE_MS);
    for (const manager of [first, second, third]) await steer(manager, true);
    await waitUntil('nobody owns any', () => [first, second, third].every((manager) => count(manager) === 0), 20_000);
  });

  it('never two own a partition at the same time, also when one sleeps past its leases', async () => {
    const ttlMs = 400;
    const renewMs = 40;
    const owners = Array.from({ length: 4 }, () => openManager(db.service, ttlMs, renewMs));
    const twice: number[] = [];
    const look = () => {
      const partitions = owners.flatMap((owner) => owner.listOwned());
      if (new Set(partitions).size < partitions.length) twice.push(partitions.length);
    };
    const looking = setInterval(look, 1);
    for (const owner of owners) owner.start();
    const endAt = readMonotonicMs() + 3_000;
    while (readMonotonicMs() < endAt) {
      const sleeper = owners[Math.floor(Math.random() * owners.length)]!;
      // Its turns stop; what it believes to own must run out by its own clock. The others need not wait until its
      // heartbeat has aged: they take its share as soon as its leases end.
      await sleeper.loop.stop();
      await db.database.ordinary.query('DELETE FROM service_instances WHERE id = $1', [instanceIds.get(sleeper)]);
      await waitUntil('its leases have run out', () => count(sleeper) === 0);
      look();
      sleeper.loop.start();
      await waitUntil('it is back', () => count(sleeper) > 0);
    }
    clearInterval(looking);
    expect(twice).toEqual([]);
  });

  it('a manager that can not reach Postgres stops owning before its leases end, and is back when Postgres is', async () => {
    const proxy = await startProxy(db.url);
    const database = connectDatabase({ connectionString: proxy.url, applicationName: 'punctual-test', poolSizeMax: 2 });
    try {
      const manager = openManager(database, 1_000, 100);
      manager.start();
      await waitUntil('it owns all', () => count(manager) === TEST_PARTITION_COUNT);
      await proxy.cut();
      await waitUntil('it owns none', () => count(manager) === 0);
      const { rows } = await db.database.ordinary.query(
        'SELECT count(*)::int AS held FROM partition_leases WHERE expires_at > clock_timestamp()',
      );
      expect(rows, 'it lets go in the last quarter').toEqual([{ held: TEST_PARTITION_COUNT }]);
      await proxy.restore();
      await waitUntil('it owns all again', () => count(manager) === TEST_PARTITION_COUNT);
      await manager.stop();
      managers.delete(manager);
    } finally {
      await database.close();
      await proxy.close();
    }
  });

  it('gives all partitions back when it stops, early and twice', async () => {
    const manager = openManager();
    await manager.stop();
    manager.start();
    await waitUntil('it owns all', () => count(manager) === TEST_PARTITION_COUNT);
    await Promise.all([manager.stop(), manager.stop()]);
    expect(count(manager)).toBe(0);
    const { rows } = await db.database.ordinary.query(
      `SELECT (SELECT count(*)::int FROM partition_leases WHERE owner_id IS NOT NULL) AS held, (SELECT count(*)::int FROM service_instances) AS instances`,
    );
    expect(rows).toEqual([{ held: 0, instances: 0 }]);
  });
});
