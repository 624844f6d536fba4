import {
  asTenant,
  connectDatabase,
  countTimers,
  createTimers,
  inTransaction,
  isDatabaseUnavailable,
  listTimers,
  nameStatement,
  type Queryable,
  TENANT_ROLE,
} from '@punctual/database';
import { createId } from '@punctual/domain';
import { makeTimer, startProxy } from '@punctual/testkit';
import type pg from 'pg';
import { describe, expect, it } from 'vitest';
import { PrecededQuery } from '../preceded-query.ts';
import { bindTenant } from '../tenant-pool.ts';
import { countVisible, useTenantsWithRows } from './tenant-rows.ts';

const { db, mine, theirs } = useTenantsWithRows();

describe("a tenant's statement", () => {
  const readIdentity = async (database: Queryable) => {
    const { rows } = await database.query<{ user: string; tenant: string | null; pid: number }>(
      `SELECT current_user AS user, nullif(current_setting('punctual.tenant_id', true), '') AS tenant, pg_backend_pid() AS pid`,
    );
    return rows[0]!;
  };

  it('leaves nothing of itself on its connection, whether it succeeds or fails', async () => {
    const before = await readIdentity(db.database.hot);
    const tenants = asTenant(db.database, mine).hot;
    expect(await readIdentity(tenants)).toEqual({ user: TENANT_ROLE, tenant: mine, pid: before.pid });
    expect(await readIdentity(db.database.hot)).toEqual(before);
    await inTransaction(tenants, async (client) => {
      expect(await readIdentity(client)).toEqual({ user: TENANT_ROLE, tenant: mine, pid: before.pid });
    });
    expect(await readIdentity(db.database.hot)).toEqual(before);
    const failed = inTransaction(tenants, (client) => client.query('SELECT 1 / 0'));
    await expect(failed).rejects.toMatchObject({ code: '22012' });
    expect(await readIdentity(db.database.hot)).toEqual(before);
  });

  it('reads rows as others do, names its statements apart, and may be a name that others have, too', async () => {
    const read = nameStatement<{ at: number; json: string; count: number }>(
      'test_read_types',
      `SELECT to_timestamp($1::float8 / 1000)::timestamptz(3) AS at, '{"a":  1}'::json AS json, count(*) AS count FROM timers`,
    );
    const { hot } = asTenant(db.database, theirs);
    for (let use = 0; use < 3; use += 1) {
      expect(await read(hot, [1_000])).toEqual([{ at: 1_000, json: '{"a":  1}', count: 2 }]);
      expect(await read(db.database.hot, [1_000])).toEqual([{ at: 1_000, json: '{"a":  1}', count: 3 }]);
    }
    const { rows } = await db.database.hot.query<{ name: string; plans: number }>(
      `SELECT name, (generic_plans + custom_plans)::int AS plans FROM pg_prepared_statements WHERE name ~ 'test_read_types' ORDER BY 1`,
    );
    expect(rows).toEqual([
      { name: 'tenant_test_read_types', plans: 3 },
      { name: 'test_read_types', plans: 3 },
    ]);
  });

  it('does not give one name to two texts', async () => {
    const { hot } = asTenant(db.database, mine);
    await hot.query({ name: 'test_twice', text: 'SELECT 1 AS one' });
    expect(() => hot.query({ name: 'test_twice', text: 'SELECT 2 AS one' })).toThrow(/two statements are named/);
  });

  it('fails within the time-outs while Postgres is slow or away, and works when it is back', async () => {
    const proxy = await startProxy(db.url);
    const database = connectDatabase({
      connectionString: proxy.url,
      applicationName: 'punctual-test',
      poolSizeMax: 1,
      // Postgres gives a statement up a tenth before we do: long enough for that tenth to matter on a busy machine.
      connectTimeoutMs: 2_000,
      queryTimeoutMs: 2_000,
    });
    const { hot } = asTenant(database, mine);
    const faultOf = (asked: Promise<unknown>) =>
      asked.then(
        () => undefined,
        (error: unknown) => error,
      );
    try {
      expect(await countVisible(hot, 'timers')).toBe(1);
      expect(await faultOf(hot.query('SELECT pg_sleep(30)'))).toMatchObject({ code: '57014' });
      expect(await countVisible(hot, 'timers')).toBe(1);
      proxy.stall();
      const stalled = await faultOf(hot.query('SELECT 1'));
      expect(isDatabaseUnavailable(stalled), String(stalled)).toBe(true);
      await proxy.restore();
      expect(await countVisible(hot, 'timers')).toBe(1);
      await proxy.cut();
      const refused = await faultOf(hot.query('SELECT 1'));
      expect(isDatabaseUnavailable(refused), String(refused)).toBe(true);
      await proxy.restore();
      expect(await countVisible(hot, 'timers')).toBe(1);
    } finally {
      await database.close();
      await proxy.close();
    }
  });
});

