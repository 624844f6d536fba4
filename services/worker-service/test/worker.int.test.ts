import { createTimers, type StartedTimer } from '@punctual/database';
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
} from '@punctual/testkit';
import { Registry } from 'prom-client';
import { afterEach, describe, expect, it } from 'vitest';
import { readWorkerConfig } from '../config.ts';
import { Consumer } from '../consumer.ts';
import { createWorkerMetrics } from '../metrics.ts';
import { startWorker } from '../worker.ts';

const db = useTestDatabase(4);
const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function start(settings: Record<string, string>) {
  const config = readWorkerConfig({ PORT: '0', HOST: '127.0.0.1', DATABASE_URL: db.url, ...settings });
  const worker = await startWorker({ config, logger: createTestLogger().logger });
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

describe('the consumer', () => {
  it('looks again when an origin that was briefly full no longer is, although no outcome tells of it', async () => {
    const queue = await createTestQueue('redis', db);
    const chunks = new ChunkQueue(queue.connection, () => {});
    closers.push(
      () => queue.drop(),
      () => chunks.close(),
    );
    const started: StartedTimer[] = [];
    let isBrieflyFull = true;
    let asked = 0;
    const consumer = new Consumer({
      database: db.database,
      connection: queue.connection,
      chunksAtOnce: 2,
      attemptsMax: 128,
      leaseMarginMs: 1_000,
      isBrieflyFull: () => {
        asked += 1;
        return isBrieflyFull;
      },
      run: (timer) => void started.push(timer),
      onQueueError: () => {},
      metrics: createWorkerMetrics(new Registry()),
      logger: createTestLogger().logger,
    });
    consumer.start();
    closers.push(() => consumer.stop());
    const timer = makeTimer();
    await createTimers(db.database.hot, [timer]);
    await chunks.dispatch([{ id: timer.id, version: 1 }]);
    await waitUntil('it waits for room', () => asked > 2);
    expect(started).toEqual([]);
    isBrieflyFull = false;
    await waitUntil('it starts', () => started.length === 1);
  });

  it('never has more of the queue under way than two thirds of its limit; the rest is for tasks that are unlocked here', async () => {
    const queue = await createTestQueue('redis', db);
    const chunks = new ChunkQueue(queue.connection, () => {});
    closers.push(
      () => queue.drop(),
      () => chunks.close(),
    );
    const attemptsMax = 200;
    let most = 0;
    let underWay = 0;
    let done = 0;
    const consumer: Consumer = new Consumer({
      database: db.database,
      connection: queue.connection,
      chunksAtOnce: 6,
      attemptsMax,
      leaseMarginMs: 1_000,
      isBrieflyFull: () => false,
      run: () => {
        most = Math.max(most, consumer.inFlight);
        underWay += 1;
      },
      onQueueError: () => {},
      metrics: createWorkerMetrics(new Registry()),
      logger: createTestLogger().logger,
    });
    consumer.start();
    closers.push(() => consumer.stop());
    const timers = Array.from({ length: 1_000 }, () => makeTimer());
    await createTimers(db.database.hot, timers);
    await chunks.dispatch(timers.map(({ id }) => ({ id, version: 1 })));
    await waitUntil('all are done', () => {
      done += underWay;
      consumer.release(underWay);
      underWay = 0;
      return done === timers.length;
    });
    await consumer.waitUntilIdle();
    expect(most).toBeGreaterThan(64);
    expect(most).toBeLessThanOrEqual(133);
    expect(consumer.countSpare()).toBe(attemptsMax);
  });
});
