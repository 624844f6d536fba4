import { createTenant, createTimers, inTransaction, type NewTimer } from '@punctual/database';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { ChunkConsumer } from '@punctual/queue';
import { createTestQueue, makeTimer, type TestQueue, useTestDatabase, waitUntil } from '@punctual/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HAND_OVER_EARLY_MS } from '../dispatcher.ts';
import { TenantTurns } from '../tenant-turns.ts';
import { openRig, type Rig, type RigOptions, storeTimers, WINDOW_MS } from './open-rig.ts';

const db = useTestDatabase(6);
const closers: (() => Promise<unknown>)[] = [];
let queue: TestQueue;

beforeEach(async () => {
  await db.database.ordinary.query(`TRUNCATE timers`);
  await db.database.ordinary.query(`DELETE FROM tenants WHERE id <> $1`, [DEFAULT_TENANT_ID]);
});
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function open(options: Partial<RigOptions> = {}): Promise<Rig> {
  const rig = await openRig(db.service, { connection: queue.connection, ...options });
  closers.push(() => rig.stop());
  return rig;
}

async function openQueueOn(backend: 'redis' | 'postgres'): Promise<void> {
  queue = await createTestQueue(backend, db);
  closers.push(() => queue.drop());
}

async function storeTenants(count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => createId());
  await inTransaction(db.database.ordinary, async (client) => {
    for (const id of ids) {
      await createTenant(client, { id, name: 'other', createdAt: Date.now() });
    }
  });
  return ids;
}

const store = (count: number, fields: Partial<NewTimer>) => storeTimers(db.database, count, fields);

const AN_HOUR_AGO = () => Date.now() - 3_600_000;
/** Far more than the queue takes while nobody empties it. */
const HERD = 12_000;
const NARROW = { queueChunksMax: 50, rowsMax: 1_024 };
const handedOver = (rig: Rig, ids: readonly string[]) => {
  const wanted = new Set(ids);
  return rig.handedOver.filter(({ id }) => wanted.has(id));
};

