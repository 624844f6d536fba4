import { createTimers, type NewTimer, startTimers } from '@punctual/database';
import { ChunkConsumer, TIMERS_PER_CHUNK_MAX } from '@punctual/queue';
import { createTestQueue, makeTimer, startProxy, type TestQueue, useTestDatabase, waitUntil } from '@punctual/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRig, type Rig, type RigOptions } from './open-rig.ts';

const db = useTestDatabase(8);
const NEVER_MS = 3_600_000;

let queue: TestQueue;
const closers: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  await db.database.ordinary.query('TRUNCATE timers');
});
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function openQueueOn(backend: 'redis' | 'postgres'): Promise<void> {
  queue = await createTestQueue(backend, db);
  closers.push(() => queue.drop());
}

async function open(options: Partial<RigOptions> = {}): Promise<Rig> {
  const rig = await openRig(db.service, { connection: queue.connection, ...options });
  closers.push(() => rig.stop());
  return rig;
}

/** Starts whatever comes out of the queue when it is due, as a worker does, and counts it. */
function openStarter(connection = queue.connection): Map<string, number> {
  const starts = new Map<string, number>();
  const consumer = new ChunkConsumer(
    connection,
    4,
    async (hints) => {
      await waitUntil('all are due', () => hints.every(({ wakeAt }) => Date.now() >= wakeAt!));
      for (const { id } of await startTimers(db.database.relaxed, hints, 60_000, 60_000))
        starts.set(id, (starts.get(id) ?? 0) + 1);
      return 'done';
    },
    () => {},
  );
  consumer.start();
  closers.push(() => consumer.stop());
  return starts;
}

async function store(count: number, fields: (index: number) => Partial<NewTimer> = () => ({})): Promise<string[]> {
  const timers = Array.from({ length: count }, (_, index) => makeTimer(fields(index)));
  for (let from = 0; from < count; from += 1_000) await createTimers(db.database.hot, timers.slice(from, from + 1_000));
  return timers.map(({ id }) => id);
}

const countPauses = async (rig: Rig) => (await rig.metrics.readPauses.get()).values[0]!.value;

describe('a backlog', () => {
  it.each([
    ['redis', 20_000],
    ['postgres', 6_000],
  ] as const)('drains through %s: %i due timers in three partitions, each handed over once', async (backend, count) => {
    await openQueueOn(backend);
    const ids = await store(count, (index) => ({ partition: index % 3 }));
    const rig = await open({ sweepIntervalMs: 500 });
    const starts = openStarter();
    rig.start();
    await waitUntil('all are started', () => starts.size === ids.length, 40_000);
    await rig.turn();
    expect(rig.handedOver).toHaveLength(ids.length);
    expect(new Set(rig.handedOver.map(({ id }) => id)).size).toBe(ids.length);
    // Nothing is read over and over: what is read twice is the last of the backlog, and what the sweeps saw.
    expect((await rig.metrics.timersRead.get()).values[0]!.value).toBeLessThan(4 * ids.length);
  });

  it('waits in the database, not in memory, while the queue holds enough, and goes on when it does not', async () => {
    await openQueueOn('redis');
    const ids = await store(5_000);
    const queueChunksMax = 10;
    const rowsMax = 1_024;
    const rig = await open({ queueChunksMax, rowsMax, sweepIntervalMs: 100 });
    rig.start();
    const readPauses = () => countPauses(rig);
    await waitUntil('reading has paused for a while', async () => (await readPauses()) > 30);
    // One read may come after the queue was last seen with room.
    const most = queueChunksMax * TIMERS_PER_CHUNK_MAX + 2 * rowsMax;
    expect(rig.handedOver.length).toBeLessThanOrEqual(most);
    expect(rig.recent.size).toBeLessThanOrEqual(most);
    const before = rig.handedOver.length;
    const pauses = await readPauses();
    await waitUntil('it still pauses', async () => (await readPauses()) > pauses + 20);
    expect(rig.handedOver).toHaveLength(before);
    const starts = openStarter();
    await waitUntil('all are started', () => starts.size === ids.length, 30_000);
    expect([...starts.values()].every((count) => count === 1)).toBe(true);
  });

  it('of hints that the queue lost is handed over again in one go, not one page a sweep', async () => {
    await openQueueOn('redis');
    const sweepIntervalMs = 1_000;
    const rowsMax = 200;
    const rig = await open({ partitions: [1], sweepIntervalMs, rowsMax, redispatchAfterMs: 300 });
    const ids = await store(4_000, () => ({ partition: 1 }));
    await waitUntil('all are handed over', async () => {
      await rig.turn();
      return rig.handedOver.length >= ids.length;
    });
    await queue.drop();
    const starts = openStarter();
    const lostAt = performance.now();
    rig.start();
    await waitUntil('all are started', () => starts.size === ids.length, 30_000);
    // 20 pages of 200.
    expect(performance.now() - lostAt).toBeLessThan(10 * sweepIntervalMs);
  });
});

