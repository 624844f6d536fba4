import { createTimers } from '@punctual/database';
import { ChunkConsumer, type Hint } from '@punctual/queue';
import {
  BACKENDS,
  createEmptyDatabase,
  createTestLogger,
  createTestQueue,
  makeTimer,
  readTestServers,
  startProxy,
  type TestQueue,
  useTestDatabase,
  waitUntil,
  withoutFaults,
} from '@punctual/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { readSchedulerConfig } from '../config.ts';
import { type RunningScheduler, startScheduler } from '../scheduler.ts';

const db = useTestDatabase(4);
const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function start(
  queue: Pick<TestQueue, 'connection' | 'drop'>,
  settings: Record<string, string> = {},
): Promise<RunningScheduler> {
  const { redisUrl, redisPrefix } = queue.connection;
  const config = readSchedulerConfig({
    PORT: '0',
    HOST: '127.0.0.1',
    DATABASE_URL: db.url,
    REDIS_PREFIX: redisPrefix,
    ...(redisUrl ? { REDIS_URL: redisUrl } : {}),
    ...settings,
  });
  const scheduler = await withoutFaults(() => startScheduler({ config, logger: createTestLogger().logger }));
  closers.push(() => scheduler.stop());
  return scheduler;
}

const countConnections = async () => {
  const { rows } = await db.database.ordinary.query<{ open: number }>(
    `SELECT count(*)::int AS open FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'punctual-scheduler%'`,
  );
  return rows[0]!.open;
};

const ask = async (scheduler: RunningScheduler, path: string) => {
  const response = await fetch(`http://127.0.0.1:${scheduler.port}${path}`);
  return { status: response.status, body: await response.text() };
};

describe.each(BACKENDS)('a scheduler with its queue on %s', (backend) => {
  it('hands over what is due, tells how it is, and leaves nothing open when it stops', async () => {
    const queue = await createTestQueue(backend, db);
    closers.push(() => queue.drop());
    const received: Hint[] = [];
    const consumer = new ChunkConsumer(
      queue.connection,
      2,
      async (hints) => {
        received.push(...hints);
        return 'done';
      },
      () => {},
    );
    consumer.start();
    closers.push(() => consumer.stop());
    const scheduler = await start(queue);
    const timer = makeTimer({ dueAt: Date.now() + 300 });
    await createTimers(db.database.hot, [timer]);
    const hint = await waitUntil('it is handed over', () => received.find(({ id }) => id === timer.id));
    expect(hint.version).toBe(1);
    // Later when it was stored after it was due.
    expect(hint.wakeAt).toBeGreaterThanOrEqual(timer.dueAt);

    const health = await ask(scheduler, '/v1/health');
    expect(health.status).toBe(200);
    expect(JSON.parse(health.body)).toMatchObject({
      status: 'ok',
      checks: { postgres: { status: 'ok' }, queue: { status: 'ok', backend } },
    });
    expect((await ask(scheduler, '/v1/health/ready')).status).toBe(200);
    expect((await ask(scheduler, '/v1/health/live')).status).toBe(200);
    expect((await ask(scheduler, '/metrics')).body).toContain('scheduler_timers_dispatched_total{service="scheduler"}');

    await Promise.all([scheduler.stop(), scheduler.stop()]);
    await waitUntil('its connections are closed', async () => (await countConnections()) === 0);
    await expect(ask(scheduler, '/v1/health')).rejects.toThrow();
  });
});

describe('a scheduler', () => {
  it('refuses to start, with nothing left open, where migrations or the tables of the queue are missing', async () => {
    const queue = await createTestQueue('redis', db);
    closers.push(() => queue.drop());
    const empty = await createEmptyDatabase();
    await expect(start(queue, { DATABASE_URL: empty.url })).rejects.toThrow('0001_create_timers');
    await empty.drop();
    const bare = { connection: { databaseUrl: db.url, redisPrefix: 'x' }, drop: async () => {} };
    await db.database.ordinary.query('DROP SCHEMA IF EXISTS punctual_queue CASCADE');
    await expect(start(bare)).rejects.toThrow('punctual_queue');
    await waitUntil('its connections are closed', async () => (await countConnections()) === 0);
  });

  it('starts, waits and stops where Redis is not there, and is live and ready all the same', async () => {
    const proxy = await startProxy(readTestServers().redisUrl);
    await proxy.cut();
    const scheduler = await start({
      connection: { databaseUrl: db.url, redisUrl: proxy.url, redisPrefix: 'x' },
      drop: async () => {},
    });
    const timer = makeTimer();
    await createTimers(db.database.hot, [timer]);
    expect((await ask(scheduler, '/v1/health/live')).status).toBe(200);
    expect((await ask(scheduler, '/v1/health/ready')).status).toBe(200);
    expect(JSON.parse((await ask(scheduler, '/v1/health')).body)).toMatchObject({
      status: 'degraded',
      checks: { queue: { status: 'degraded' } },
    });
    const beganAt = performance.now();
    await scheduler.stop();
    expect(performance.now() - beganAt).toBeLessThan(10_000);
    await waitUntil('its connections are closed', async () => (await countConnections()) === 0);
  });

  it('is live and not ready while Postgres is away, and goes on when it is back', async () => {
    const queue = await createTestQueue('redis', db);
    closers.push(() => queue.drop());
    const proxy = await startProxy(db.url);
    closers.push(() => proxy.close());
    const scheduler = await start(queue, { DATABASE_URL: proxy.url });
    await waitUntil('it is ready', async () => (await ask(scheduler, '/v1/health/ready')).status === 200);
    await proxy.cut();
    await waitUntil('it is not ready', async () => (await ask(scheduler, '/v1/health/ready')).status === 503);
    expect((await ask(scheduler, '/v1/health/live')).status).toBe(200);
    await proxy.restore();
    await waitUntil('it is ready again', async () => (await ask(scheduler, '/v1/health/ready')).status === 200);
    const timer = makeTimer();
    await createTimers(db.database.hot, [timer]);
    const dispatched = async () =>
      Number(/scheduler_timers_dispatched_total\S* (\d+)/.exec((await ask(scheduler, '/metrics')).body)?.[1] ?? 0);
    await waitUntil('it hands over', async () => (await dispatched()) > 0);
  });
});