describe("behind one tenant's backlog", () => {
  it("the other tenants' due timers are handed over while the queue is full of it", async () => {
    await openQueueOn('redis');
    const others = await storeTenants(100);
    const herd = await store(HERD, { dueAt: AN_HOUR_AGO() });
    const rig = await open(NARROW);
    rig.start();
    await waitUntil('the queue is full', async () => (await rig.metrics.readPauses.get()).values[0]!.value > 5);
    // Due at the same instant as the herd, and now.
    const late = (await Promise.all(others.map((tenantId) => store(2, { tenantId, dueAt: AN_HOUR_AGO() })))).flat();
    const fresh = (await Promise.all(others.map((tenantId) => store(1, { tenantId })))).flat();
    await waitUntil('all of the others are handed over', () => handedOver(rig, [...late, ...fresh]).length === 300);
    for (let turns = 0; turns < 20; turns += 1) await rig.turn();
    expect(handedOver(rig, [...late, ...fresh]), 'each once').toHaveLength(300);
    expect(handedOver(rig, herd).length).toBeLessThan(HERD / 2);
  });

  it('they wait for nothing in the queue either, and the backlog goes on to its end, each timer once', async () => {
    await openQueueOn('redis');
    const [other] = await storeTenants(1);
    const herd = await store(HERD, { dueAt: AN_HOUR_AGO() });
    const rig = await open(NARROW);
    rig.start();
    await waitUntil('the queue is full', async () => (await rig.metrics.readPauses.get()).values[0]!.value > 5);
    const [small] = await store(1, { tenantId: other! });
    await waitUntil('it is handed over', () => handedOver(rig, [small!]).length === 1);
    const taken: string[] = [];
    const consumer = new ChunkConsumer(
      queue.connection,
      1,
      async (hints) => {
        taken.push(...hints.map(({ id }) => id));
        const ids = hints.map(({ id }) => id);
        await db.database.ordinary.query('DELETE FROM timers WHERE id = ANY ($1)', [ids]);
        return 'done';
      },
      () => {},
    );
    closers.push(() => consumer.stop());
    consumer.start();
    await waitUntil('all are taken', () => taken.length >= HERD + 1, 30_000);
    // Only what the herd's own tenant was handed over in its turns may have come in between.
    expect(taken.indexOf(small!)).toBeLessThan(16 * 64);
    expect(new Set(taken).size).toBe(HERD + 1);
    expect(taken).toHaveLength(HERD + 1);
    expect(new Set(herd).size).toBe(HERD);
  });

  it('a tenant with more than one turn takes goes on where it stopped', async () => {
    await openQueueOn('redis');
    const [big] = await storeTenants(2);
    await store(HERD, { dueAt: AN_HOUR_AGO() });
    const rig = await open(NARROW);
    rig.start();
    await waitUntil('the queue is full', async () => (await rig.metrics.readPauses.get()).values[0]!.value > 5);
    const ids = await store(200, { tenantId: big! });
    await waitUntil('all are handed over', () => handedOver(rig, ids).length === 200);
  });

  it('they are read before they are due, and handed over when they are', async () => {
    await openQueueOn('redis');
    const [other] = await storeTenants(1);
    await store(HERD, { dueAt: AN_HOUR_AGO() });
    const rig = await open(NARROW);
    rig.start();
    await waitUntil('the queue is full', async () => (await rig.metrics.readPauses.get()).values[0]!.value > 5);
    const soon = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        store(1, { tenantId: other!, dueAt: Date.now() + 500 + index * 20, partition: 2 }),
      ),
    );
    await waitUntil('all are handed over', () => handedOver(rig, soon.flat()).length === 20);
    for (const { wakeAt, atLatest } of handedOver(rig, soon.flat()))
      expect(atLatest, 'not before its time').toBeGreaterThanOrEqual(wakeAt - HAND_OVER_EARLY_MS - WINDOW_MS);
    expect(handedOver(rig, soon.flat()), 'each once').toHaveLength(20);
  });

  it('a turn holds what is due within the quarter of a second to come, and nothing that is due later', async () => {
    const [other] = await storeTenants(1);
    const [soon] = await store(1, { tenantId: other!, dueAt: Date.now() + 200, partition: 2 });
    await store(1, { tenantId: other!, dueAt: Date.now() + 60_000, partition: 2 });
    const read = await new TenantTurns(db.service).read([1, 2]);
    expect(read.map(({ id }) => id)).toEqual([soon]);
  });

  it('what is not due, waits for a retry, or belongs to the partitions of others stays where it is', async () => {
    await openQueueOn('redis');
    const [other] = await storeTenants(1);
    await store(HERD, { dueAt: AN_HOUR_AGO(), partition: 1 });
    const rig = await open({ ...NARROW, rowsMax: 64, partitions: [1, 2] });
    rig.start();
    await waitUntil('the queue is full', async () => (await rig.metrics.readPauses.get()).values[0]!.value > 5);
    const [sleeping] = await store(1, { tenantId: other!, dueAt: Date.now() + 3_600_000 });
    const [elsewhere] = await store(1, { tenantId: other!, partition: 3 });
    const retrying = makeTimer({ tenantId: other!, partition: 2, dueAt: AN_HOUR_AGO() });
    await inTransaction(db.database.ordinary, async (client) => {
      await createTimers(client, [retrying]);
      await client.query(`UPDATE timers SET wake_at = now() + interval '1 hour' WHERE id = $1`, [retrying.id]);
    });
    const [due] = await store(1, { tenantId: other!, partition: 2 });
    await waitUntil('the one that is due is handed over', () => handedOver(rig, [due!]).length === 1);
    for (let turns = 0; turns < 20; turns += 1) await rig.turn();
    expect(handedOver(rig, [sleeping!, elsewhere!, retrying.id])).toEqual([]);
  });
});
