import { createId } from '@punctual/domain';
import { type RunningRedis, startRedis } from '@punctual/local-servers';
import { ChunkConsumer, ChunkQueue, type Hint, type QueueConnection } from '@punctual/queue';
import {
  createTestQueue,
  repeatUnderFaults,
  type ServerProxy,
  startProxy,
  useTestDatabase,
  waitUntil,
} from '@punctual/testkit';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const db = useTestDatabase(2);
const makeHints = (count: number): Hint[] => Array.from({ length: count }, () => ({ id: createId(), version: 1 }));
/** How fast a dispatch must fail while its backend refuses connections (ms), on a machine under load. */
const SOON_MS = 2_000;

/** A producer and a consumer on one queue. */
function openEnds(connection: QueueConnection) {
  const received: string[] = [];
  const errors: Error[] = [];
  const queue = new ChunkQueue(connection, (error) => errors.push(error));
  const consumer = new ChunkConsumer(
    connection,
    2,
    async (hints) => {
      received.push(...hints.map(({ id }) => id));
      return 'done';
    },
    (error) => errors.push(error),
  );
  consumer.start();
  return {
    queue,
    errors,
    received,
    /** Dispatches one hint after another until one arrives: what schedulers do, in effect. */
    async deliverAgain() {
      const sent: string[] = [];
      await waitUntil(
        'hints arrive again',
        async () => {
          const [hint] = makeHints(1);
          await queue.dispatch([hint!]).then(
            () => sent.push(hint!.id),
            () => {},
          );
          return sent.some((id) => received.includes(id));
        },
        20_000,
      );
    },
    async deliver() {
      const hints = makeHints(3);
      await repeatUnderFaults(() => queue.dispatch(hints));
      await waitUntil('hints arrive', () => hints.every(({ id }) => received.includes(id)));
    },
    async close() {
      await Promise.all([consumer.stop(), queue.close()]);
    },
  };
}

async function failsSoon(work: () => Promise<unknown>): Promise<void> {
  const beganAt = performance.now();
  await expect(work()).rejects.toThrow();
  expect(performance.now() - beganAt).toBeLessThan(SOON_MS);
}

describe('the queue on Redis', () => {
  let redis: RunningRedis;
  let connection: QueueConnection;
  const start = (port?: number) => startRedis({ ephemeral: true, log: () => {}, ...(port ? { port } : {}) });

  beforeEach(async () => {
    redis = await start();
    connection = { databaseUrl: db.url, redisUrl: redis.url, redisPrefix: 'test' };
  });
  afterEach(() => redis.stop());

  async function kill(): Promise<void> {
    process.kill(redis.pid, 'SIGKILL');
    await redis.exited;
  }

  it('fails fast while Redis is away, and both ends go on when another one takes its place', async () => {
    const ends = openEnds(connection);
    await ends.deliver();
    await kill();
    await failsSoon(() => ends.queue.dispatch(makeHints(1)));
    await failsSoon(() => ends.queue.dispatch(makeHints(500)));
    await failsSoon(() => ends.queue.countWaiting());
    await failsSoon(() => ends.queue.readFigures());
    redis = await start(redis.port);
    await ends.deliverAgain();
    await ends.deliver();
    await ends.close();
  });

  it('goes on after Redis has lost everything, while idle and with chunks waiting', async () => {
    const client = new Redis(redis.url);
    const ends = openEnds(connection);
    await ends.deliver();
    for (let round = 0; round < 3; round += 1) {
      await client.flushall();
      await ends.deliverAgain();
      const flushed = client.flushall();
      await Promise.allSettled([ends.queue.dispatch(makeHints(1_000)), flushed]);
      await ends.deliverAgain();
    }
    await ends.deliver();
    await client.quit();
    await ends.close();
  });

  it('gives up a dispatch that Redis does not answer, and goes on when it answers again', async () => {
    const proxy = await startProxy(redis.url);
    const ends = openEnds({ ...connection, redisUrl: proxy.url });
    await ends.deliver();
    proxy.stall();
    const beganAt = performance.now();
    await expect(ends.queue.dispatch(makeHints(1))).rejects.toThrow();
    expect(performance.now() - beganAt).toBeLessThan(8_000);
    await proxy.restore();
    await ends.deliverAgain();
    await ends.close();
    await proxy.close();
  });

  it('can be closed while Redis is away', async () => {
    const ends = openEnds(connection);
    await ends.deliver();
    await kill();
    await waitUntil('the loss was noticed', () => ends.errors.length > 0);
    const beganAt = performance.now();
    await ends.close();
    expect(performance.now() - beganAt).toBeLessThan(10_000);
  });

  it('may be opened before Redis is there: dispatches fail fast until it comes, then both ends work', async () => {
    await kill();
    const ends = openEnds(connection);
    await failsSoon(() => ends.queue.dispatch(makeHints(1)));
    await failsSoon(() => ends.queue.countWaiting());
    redis = await start(redis.port);
    await ends.deliverAgain();
    await ends.close();
  });

  it('can be closed when Redis never came', async () => {
    await kill();
    const ends = openEnds(connection);
    await waitUntil('the absence was noticed', () => ends.errors.length > 0);
    const beganAt = performance.now();
    await ends.close();
    expect(performance.now() - beganAt).toBeLessThan(10_000);
  });
});

