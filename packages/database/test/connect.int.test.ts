import {
  connectDatabase,
  inTransaction,
  isDatabaseUnavailable,
  PoolExhaustedError,
  parseInstant,
} from '@punctual/database';
import { startProxy, useTestDatabase, waitUntil } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';

const db = useTestDatabase(2);

describe('a connection', () => {
  it('that is lost inside a transaction rejects what is asked of it, is replaced, and never ends the process', async () => {
    const lost = inTransaction(db.database.hot, async (client) => {
      const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      const ended = new Promise((resolve) => client.once('end', resolve));
      await db.database.ordinary.query('SELECT pg_terminate_backend($1)', [rows[0]!.pid]);
      // Held, and idle, at the moment when it is lost: an error that nobody listened for would end the process.
      await ended;
      await client.query('SELECT 1');
    });
    const error = await lost.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(Error);
    expect(isDatabaseUnavailable(error)).toBe(true);
    for (let round = 0; round < 3; round += 1)
      expect((await db.database.hot.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  it('that failed a transaction by the statement is used again, with nothing of it left', async () => {
    await expect(inTransaction(db.database.hot, (client) => client.query('SELECT 1 / 0'))).rejects.toMatchObject({
      code: '22012',
    });
    await inTransaction(db.database.hot, async (client) => {
      const { rows } = await client.query('SELECT now() = statement_timestamp() AS fresh');
      expect(rows).toEqual([{ fresh: false }]);
    });
    expect(db.database.hot.totalCount).toBeLessThanOrEqual(2);
  });

  it('fails within its time-outs while Postgres is away or says nothing, and works when it is back', async () => {
    const proxy = await startProxy(db.url);
    const idleErrors: Error[] = [];
    const database = connectDatabase({
      connectionString: proxy.url,
      applicationName: 'punctual-test',
      poolSizeMax: 2,
      connectTimeoutMs: 300,
      queryTimeoutMs: 300,
      onIdleError: (error) => idleErrors.push(error),
    });
    const ask = () => database.hot.query('SELECT 1 AS one');
    const failsSoon = async () => {
      const beganAt = performance.now();
      const error = await ask().then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(isDatabaseUnavailable(error), String(error)).toBe(true);
      expect(performance.now() - beganAt).toBeLessThan(1_500);
    };
    try {
      await ask();
      await proxy.cut();
      await waitUntil('the pool has noticed', () => idleErrors.length > 0);
      await failsSoon();
      await failsSoon();
      await proxy.restore();
      expect((await ask()).rows).toEqual([{ one: 1 }]);
      proxy.stall();
      await failsSoon();
      await failsSoon();
      await proxy.restore();
      expect((await ask()).rows).toEqual([{ one: 1 }]);
    } finally {
      await database.close();
      await proxy.close();
    }
  });

  it('waits for the disk at each commit, except where starts may be lost', async () => {
    const read = async (name: 'hot' | 'relaxed' | 'ordinary') =>
      (await db.database[name].query<{ synchronous_commit: string }>('SHOW synchronous_commit')).rows[0]!
        .synchronous_commit;
    expect(await read('relaxed')).toBe('off');
    expect(await read('hot')).not.toBe('off');
    expect(await read('ordinary')).not.toBe('off');
  });

  it('reads instants as epoch milliseconds, counts as numbers, and json as the text that was stored', async () => {
    const at = Date.UTC(2026, 1, 3, 4, 5, 6, 78);
    const { rows } = await db.database.hot.query(
      `SELECT to_timestamp($1::float8 / 1000)::timestamptz(3) AS at, 'infinity'::timestamptz AS never, '0001-01-01 00:00:00+00'::timestamptz AS early,
         '9999-12-31 23:59:59.999+00'::timestamptz AS late, count(*) AS count, '{"a":  1.0, "a": 12345678901234567890}'::json AS json,
         '{"a":  1.0}'::jsonb AS jsonb, ($1::float8 + 0.5) AS fraction, NULL::timestamptz AS nothing`,
      [at],
    );
    expect(rows).toEqual([
      {
        at,
        never: Number.POSITIVE_INFINITY,
        early: Date.parse('0001-01-01T00:00:00Z'),
        late: Date.UTC(9999, 11, 31, 23, 59, 59, 999),
        count: 1,
        json: '{"a":  1.0, "a": 12345678901234567890}',
        jsonb: { a: 1 },
        fraction: at + 0.5,
        nothing: null,
      },
    ]);
    expect(parseInstant('-infinity')).toBe(Number.NEGATIVE_INFINITY);
  });
});

describe('faults', () => {
  it('of the server are told from faults of the statement', async () => {
    const fault = (text: string) =>
      db.database.ordinary.query(text).then(
        () => undefined,
        (error: unknown) => error,
      );
    expect(isDatabaseUnavailable(await fault('SELECT 1 / 0'))).toBe(false);
    expect(isDatabaseUnavailable(await fault(`SELECT 'x'::uuid`))).toBe(false);
    expect(isDatabaseUnavailable(await fault('INSERT INTO installation (partition_count) VALUES (1)'))).toBe(false);
    expect(
      isDatabaseUnavailable(
        await fault(`SET LOCAL statement_timeout = 0; DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$`),
      ),
    ).toBe(true);
    expect(isDatabaseUnavailable(await fault('BEGIN READ ONLY; CREATE TABLE x (y int)'))).toBe(true);
    await db.database.ordinary.query('ROLLBACK');
    const nowhere = connectDatabase({
      connectionString: 'postgres://127.0.0.1:1/none',
      applicationName: 'x',
      poolSizeMax: 1,
    });
    expect(isDatabaseUnavailable(await nowhere.hot.query('SELECT 1').catch((error: unknown) => error))).toBe(true);
    await nowhere.close();
    expect(isDatabaseUnavailable(new TypeError('x is not a function'))).toBe(false);
    expect(isDatabaseUnavailable(Object.assign(new Error('bad argument'), { code: 'ERR_INVALID_ARG_TYPE' }))).toBe(
      false,
    );
  });
});

describe('a caller that got no connection in time', () => {
  /** An advisory lock of this file's database. */
  const LOCK = 1;
  const connect = (connectionString: string, connectTimeoutMs: number) =>
    connectDatabase({ connectionString, applicationName: 'punctual-test', poolSizeMax: 2, connectTimeoutMs });
  const faultsOf = async (calls: readonly Promise<unknown>[]) =>
    (await Promise.allSettled(calls)).flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));

  it('is told of our own load while Postgres goes on answering others', async () => {
    const database = connect(db.url, 1_000);
    try {
      // Two connections do not get through three hundred of these within the wait, and Postgres answers all the while.
      const slow = 'SELECT sum(n) FROM generate_series(1, 300000) AS n';
      const calls = Array.from({ length: 300 }, (_, index) =>
        index % 2 === 0 ? database.hot.query(slow) : inTransaction(database.hot, (client) => client.query(slow)),
      );
      const faults = await faultsOf(calls);
      expect(faults.length).toBeGreaterThan(0);
      expect(faults.length).toBeLessThan(300);
      for (const fault of faults) {
        expect(fault).toBeInstanceOf(PoolExhaustedError);
        expect(isDatabaseUnavailable(fault)).toBe(true);
      }
    } finally {
      await database.close();
    }
  });

  it('is not told so when no connection came back during its wait', async () => {
    const database = connect(db.url, 100);
    const held = [await database.hot.connect(), await database.hot.connect()];
    try {
      const [fault] = await faultsOf([database.hot.connect()]);
      expect(isDatabaseUnavailable(fault)).toBe(true);
      expect(fault).not.toBeInstanceOf(PoolExhaustedError);
    } finally {
      for (const client of held) client.release();
      await database.close();
    }
  });

  it.each(['cut', 'stall'] as const)('is not told so when Postgres went away (%s) under load', async (way) => {
    const proxy = await startProxy(db.url);
    const database = connect(proxy.url, 1_000);
    try {
      await Promise.all([1, 2].map(() => database.hot.query('SELECT 1')));
      const served = database.hot.query('SELECT 1');
      const holder = await db.database.hot.connect();
      await holder.query('SELECT pg_advisory_lock($1)', [LOCK]);
      // Two wait for the lock, the others for one of their connections.
      const calls = Array.from({ length: 20 }, () => database.hot.query('SELECT pg_advisory_xact_lock($1)', [LOCK]));
      const faults = faultsOf(calls);
      await served;
      await proxy[way]();
      await faults;
      await holder.query('SELECT pg_advisory_unlock($1)', [LOCK]);
      holder.release();
      for (const fault of await faults) {
        expect(isDatabaseUnavailable(fault), String(fault)).toBe(true);
        expect(fault).not.toBeInstanceOf(PoolExhaustedError);
      }
      expect(await faults).toHaveLength(20);
    } finally {
      await database.close();
      await proxy.close();
    }
  });
});
