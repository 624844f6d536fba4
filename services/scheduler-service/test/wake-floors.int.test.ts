import {
  cancelTimers,
  connectDatabase,
  createTimers,
  type Database,
  inTransaction,
  readFirstWakes,
} from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import {
  createTestQueue,
  makeTimer,
  stopAutovacuum,
  type TestQueue,
  useTestDatabase,
  waitUntil,
} from '@punctual/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { WakeFloors } from '../wake-floors.ts';
import { openRig, type Rig } from './open-rig.ts';

const db = useTestDatabase(6);
const NEVER_MS = 3_600_000;
const PARTITION = 3;
const HOUR_MS = 3_600_000;

let queue: TestQueue;
let rig: Rig | undefined;

beforeEach(async () => {
  await db.database.ordinary.query('TRUNCATE timers');
  queue = await createTestQueue('redis', db);
});
afterEach(async () => {
  await rig?.stop();
  rig = undefined;
  await queue.drop();
});

async function store(count: number): Promise<string[]> {
  const timers = Array.from({ length: count }, () => makeTimer({ partition: PARTITION }));
  for (let from = 0; from < count; from += 1_000) await createTimers(db.database.hot, timers.slice(from, from + 1_000));
  return timers.map(({ id }) => id);
}

const putBack = (ids: readonly string[], ms: number) =>
  db.database.ordinary.query(
    "UPDATE timers SET wake_at = clock_timestamp() - $2::float8 * interval '1 millisecond' WHERE id = ANY ($1)",
    [ids, ms],
  );

/** Entries of the index of wake times that scans have passed so far. `hot` is the only connection of whoever scans. */
async function countPassed(hot: Database['hot']): Promise<number> {
  // A connection tells of what it did when it has been idle for a while, or when it is told to.
  await hot.query('SELECT pg_stat_force_next_flush()');
  const { rows } = await db.database.ordinary.query(
    "SELECT idx_tup_read::int AS passed FROM pg_stat_user_indexes WHERE indexrelname = 'timers_wake'",
  );
  return rows[0].passed;
}

it('a floor is the first wake that is left, and at least some seconds old', async () => {
  const floors = new WakeFloors(db.database);
  expect(floors.get(PARTITION)).toBe(0);
  await floors.raise([PARTITION]);
  const empty = floors.get(PARTITION);
  expect(Date.now() - empty).toBeGreaterThan(10_000);
  expect(Date.now() - empty).toBeLessThan(60_000);
  const [id] = await store(1);
  await putBack([id!], HOUR_MS);
  const [first] = await readFirstWakes(db.database.hot, [{ partition: PARTITION, wakeAt: 0 }]);
  const fresh = new WakeFloors(db.database);
  await fresh.raise([PARTITION]);
  expect(fresh.get(PARTITION)).toBe(Math.floor(first!.wakeAt));
  fresh.keep(new Set());
  expect(fresh.get(PARTITION)).toBe(0);
});

it('sweeps do not pass what is gone again and again, while an old snapshot still sees it', async () => {
  await stopAutovacuum(db.database);
  const scanning = connectDatabase({ connectionString: db.url, applicationName: 'punctual-test', poolSizeMax: 1 });
  await inTransaction(db.database.ordinary, async (client) => {
    await client.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
    const ids = await store(5_000);
    await storeAgain(60_000);
    await client.query('SELECT count(*) FROM timers');
    await cancelTimersOf(ids);
    rig = await openRig(scanning, {
      connection: queue.connection,
      partitions: [PARTITION],
      sweepIntervalMs: 0,
      floorCheckIntervalMs: NEVER_MS,
    });
    // From the beginning once: to read, to find the floor.
    await rig.turn();
    const before = await countPassed(scanning.hot);
    expect(before).toBeGreaterThan(5_000);
    for (let turns = 0; turns < 50; turns += 1) await rig.turn();
    expect((await countPassed(scanning.hot)) - before).toBeLessThan(5_000);
    await rig.stop();
    rig = undefined;
  }).finally(() => scanning.close());
});

/**
 * Puts all timers back as an update would, but leaves nothing of what they were in the index: while anybody's transaction is open on
 * this server it could not be cleared away, and would be passed, too.
 */
const storeAgain = (ms: number) =>
  inTransaction(db.database.ordinary, async (client) => {
    await client.query('CREATE TEMP TABLE again ON COMMIT DROP AS SELECT * FROM timers');
    await client.query("UPDATE again SET wake_at = clock_timestamp() - $1::float8 * interval '1 millisecond'", [ms]);
    await client.query('TRUNCATE timers');
    await client.query('INSERT INTO timers SELECT * FROM again');
  });

async function cancelTimersOf(ids: readonly string[]): Promise<void> {
  for (let from = 0; from < ids.length; from += 1_000)
    await cancelTimers(db.database.hot, DEFAULT_TENANT_ID, ids.slice(from, from + 1_000));
}

it('what wakes below the floor after all is found by the check', async () => {
  rig = await openRig(db.service, {
    connection: queue.connection,
    partitions: [PARTITION],
    sweepIntervalMs: 0,
    floorCheckIntervalMs: 100,
  });
  rig.start();
  const [known] = await store(1);
  await waitUntil('the partition is read', () => rig!.handedOver.some(({ id }) => id === known));
  const [lost] = await inTransaction(db.database.ordinary, async (client) => {
    const timer = makeTimer({ partition: PARTITION });
    await createTimers(client, [timer]);
    await client.query("UPDATE timers SET wake_at = clock_timestamp() - interval '1 hour' WHERE id = $1", [timer.id]);
    return [timer.id];
  });
  await waitUntil('the one far behind is found', () => rig!.handedOver.some(({ id }) => id === lost));
});

it('a scheduler that takes many partitions reads them a few at a time, and all of them', async () => {
  const partitions = Array.from({ length: 40 }, (_, index) => index % 64);
  const timers = partitions.map((partition) => makeTimer({ partition }));
  await createTimers(db.database.hot, timers);
  rig = await openRig(db.service, { connection: queue.connection, partitions, sweepIntervalMs: NEVER_MS });
  rig.start();
  await waitUntil('all are handed over', () => rig!.handedOver.length === timers.length);
});
