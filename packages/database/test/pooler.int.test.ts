import {
  asTenant,
  connectDatabase,
  createTimers,
  type Database,
  inTransaction,
  parsePooler,
  startTimers,
} from '@punctual/database';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { makeTimer, useTestDatabase, waitUntilDue } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// One connection a pool: a pooler that gives a transaction another connection would find there what this one finds here.
const db = useTestDatabase(1);
let database: Database;
beforeAll(() => {
  database = connectDatabase({
    connectionString: db.url,
    pooler: 'transaction',
    applicationName: 'punctual-test',
    poolSizeMax: 1,
  });
});
afterAll(() => database.close());

const SETTINGS = ['TimeZone', 'enable_seqscan', 'synchronous_commit', 'statement_timeout'] as const;
const SHOWN = `SELECT ${SETTINGS.map((name) => `current_setting('${name}') AS "${name}"`).join(', ')}`;

/** What the connection itself has, without what goes before each statement: as whoever gets it next would find it. */
async function readOwnSettings(pool: 'hot' | 'relaxed'): Promise<unknown> {
  const client = await database[pool].connect();
  try {
    // After a COMMIT, in the same message, no transaction of ours is open any more.
    const [, own] = (await client.query(`COMMIT; ${SHOWN}`)) as unknown as { rows: unknown[] }[];
    return own!.rows[0];
  } finally {
    client.release();
  }
}

describe('through a pooler', () => {
  it('each statement has its pool’s settings, and leaves none of them behind', async () => {
    const before = await readOwnSettings('hot');
    const expected = { TimeZone: 'UTC', enable_seqscan: 'off', statement_timeout: '3600ms' };
    expect((await database.hot.query(SHOWN)).rows).toMatchObject([expected]);
    expect((await database.hot.query({ name: 'test_shown', text: SHOWN })).rows).toMatchObject([expected]);
    expect((await database.relaxed.query(SHOWN)).rows).toMatchObject([{ ...expected, synchronous_commit: 'off' }]);
    expect(before).not.toMatchObject({ enable_seqscan: 'off' });
    expect(await readOwnSettings('hot')).toEqual(before);
    expect(await readOwnSettings('relaxed')).toMatchObject({ synchronous_commit: 'on' });
  });

  it('a transaction has them from its first statement to its last, and may change them', async () => {
    await inTransaction(database.hot, async (client) => {
      expect((await client.query(SHOWN)).rows).toMatchObject([{ enable_seqscan: 'off', statement_timeout: '3600ms' }]);
      await client.query(`SET LOCAL statement_timeout = 7000`);
      expect((await client.query(SHOWN)).rows).toMatchObject([{ statement_timeout: '7s' }]);
    });
    expect(await readOwnSettings('hot')).not.toMatchObject({ statement_timeout: '7s' });
    expect((await database.hot.query(SHOWN)).rows).toMatchObject([{ statement_timeout: '3600ms' }]);
  });

  it('a statement or transaction that fails spoils nothing', async () => {
    await expect(database.hot.query('SELECT 1 / $1::int', [0])).rejects.toMatchObject({ code: '22012' });
    await expect(inTransaction(database.hot, (client) => client.query('SELECT 1 / 0'))).rejects.toMatchObject({
      code: '22012',
    });
    expect((await database.hot.query('SELECT $1::int AS n', [5])).rows).toEqual([{ n: 5 }]);
  });

  it('nothing is prepared: timers are made and started by named statements, and none stays', async () => {
    const timers = Array.from({ length: 3 }, () => makeTimer());
    await createTimers(database.hot, timers);
    const hints = timers.map(({ id }) => ({ id, version: 1 }));
    await waitUntilDue(
      db.database,
      timers.map(({ id }) => id),
    );
    const started = await startTimers(database.relaxed, hints, 10_000, 15_000);
    expect(started).toHaveLength(3);
    const own = asTenant(database, DEFAULT_TENANT_ID);
    expect((await own.hot.query({ name: 'test_own', text: 'SELECT id FROM timers' })).rows).toHaveLength(3);
    for (const pool of ['hot', 'relaxed', 'ordinary'] as const) {
      const { rows } = await database[pool].query('SELECT name FROM pg_prepared_statements');
      expect(rows).toEqual([]);
    }
  });

  it('a tenant sees its own rows, in single statements and in transactions', async () => {
    const mine = createId();
    await database.ordinary.query('INSERT INTO tenants (id, name) VALUES ($1, $2)', [mine, 'mine']);
    await createTimers(database.hot, [makeTimer({ tenantId: mine }), makeTimer()]);
    const own = asTenant(database, mine);
    const text = 'SELECT tenant_id FROM timers';
    expect((await own.hot.query(text)).rows).toEqual([{ tenant_id: mine }]);
    await inTransaction(own.hot, async (client) => {
      expect((await client.query({ name: 'test_tenants', text })).rows).toEqual([{ tenant_id: mine }]);
    });
    expect((await database.hot.query(text)).rows.length).toBeGreaterThan(1);
  });
});

it('DATABASE_POOLER is none, transaction, or a plain error', () => {
  expect([parsePooler(), parsePooler(''), parsePooler('none'), parsePooler('transaction')]).toEqual([
    'none',
    'none',
    'none',
    'transaction',
  ]);
  expect(() => parsePooler('session')).toThrow('DATABASE_POOLER must be none or transaction, not session.');
});
