import { connectDatabase, type Database, inTransaction, isDatabaseUnavailable } from '@punctual/database';
import { createTestQueue, readTestServers, type TestQueue, useTestDatabase, waitUntil } from '@punctual/testkit';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { injectDatabaseFaults } from '../faults/database-faults.ts';
import { type Called, FAULT_KINDS, type FaultKind, FaultPlan } from '../faults/fault-plan.ts';
import { judgeFaults } from '../faults/judge-faults.ts';
import { injectRedisFaults } from '../faults/redis-faults.ts';

const db = useTestDatabase(2);

/** The next call that is made of one of the two gets this fault; the others get none. */
let next: { called: Called; kind: FaultKind } | undefined;
const noted: string[] = [];
const injector = {
  plan: new FaultPlan(1, 1),
  choose(called: Called) {
    if (next?.called !== called) return undefined;
    const { kind } = next;
    next = undefined;
    return kind;
  },
  note: (called: Called, kind: FaultKind, what: string) => void noted.push(`${called} ${kind} ${what}`),
};
injectDatabaseFaults(injector);
injectRedisFaults(injector);

beforeEach(() => {
  next = undefined;
  noted.length = 0;
});

describe('a call of Postgres', () => {
  let service: Database;
  beforeEach(async () => {
    service = connectDatabase({ connectionString: db.url, applicationName: 'punctual-test', poolSizeMax: 2 });
    await db.database.ordinary.query('CREATE TABLE IF NOT EXISTS marks (mark text)');
    await db.database.ordinary.query('TRUNCATE marks');
    await service.hot.query('SELECT 1');
  });
  afterEach(() => service.close());

  const mark = (database: Database) => database.hot.query({ name: 'mark', text: `INSERT INTO marks VALUES ('x')` });
  const countMarks = async () =>
    (await db.database.ordinary.query<{ count: number }>('SELECT count(*) AS count FROM marks')).rows[0]!.count;
  const fail = async (kind: FaultKind, work: () => Promise<unknown>): Promise<unknown> => {
    next = { called: 'database', kind };
    return work().then(
      () => undefined,
      (error: unknown) => error,
    );
  };

  it('can fail before it takes effect, because the connection is gone', async () => {
    expect(isDatabaseUnavailable(await fail('cutBefore', () => mark(service)))).toBe(true);
    expect(await countMarks()).toBe(0);
    expect(noted).toEqual(['database cutBefore mark']);
    await mark(service);
    expect(await countMarks()).toBe(1);
  });

  it('can be refused, by an answer of the server', async () => {
    const error = await fail('refused', () => mark(service));
    expect(error).toBeInstanceOf(pg.DatabaseError);
    expect(isDatabaseUnavailable(error)).toBe(true);
    expect(await countMarks()).toBe(0);
  });

  it('can take effect and fail all the same', async () => {
    expect(isDatabaseUnavailable(await fail('cutAfter', () => mark(service)))).toBe(true);
    expect(await countMarks()).toBe(1);
    await mark(service);
    expect(await countMarks()).toBe(2);
  });

  it('can take effect and fail all the same when it is a commit', async () => {
    const error = await fail('late', () =>
      inTransaction(service.hot, async (client) => {
        await client.query(`INSERT INTO marks VALUES ('x')`);
        next = { called: 'database', kind: 'cutAfter' };
      }),
    );
    expect(isDatabaseUnavailable(error)).toBe(true);
    expect(noted).toEqual(['database late BEGIN', 'database cutAfter COMMIT']);
    expect(await countMarks()).toBe(1);
  });

  it('can be answered late', async () => {
    expect(await fail('late', () => mark(service))).toBeUndefined();
    expect(await countMarks()).toBe(1);
    expect(noted).toEqual(['database late mark']);
  });

  it('fails for the services only, not for what tests look at', async () => {
    expect(await fail('cutBefore', () => db.database.ordinary.query('SELECT 1'))).toBeUndefined();
    expect(next).toBeDefined();
  });

  it('can be that for a connection', async () => {
    const [first] = await Promise.all([service.hot.connect()]);
    const error = await fail('cutBefore', () => service.hot.query('SELECT 1'));
    first.release();
    expect(isDatabaseUnavailable(error)).toBe(true);
    expect(noted).toEqual(['database cutBefore connect']);
  });
});

describe('a command of Redis', () => {
  let queue: TestQueue;
  let service: Redis;
  let own: Redis;
  beforeEach(async () => {
    queue = await createTestQueue('redis', db);
    own = new Redis(readTestServers().redisUrl);
    service = new Redis(readTestServers().redisUrl, {
      connectionName: 'punctual-queue',
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      retryStrategy: () => 1,
    });
    service.on('error', () => {});
    await waitUntil('it is connected', () => service.status === 'ready');
  });
  afterEach(async () => {
    service.disconnect();
    await own.quit();
    await queue.drop();
  });

  const fail = async (kind: FaultKind): Promise<unknown> => {
    next = { called: 'redis', kind };
    return service.incr(`${queue.connection.redisPrefix}:marks`).then(
      () => undefined,
      (error: unknown) => error,
    );
  };
  const countMarks = async () => Number(await own.get(`${queue.connection.redisPrefix}:marks`));

  it.each([
    { kind: 'cutBefore', marks: 0, fails: true },
    { kind: 'refused', marks: 0, fails: true },
    { kind: 'cutAfter', marks: 1, fails: true },
    { kind: 'late', marks: 1, fails: false },
  ] as const)('that gets "$kind" takes effect $marks times', async ({ kind, marks, fails }) => {
    expect((await fail(kind)) instanceof Error).toBe(fails);
    expect(noted).toEqual([`redis ${kind} incr`]);
    await waitUntil('the client is connected again', () => service.status === 'ready');
    expect(await countMarks()).toBe(marks);
  });

  it('fails for the services only, not for what tests do', async () => {
    next = { called: 'redis', kind: 'cutBefore' };
    await own.incr(`${queue.connection.redisPrefix}:marks`);
    const named = new Redis(queue.ownConnection.redisUrl!, { connectionName: queue.ownConnection.connectionName! });
    await named.incr(`${queue.connection.redisPrefix}:marks`);
    await named.quit();
    expect(next).toBeDefined();
  });
});

describe('a run under faults', () => {
  const calls = { database: 10_000, redis: 10_000 };
  const all = new Map(
    (['database', 'redis'] as const).flatMap((called) => FAULT_KINDS.map((kind) => [`${called} ${kind}`, 25])),
  );

  it('that never failed, or never in one of the ways, has shown nothing', () => {
    expect(judgeFaults({ calls, faults: new Map(), processes: 1 }, 0.01)).toMatch(/^Nothing failed/);
    const some = new Map([...all].filter(([name]) => name !== 'redis cutAfter'));
    expect(judgeFaults({ calls, faults: some, processes: 1 }, 0.01)).toContain('redis cutAfter');
    expect(judgeFaults({ calls, faults: all, processes: 1 }, 0.01)).toBeUndefined();
  });

  it('fails as often as it is told, in the same places for the same seed', () => {
    const choose = (seed: number) => {
      const plan = new FaultPlan(0.1, seed);
      return Array.from({ length: 10_000 }, () => plan.choose());
    };
    expect(choose(7)).toEqual(choose(7));
    expect(choose(7)).not.toEqual(choose(8));
    const counts = Map.groupBy(choose(7), (kind) => kind ?? 'none');
    for (const kind of FAULT_KINDS) {
      expect(counts.get(kind)!.length).toBeGreaterThan(150);
      expect(counts.get(kind)!.length).toBeLessThan(350);
    }
  });
});
