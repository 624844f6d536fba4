import {
  connectDatabase,
  createTimers,
  type Database,
  DatabaseClock,
  inTransaction,
  type NewTimer,
  type StartedTimer,
  synchronizeClock,
} from '@punctual/database';
import { ChunkQueue } from '@punctual/queue';
import {
  createEmptyDatabase,
  createTestLogger,
  createTestQueue,
  makeTimer,
  readTestServers,
  startProxy,
  useTestDatabase,
  waitUntil,
  withoutFaults,
} from '@punctual/testkit';
import { Registry } from 'prom-client';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { readWorkerConfig } from '../config.ts';
import { Consumer, type ConsumerOptions } from '../consumer.ts';
import { createWorkerMetrics } from '../metrics.ts';
import { startWorker } from '../worker.ts';

const db = useTestDatabase(4);
const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function start(settings: Record<string, string>) {
  const config = readWorkerConfig({ PORT: '0', HOST: '127.0.0.1', DATABASE_URL: db.url, ...settings });
  const worker = await withoutFaults(() => startWorker({ config, logger: createTestLogger().logger }));
  closers.push(() => worker.stop());
  const ask = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${worker.port}${path}`);
    return { status: response.status, body: await response.text() };
  };
  return { worker, ask };
}

const waitUntilClosed = () =>
  waitUntil('its connections are closed', async () => {
    const { rows } = await db.database.ordinary.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'punctual-worker%'`,
    );
    return rows.length === 0;
  });

describe('a worker', () => {
  it('is listed while it runs, tells how it is, and leaves nothing behind when it stops, early and twice', async () => {
    const queue = await createTestQueue('redis', db);
    closers.push(() => queue.drop());
    const { worker, ask } = await start({
      REDIS_URL: queue.connection.redisUrl!,
      REDIS_PREFIX: queue.connection.redisPrefix,
    });
    const listed = () =>
      db.database.kysely.selectFrom('service_instances').selectAll().where('id', '=', worker.id).execute();
    await waitUntil('it is listed', async () => (await listed()).length === 1);
    expect(await listed()).toMatchObject([
      { role: 'worker', pid: process.pid, details: { attemptsInFlight: 0, attemptsMax: 1_536 } },
    ]);
    expect(JSON.parse((await ask('/v1/health')).body)).toMatchObject({
      status: 'ok',
      checks: { postgres: {}, queue: { backend: 'redis' } },
    });
    expect((await ask('/v1/health/ready')).status).toBe(200);
    expect((await ask('/metrics')).body).toContain('timer_lateness_seconds');
    await Promise.all([worker.stop(), worker.stop()]);
    expect(await listed()).toEqual([]);
    await waitUntilClosed();
  });

  it('refuses to start, with nothing left open, where migrations or the tables of the queue are missing', async () => {
    const empty = await createEmptyDatabase();
    await expect(start({ DATABASE_URL: empty.url, REDIS_URL: readTestServers().redisUrl })).rejects.toThrow(
      '0001_create_timers',
    );
    await empty.drop();
    await expect(start({})).rejects.toThrow('punctual_queue');
    await waitUntilClosed();
  });

  it('starts, waits and stops where Redis is not there', async () => {
    const proxy = await startProxy(readTestServers().redisUrl);
    await proxy.cut();
    const { worker, ask } = await start({ REDIS_URL: proxy.url });
    expect((await ask('/v1/health/live')).status).toBe(200);
    const beganAt = performance.now();
    await worker.stop();
    expect(performance.now() - beganAt).toBeLessThan(10_000);
    await waitUntilClosed();
  });
});

/**
 * A consumer on a queue of its own, and the schedulers' end of it. No faults happen to it: there is no scheduler here that
 * finds what got lost.
 */
async function openConsumer(options: Partial<ConsumerOptions>) {
  const queue = await createTestQueue('redis', db);
  const chunks = new ChunkQueue(queue.ownConnection, () => {});
  const clock = new DatabaseClock();
  await synchronizeClock(db.database.ordinary, clock);
  const metrics = createWorkerMetrics(new Registry());
  const consumer = new Consumer({
    database: db.database,
    clock,
    connection: queue.ownConnection,
    chunksAtOnce: 6,
    attemptsMax: 1_000,
    leaseMarginMs: 1_000,
    isBrieflyFull: () => false,
    lanes: { start: async () => ({ started: [], waiting: 0 }) },
    run: () => {},
    onQueueError: () => {},
    metrics,
    logger: createTestLogger().logger,
    ...options,
  });
  closers.push(
    () => queue.drop(),
    () => chunks.close(),
    () => consumer.stop(),
  );
  return { consumer, chunks, clock, metrics };
}