describe('the queue on Postgres', () => {
  let proxy: ServerProxy;
  let connection: QueueConnection;

  beforeEach(async () => {
    proxy = await startProxy(db.url);
    connection = { ...(await createTestQueue('postgres', db)).connection, databaseUrl: proxy.url };
  });
  afterEach(() => proxy.close());

  it('fails fast while Postgres is away, and both ends go on when it is back', async () => {
    const ends = openEnds(connection);
    await ends.deliver();
    await proxy.cut();
    await failsSoon(() => ends.queue.dispatch(makeHints(1)));
    await failsSoon(() => ends.queue.dispatch(makeHints(500)));
    await failsSoon(() => ends.queue.countWaiting());
    await proxy.restore();
    await ends.deliverAgain();
    await ends.deliver();
    await ends.close();
  });

  it('goes on, both ends, after Postgres was not there for the first connections', async () => {
    await proxy.cut();
    const ends = openEnds(connection);
    await waitUntil('the absence was noticed', () => ends.errors.length > 0);
    await failsSoon(() => ends.queue.dispatch(makeHints(1)));
    await proxy.restore();
    await ends.deliverAgain();
    await ends.deliver();
    await ends.close();
  });

  it('can be closed while Postgres is away', async () => {
    const ends = openEnds(connection);
    await ends.deliver();
    await proxy.cut();
    await waitUntil('the loss was noticed', () => ends.errors.length > 0);
    const beganAt = performance.now();
    await ends.close();
    expect(performance.now() - beganAt).toBeLessThan(10_000);
  });
});

describe('a Redis that refuses what BullMQ asks it at first', () => {
  const USER = 'test_without_info';
  const redis = new Redis(process.env.TEST_REDIS_URL!, { lazyConnect: true });
  beforeEach(() => redis.call('ACL', 'SETUSER', USER, 'on', '>x', '~*', '&*', '+@all', '-info'));
  afterEach(async () => {
    await redis.call('ACL', 'DELUSER', USER);
    redis.disconnect();
  });

  it('is asked again and again, with a pause that leaves the process to others, until it does not', async () => {
    const url = new URL(process.env.TEST_REDIS_URL!);
    url.username = USER;
    url.password = 'x';
    const ends = openEnds({
      redisUrl: url.toString(),
      redisPrefix: `refused_${createId()}`,
      databaseUrl: db.url,
    });
    // Whoever spins lets nobody wait.
    await waitUntil('it was refused', () => ends.errors.some((error) => String(error).includes('NOPERM')));
    await redis.call('ACL', 'SETUSER', USER, '+info');
    await ends.deliverAgain();
    await ends.close();
  });
});
