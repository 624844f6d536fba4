import { createTenant, createTimers, inTransaction, type NewTimer } from '@punctual/database';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { ChunkConsumer } from '@punctual/queue';
import { BACKENDS, createTestQueue, makeTimer, type TestQueue, useTestDatabase, waitUntil } from '@punctual/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRig, type Rig, storeTimers } from './open-rig.ts';

const LIMIT_MS = 50_000;
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

/** Reads ahead into a queue of which nobody takes anything, until it is full. */
async function openFull(backend: 'redis' | 'postgres'): Promise<Rig> {
  queue = await createTestQueue(backend, db);
  closers.push(() => queue.drop());
  const rig = await openRig(db.service, { connection: queue.connection, queueChunksMax: 16, rowsMax: 512 });
  closers.push(() => rig.stop());
  rig.start();
  await waitUntil('the queue is full', async () => (await rig.metrics.readPauses.get()).values[0]!.value > 5, LIMIT_MS);
  return rig;
}

/** Takes chunks out of the queue one by one as a worker would, and says in which order their timers came. */
function openTaker(): string[] {
  const taken: string[] = [];
  const consumer = new ChunkConsumer(
    queue.connection,
    1,
    async (hints) => {
      const ids = hints.map(({ id }) => id);
      taken.push(...ids);
      await db.database.ordinary.query('DELETE FROM timers WHERE id = ANY ($1)', [ids]);
      return 'done';
    },
    () => {},
  );
  closers.push(() => consumer.stop());
  consumer.start();
  return taken;
}

const store = (count: number, fields: Partial<NewTimer>) => storeTimers(db.database, count, fields);

const AN_HOUR_AGO = () => Date.now() - 3_600_000;
/** Far more than the queue takes while nobody empties it. */
const HERD = 4_000;
const countOf = (ids: readonly string[], among: readonly string[]) => {
  const wanted = new Set(among);
  return ids.filter((id) => wanted.has(id)).length;
};

describe.each(BACKENDS)("behind the same tenant's backlog, with the queue on %s", (backend) => {
  it('who has a priority goes before all that wait, the highest first, each once', async () => {
    const herd = await store(HERD, { dueAt: AN_HOUR_AGO() });
    const rig = await openFull(backend);
    const [low, high] = [await store(30, { priority: 1 }), await store(20, { priority: 9, dueAt: AN_HOUR_AGO() })];
    await waitUntil(
      'they are handed over',
      () =>
        countOf(
          rig.handedOver.map(({ id }) => id),
          [...low, ...high],
        ) === 50,
      LIMIT_MS,
    );
    const taken = openTaker();
    await waitUntil('all are taken', () => taken.length >= HERD + 50, LIMIT_MS);
    expect(countOf(taken.slice(0, 128), [...low, ...high])).toBe(50);
    expect(taken, 'each once').toHaveLength(HERD + 50);
    expect(new Set(taken)).toEqual(new Set([...herd, ...low, ...high]));
  });
});

describe("behind the same tenant's backlog", () => {
  it('those without a priority never wait for all that have one: of four that start, one goes in its turn', async () => {
    const herd = await store(HERD, { dueAt: AN_HOUR_AGO() });
    await openFull('redis');
    const raised = await store(3_000, { priority: 5 });
    const taken = openTaker();
    await waitUntil('all are taken', () => taken.length >= HERD + 3_000, LIMIT_MS);
    // The first 1,024 may go together.
    const last = taken.findLastIndex((id) => raised.includes(id));
    const before = countOf(taken.slice(0, last), herd);
    expect(before).toBeGreaterThan((raised.length - 1_024) / 3 - 64);
    expect(before).toBeLessThan(HERD - 64);
    expect(new Set(taken).size).toBe(HERD + 3_000);
  });

  it("another tenant's timers wait neither for the herd nor for what has a priority there", async () => {
    const other = createId();
    await inTransaction(db.database.ordinary, (client) =>
      createTenant(client, { id: other, name: 'other', createdAt: Date.now() }),
    );
    await store(HERD, { dueAt: AN_HOUR_AGO() });
    const rig = await openFull('redis');
    await store(3_000, { priority: 9 });
    const small = await store(5, { tenantId: other });
    await waitUntil(
      'they are handed over',
      () =>
        countOf(
          rig.handedOver.map(({ id }) => id),
          small,
        ) === 5,
      LIMIT_MS,
    );
    const taken = openTaker();
    await waitUntil('they are taken', () => countOf(taken, small) === 5, LIMIT_MS);
    expect(Math.max(...small.map((id) => taken.indexOf(id)))).toBeLessThan(2_048);
  });

  it('of what one read hands over the highest goes first', async () => {
    await store(HERD, { dueAt: AN_HOUR_AGO() });
    const rig = await openFull('redis');
    const levels = [3, 9, 1, 6];
    const timers = Array.from({ length: 40 }, (_, index) => makeTimer({ priority: levels[index % 4]! }));
    await createTimers(db.database.hot, timers);
    const byId = new Map(timers.map(({ id, priority }) => [id, priority!]));
    const order = () => rig.handedOver.flatMap(({ id }) => byId.get(id) ?? []);
    await waitUntil('they are handed over', () => order().length === timers.length);
    expect(order()).toEqual(order().toSorted((a, b) => b - a));
  });
});