describe('on one connection', () => {
  /** As a pool sends it, without giving the connection up after a failure. */
  const send = (client: pg.PoolClient, config: pg.QueryConfig, tenantId = mine) =>
    new Promise<pg.QueryResult>((resolve, reject) => {
      const query = new PrecededQuery([bindTenant(tenantId)], config);
      query.callback = (error: Error | null, result: pg.QueryResult) => (error ? reject(error) : resolve(result));
      client.query(query);
    });

  async function withClient(work: (client: pg.PoolClient) => Promise<void>): Promise<void> {
    const client = await db.database.hot.connect();
    try {
      await work(client);
    } finally {
      client.release(true);
    }
  }

  it('a statement that was refused is not taken for one that was prepared', async () => {
    await withClient(async (client) => {
      const named = { name: 'test_unparsed', text: 'SELECT n FROM test_not_there_yet' };
      await expect(send(client, named)).rejects.toMatchObject({ code: '42P01' });
      await client.query(
        `CREATE TEMPORARY TABLE test_not_there_yet AS SELECT 7 AS n; GRANT SELECT ON test_not_there_yet TO ${TENANT_ROLE}`,
      );
      for (let use = 0; use < 2; use += 1) expect((await send(client, named)).rows).toEqual([{ n: 7 }]);
    });
  });

  it('a statement that fails as it runs, or for its values, spoils neither the next nor itself', async () => {
    await withClient(async (client) => {
      const divide = { name: 'test_divide', text: 'SELECT 1 / $1::int AS n' };
      await expect(send(client, { ...divide, values: [0] })).rejects.toMatchObject({ code: '22012' });
      await expect(send(client, { ...divide, values: ['x'] })).rejects.toMatchObject({ code: '22P02' });
      expect((await send(client, { ...divide, values: [1] })).rows).toEqual([{ n: 1 }]);
      expect((await client.query('SELECT current_user = session_user AS own')).rows).toEqual([{ own: true }]);
    });
  });

  it('a tenant that is refused keeps its statement from being run, and does not spoil the next', async () => {
    const user = `test_user_${createId().slice(-12)}`;
    await db.database.ordinary.query(`CREATE ROLE ${user}`);
    try {
      await withClient(async (client) => {
        await client.query(`CREATE TEMPORARY TABLE test_written (n int); GRANT INSERT ON test_written TO ${user}`);
        const write = { name: 'test_write', text: 'INSERT INTO test_written VALUES (1)' };
        // One who may not take the tenants' role.
        await client.query(`SET SESSION AUTHORIZATION ${user}`);
        await expect(send(client, write)).rejects.toMatchObject({
          code: '42501',
          message: expect.stringContaining('set role'),
        });
        await client.query('RESET SESSION AUTHORIZATION');
        expect((await client.query('SELECT FROM test_written')).rowCount).toBe(0);
        await client.query(`GRANT INSERT ON test_written TO ${TENANT_ROLE}`);
        expect((await send(client, write)).rowCount).toBe(1);
        await client.query('DROP TABLE test_written');
      });
    } finally {
      await db.database.ordinary.query(`DROP ROLE ${user}`);
    }
  });

  it('each statement runs for its own tenant', async () => {
    await withClient(async (client) => {
      const count = { name: 'test_count', text: 'SELECT count(*)::int AS n FROM timers' };
      for (let use = 0; use < 3; use += 1) {
        expect((await send(client, count, mine)).rows).toEqual([{ n: 1 }]);
        expect((await send(client, count, theirs)).rows).toEqual([{ n: 2 }]);
      }
    });
  });
});

it('a condition on labels finds a few among many by their index, also as a tenant', async () => {
  const tenantId = createId();
  const many = Array.from({ length: 1_000 }, () => makeTimer({ tenantId, labels: '{"of":"many"}' }));
  const few = Array.from({ length: 3 }, () => makeTimer({ tenantId, labels: '{"of":"few"}' }));
  for (const timers of [many, few]) await createTimers(db.database.hot, timers);
  await db.database.ordinary.query('VACUUM ANALYZE timers');
  const { ordinary } = asTenant(db.database, tenantId);
  const plans: string[] = [];
  const explained: Queryable = {
    query: async (text, values) => {
      plans.push(JSON.stringify((await ordinary.query(`EXPLAIN ${text}`, values)).rows));
      return ordinary.query(text, values);
    },
  };
  const condition = { tenantId, statuses: ['scheduled' as const], labels: '{"of":"few"}' };
  expect(await countTimers(explained, condition, 10)).toBe(3);
  expect(await listTimers(explained, condition, { limit: 10 })).toHaveLength(3);
  for (const plan of plans) expect(plan).toContain('timers_labels');
});