async function storeTimers(count: number, fields: (index: number) => Partial<NewTimer> = () => ({})) {
  const timers = Array.from({ length: count }, (_, index) => makeTimer(fields(index)));
  await createTimers(db.database.hot, timers);
  return timers.map(({ id, dueAt }) => ({ id, version: 1, wakeAt: dueAt }));
}

describe('the consumer', () => {
  it('looks again when an origin that was briefly full no longer is, although no outcome tells of it', async () => {
    const started: StartedTimer[] = [];
    let isBrieflyFull = true;
    let asked = 0;
    const { consumer, chunks } = await openConsumer({
      isBrieflyFull: () => {
        asked += 1;
        return isBrieflyFull;
      },
      run: (timer) => void started.push(timer),
    });
    consumer.start();
    await chunks.dispatch(await storeTimers(1));
    await waitUntil('it waits for room', () => asked > 2);
    expect(started).toEqual([]);
    isBrieflyFull = false;
    await waitUntil('it starts', () => started.length === 1);
  });

  it('counts the age of a start from when it was made, however late its answer is heard, and not from when it was asked for', async () => {
    const LOCKED_MS = 300;
    const HELD_UP_MS = 300;
    let answeredAt = 0;
    const query = async (statement: object) => {
      const result = await db.database.relaxed.query(statement as { text: string });
      answeredAt = performance.now();
      // What a network or a process that stands still would do.
      await new Promise((resolve) => setTimeout(resolve, HELD_UP_MS));
      return result;
    };
    const started: { startedAt: number; heardAt: number }[] = [];
    const { consumer, chunks } = await openConsumer({
      database: { ...db.database, relaxed: { query } as unknown as Database['relaxed'] },
      run: (_timer, startedAt) => void started.push({ startedAt, heardAt: performance.now() }),
    });
    const [hint] = await storeTimers(1);
    const lock = await db.database.ordinary.connect();
    await lock.query('BEGIN');
    await lock.query('SELECT FROM timers WHERE id = $1 FOR UPDATE', [hint!.id]);
    consumer.start();
    await chunks.dispatch([hint!]);
    await waitUntil('the start waits for the lock', async () => {
      const { rows } = await db.database.ordinary.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      return rows.length > 0;
    });
    const waitingAt = performance.now();
    await waitUntil('it has waited', () => performance.now() - waitingAt > LOCKED_MS);
    const releasedAt = performance.now();
    await lock.query('ROLLBACK');
    lock.release();
    const { startedAt, heardAt } = await waitUntil('it is started', () => started[0]);
    expect(startedAt).toBeLessThanOrEqual(answeredAt);
    expect(heardAt - startedAt).toBeGreaterThanOrEqual(HELD_UP_MS - 1);
    // By the clock's uncertainty, which is a few milliseconds.
    expect(startedAt).toBeGreaterThan(releasedAt - LOCKED_MS / 2);
  });

  it('never has more of the queue under way than two thirds of its limit', async () => {
    const attemptsMax = 200;
    let most = 0;
    let underWay: string[] = [];
    let done = 0;
    const { consumer, chunks } = await openConsumer({
      attemptsMax,
      run: (timer) => {
        most = Math.max(most, consumer.inFlight);
        underWay.push(timer.id);
      },
    });
    consumer.start();
    const timers = await storeTimers(1_000);
    await chunks.dispatch(timers);
    await waitUntil('all are done', () => {
      done += underWay.length;
      consumer.release(underWay);
      underWay = [];
      return done === timers.length;
    });
    await consumer.waitUntilIdle();
    expect(most).toBeGreaterThan(64);
    expect(most).toBeLessThanOrEqual(133);
  });

  it('keeps the places of the queue for the queue, however many tasks are started without it', async () => {
    const run = vi.fn<(timer: StartedTimer) => void>();
    const { consumer, chunks } = await openConsumer({ attemptsMax: 192, run });
    const takeAll = (prefix: string) => {
      const places = consumer.reservePlaces(1_000, []);
      const tasks = Array.from({ length: places }, (_, index) => ({ id: `${prefix}${index}` }) as StartedTimer);
      consumer.takeTasks(tasks, performance.now(), places);
      return tasks.map(({ id }) => id);
    };
    expect(consumer.reservePlaces(40, [])).toBe(40);
    const first = takeAll('a');
    expect(first).toHaveLength(88);
    consumer.takeTasks([], performance.now(), 40);
    const second = takeAll('b');
    expect(second).toHaveLength(40);
    expect(consumer.reservePlaces(1_000, [])).toBe(0);
    expect(consumer.reservePlaces(1_000, first.slice(0, 24))).toBe(24);
    consumer.takeTasks([], performance.now(), 24);

    consumer.start();
    const timers = await storeTimers(192);
    run.mockClear();
    await chunks.dispatch(timers);
    await waitUntil('the queue has its third', () => run.mock.calls.length === 64);
    expect(consumer.inFlight).toBe(192);
    consumer.release(first);
    await waitUntil('and what the tasks leave', () => run.mock.calls.length === 128);
    expect(consumer.inFlight).toBe(168);
    consumer.release(second);
    expect(consumer.inFlight).toBe(128);
    expect(consumer.reservePlaces(1_000, [])).toBe(64);
    const stopping = consumer.stop();
    expect(consumer.reservePlaces(1, [])).toBe(0);
    await stopping;
  });

  it('starts the chunks of a statement one by one when somebody holds the lock of one of their timers', async () => {
    const impatient = connectDatabase({
      connectionString: db.url,
      applicationName: 'test',
      poolSizeMax: 6,
      queryTimeoutMs: 500,
    });
    closers.push(() => impatient.close());
    const started = new Set<string>();
    const { consumer, chunks } = await openConsumer({
      database: impatient,
      run: (timer) => void started.add(timer.id),
    });
    const timers = await storeTimers(192);
    const locked = timers[100]!;
    await inTransaction(db.database.ordinary, async (client) => {
      await client.query('SELECT FROM timers WHERE id = $1 FOR UPDATE', [locked.id]);
      await chunks.dispatch(timers);
      consumer.start();
      await waitUntil('the other chunks are started', () => started.size >= 128);
      expect(started.has(locked.id)).toBe(false);
    });
    await waitUntil('all are started', () => started.size === 192);
  });

  it('starts what comes before it is due when it is due, by few statements', async () => {
    const latenesses: number[] = [];
    const { consumer, chunks, metrics } = await openConsumer({
      run: (timer) => void latenesses.push(timer.started_at - timer.wake_at),
    });
    consumer.start();
    const soon = Date.now() + 300;
    await chunks.dispatch(await storeTimers(150, (index) => ({ dueAt: soon + index })));
    await waitUntil('all are started', () => latenesses.length === 150);
    // Of those to which the database said "not yet" none was tried before.
    expect((await metrics.hintsEarly.get()).values[0]!.value).toBe(0);
    expect(Math.min(...latenesses)).toBeGreaterThanOrEqual(0);
    const statements = (await metrics.startChunkTimers.get()).values.find(({ metricName }) =>
      metricName?.endsWith('_count'),
    );
    // 150 ms in windows of 4.
    expect(statements!.value).toBeLessThanOrEqual(50);
  });

  it('does not wait for what a wrong clock calls due much later: the database decides', async () => {
    const run = vi.fn<(timer: StartedTimer) => void>();
    const { consumer, chunks } = await openConsumer({ run });
    consumer.start();
    const [due] = await storeTimers(1);
    await chunks.dispatch([{ ...due!, wakeAt: Date.now() + 3_600_000 }]);
    await waitUntil('it is started', () => run.mock.calls.length === 1);
  });

  it('waits for what came early before it stops', async () => {
    const run = vi.fn<(timer: StartedTimer) => void>();
    const { consumer, chunks, metrics } = await openConsumer({ run });
    consumer.start();
    const hints = await storeTimers(64, () => ({ dueAt: Date.now() + 900 }));
    await chunks.dispatch(hints);
    await waitUntil('it is fetched', async () => (await chunks.readFigures()).active === 1);
    await consumer.stop();
    expect(run).toHaveBeenCalledTimes(64);
    expect((await metrics.hintsEarly.get()).values[0]!.value).toBe(0);
  });
});