describe('what comes due after a backlog', () => {
  async function handOverAfter(herd: number, rowsMax: number): Promise<{ order: string[]; late: string }> {
    await openQueueOn('redis');
    await store(herd, () => ({ dueAt: Date.now() - 3_600_000 }));
    const rig = await open({ rowsMax });
    rig.start();
    await waitUntil('the backlog is in the queue', () => rig.handedOver.length === herd);
    // By then the scheduler has asked how deep the queue is, which it does every 100 ms.
    const [late] = await store(1, () => ({ dueAt: Date.now() + 1_000 }));
    await waitUntil('the next one, too', () => rig.handedOver.length === herd + 1);
    const order: string[] = [];
    const consumer = new ChunkConsumer(
      queue.connection,
      1,
      async (hints) => {
        order.push(...hints.map(({ id }) => id));
        return 'done';
      },
      () => {},
    );
    closers.push(() => consumer.stop());
    consumer.start();
    await waitUntil('all are taken', () => order.length === herd + 1);
    return { order, late: late! };
  }

  it('does not wait until what of it is in the queue has gone', async () => {
    const { order, late } = await handOverAfter(2_000, 640);
    expect(order[0]).toBe(late);
  });

  it('waits in its turn when there was no backlog, however much is in the queue', async () => {
    const { order, late } = await handOverAfter(2_000, 50_000);
    expect(order.at(-1)).toBe(late);
  });
});

describe('while the queue is away', () => {
  it('nothing is lost: what came due meanwhile is handed over when it is back', async () => {
    await openQueueOn('redis');
    const proxy = await startProxy(queue.connection.redisUrl!);
    closers.push(() => proxy.close());
    const rig = await open({ connection: { ...queue.connection, redisUrl: proxy.url } });
    const starts = openStarter();
    rig.start();
    const now = Date.now();
    const ids = await store(3_000, (index) => ({ dueAt: now + index }));
    await waitUntil('it is under way', () => starts.size > 300);
    await proxy.cut();
    await waitUntil('it was noticed', async () => (await countPauses(rig)) > 0);
    await waitUntil('everything has come due', () => Date.now() > now + 3_200);
    expect(starts.size).toBeLessThan(ids.length);
    const backAt = performance.now();
    await proxy.restore();
    await waitUntil('all are started', () => starts.size === ids.length);
    expect(performance.now() - backAt).toBeLessThan(6_000);
    expect([...starts.values()].every((count) => count === 1)).toBe(true);
    expect(rig.handedOver.length, 'handed over twice').toBeLessThan(1.2 * ids.length);
  });

  it('memory holds little: reading pauses until the queue answers again', async () => {
    await openQueueOn('redis');
    const proxy = await startProxy(queue.connection.redisUrl!);
    closers.push(() => proxy.close());
    const rig = await open({
      connection: { ...queue.connection, redisUrl: proxy.url },
      rowsMax: 640,
      sweepIntervalMs: NEVER_MS,
    });
    rig.start();
    await store(1);
    await waitUntil('it is under way', () => rig.handedOver.length === 1);
    await proxy.cut();
    await store(5_000);
    const held = async () => (await rig.metrics.timersHeld.get()).values[0]!.value;
    await waitUntil('reading has paused', async () => (await countPauses(rig)) > 20);
    expect(await held()).toBeLessThanOrEqual(2 * 640);
    expect(rig.recent.size).toBeLessThanOrEqual(4 * 640);
  });
});
