import {
  asTenant,
  connectDatabase,
  countTimers,
  createTimers,
  type Database,
  inTransaction,
  isDatabaseUnavailable,
  listTimers,
  lockTenantSecrets,
  nameStatement,
  type Queryable,
  TENANT_ROLE,
} from '@punctual/database';
import { createId } from '@punctual/domain';
import { makeTimer, startProxy, useTestDatabase } from '@punctual/testkit';
import type pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { PrecededQuery } from '../preceded-query.ts';
import { bindTenant } from '../tenant-pool.ts';

// One connection a pool, so that whatever one statement leaves behind meets the next.
const db = useTestDatabase(1);
const mine = createId();
const theirs = createId();

/** Whose a row is, in tables that do not say it in `tenant_id`. */
const TENANT_OF_ROW: Readonly<Record<string, string>> = {
  tenants: 'id',
  workflow_versions: '(SELECT w.tenant_id FROM workflows AS w WHERE w.id = workflow_id)',
};
/** What a view shows, for those who may read all of it. */
const TABLE_OF_VIEW: Readonly<Record<string, string>> = { own_timers: 'timers', own_audit_log: 'audit_log' };

/** One row in each table for the first tenant, two for the second: what a forgotten condition would mix up. */
async function seed(database: Database, tenantId: string, rows: number): Promise<void> {
  await database.ordinary.query('INSERT INTO tenants (id, name) VALUES ($1, $2)', [tenantId, 'seeded']);
  for (let row = 0; row < rows; row += 1) {
    const id = createId();
    const timers = Array.from({ length: 3 }, () => makeTimer({ tenantId, labels: '{"of":"everybody"}' }));
    await createTimers(database.hot, timers);
    const [, finished, dead] = timers;
    const texts = [
      `INSERT INTO api_keys (id, tenant_id, name, scope, prefix, key_hash) VALUES ('${id}', '${tenantId}', '', 'read', '', sha256('${id}'))`,
      `INSERT INTO workflows (id, tenant_id, name, created_at, updated_at) VALUES ('${id}', '${tenantId}', 'w', now(), now())`,
      `INSERT INTO workflow_versions (workflow_id, version, name, time_zone, tasks, created_at) VALUES ('${id}', 1, 'w', 'UTC', '[]', now())`,
      `INSERT INTO runs (id, tenant_id, workflow_id, workflow_version, partition, status, task_states, created_at)
       VALUES ('${id}', '${tenantId}', '${id}', 1, 0, 'running', '', now())`,
      `WITH gone AS (DELETE FROM timers WHERE id = '${finished!.id}' RETURNING *)
       INSERT INTO finished_timers (id, tenant_id, due_at, created_at, finished_at, version, state, partition, attempt)
       SELECT id, tenant_id, due_at, created_at, now(), 2, 'cancelled', partition, 0 FROM gone`,
      `WITH gone AS (DELETE FROM timers WHERE id = '${dead!.id}' RETURNING *)
       INSERT INTO dead_letters (id, tenant_id, due_at, created_at, finished_at, version, state, partition, attempt)
       SELECT id, tenant_id, due_at, created_at, now(), 2, 'dead', partition, 1 FROM gone`,
      `INSERT INTO attempts (timer_id, tenant_id, started_at, finished_at, outcome, attempt) VALUES ('${id}', '${tenantId}', now(), now(), 'lost', 1)`,
      `INSERT INTO external_ids (tenant_id, kind, external_id, target_id) VALUES ('${tenantId}', 'timer', '${id}', '${id}')`,
      `INSERT INTO idempotency_keys (tenant_id, key, request_hash, status, headers, body) VALUES ('${tenantId}', '${id}', '', 201, '{}', '')`,
      `INSERT INTO ledger_totals (tenant_id, partition) VALUES ('${tenantId}', ${row})`,
      `INSERT INTO audit_log (tenant_id, actor, action, target_ids, request_ids) VALUES ('${tenantId}', 'nobody', 'run.cancel', '{${id}}', 'r')`,
      `INSERT INTO signing_secrets (id, tenant_id, key_id, ciphertext, created_at) VALUES ('${id}', '${tenantId}', 'k', '', now())`,
    ];
    for (const text of texts) await database.ordinary.query(text);
  }
}

beforeAll(async () => {
  await seed(db.database, mine, 1);
  await seed(db.database, theirs, 2);
});

interface Relation {
  name: string;
  isTable: boolean;
  hasTenant: boolean;
  isGuarded: boolean;
  isReadable: boolean;
  isUpdatable: boolean;
  isDeletable: boolean;
  isTouchable: boolean;
}

/** Every table and view of ours, by the catalog; partitions are part of their parents. */
async function readRelations(): Promise<Relation[]> {
  const { rows } = await db.database.ordinary.query<Relation>(
    `SELECT c.relname AS name, c.relkind <> 'v' AS "isTable",
       EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id' AND NOT attisdropped) AS "hasTenant",
       c.relrowsecurity AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid AND to_regrole($1) = ANY (polroles)) AS "isGuarded",
       has_any_column_privilege($1, c.oid, 'SELECT') AS "isReadable",
       has_table_privilege($1, c.oid, 'UPDATE') AS "isUpdatable",
       has_table_privilege($1, c.oid, 'DELETE') AS "isDeletable",
       has_any_column_privilege($1, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
         OR has_table_privilege($1, c.oid, 'DELETE, TRUNCATE, TRIGGER, MAINTAIN') AS "isTouchable"
     FROM pg_class AS c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
     ORDER BY 1`,
    [TENANT_ROLE],
  );
  return rows;
}

/** How many rows there are, and how many of them are a tenant's, for those who may see all. */
async function countOwn(name: string, tenantId: string): Promise<{ all: number; own: number }> {
  const { rows } = await db.database.ordinary.query<{ all: number; own: number }>(
    `SELECT count(*)::int AS all, (count(*) FILTER (WHERE ${TENANT_OF_ROW[name] ?? 'tenant_id'} = $1))::int AS own
     FROM ${TABLE_OF_VIEW[name] ?? name}`,
    [tenantId],
  );
  return rows[0]!;
}

/** A statement without any condition. */
async function countVisible(database: Queryable, name: string): Promise<number> {
  const { rows } = await database.query<{ count: number }>(`SELECT count(*)::int AS count FROM ${name}`);
  return rows[0]!.count;
}

class RolledBack extends Error {}

/** Rows that a statement without any condition changes as a tenant; nothing stays changed. */
async function countTouched(tenantId: string, text: string): Promise<number> {
  let touched = 0;
  const work = inTransaction(asTenant(db.database, tenantId).hot, async (client) => {
    touched = (await client.query(text)).rowCount ?? 0;
    throw new RolledBack();
  });
  await expect(work).rejects.toBeInstanceOf(RolledBack);
  return touched;
}

describe('row-level security', () => {
  it('guards every table that says whose its rows are, and tenants may touch nothing that it does not guard', async () => {
    const relations = await readRelations();
    const tables = relations.filter(({ isTable }) => isTable);
    expect(tables.filter(({ hasTenant }) => hasTenant).length).toBeGreaterThan(10);
    expect(tables.filter(({ hasTenant, isGuarded }) => hasTenant && !isGuarded)).toEqual([]);
    expect(tables.filter(({ isTouchable, isGuarded }) => isTouchable && !isGuarded)).toEqual([]);
    // A view has no policies. Each that tenants may read is looked at below, by what it shows.
    const views = relations.filter(({ isTable, isTouchable }) => !isTable && isTouchable).map(({ name }) => name);
    expect(views.toSorted()).toEqual(Object.keys(TABLE_OF_VIEW).toSorted());
  });

  it('gives no rights on partitions, which have no policies', async () => {
    const { rows } = await db.database.ordinary.query(
      `SELECT relname FROM pg_class WHERE relispartition AND relnamespace = 'public'::regnamespace
         AND has_any_column_privilege($1, oid, 'SELECT, INSERT, UPDATE')`,
      [TENANT_ROLE],
    );
    expect(rows).toEqual([]);
    const { ordinary } = asTenant(db.database, mine);
    await expect(ordinary.query('SELECT FROM finished_timers_default')).rejects.toMatchObject({ code: '42501' });
  });

  it('shows a statement without any condition the rows of its tenant only, in every table', async () => {
    const readable = (await readRelations()).filter(({ isReadable }) => isReadable);
    expect(readable.length).toBeGreaterThan(12);
    for (const { name } of readable) {
      for (const tenantId of [mine, theirs]) {
        const { all, own } = await countOwn(name, tenantId);
        expect(
          own,
          `${name} has rows of both tenants, or this test says nothing of it: add it to seed()`,
        ).toBeGreaterThan(0);
        expect(all, name).toBeGreaterThan(own);
        const { hot, ordinary } = asTenant(db.database, tenantId);
        expect(await countVisible(hot, name), name).toBe(own);
        expect(await countVisible(ordinary, name), name).toBe(own);
        expect(await inTransaction(hot, (client) => countVisible(client, name)), name).toBe(own);
      }
    }
  });

  it('is what that comes from: without it each of these statements shows the rows of everybody', async () => {
    const guarded = (await readRelations()).filter(({ isGuarded, isReadable }) => isGuarded && isReadable);
    for (const { name } of guarded) {
      await db.database.ordinary.query(`ALTER TABLE ${name} DISABLE ROW LEVEL SECURITY`);
      try {
        const { all } = await countOwn(name, mine);
        expect(await countVisible(asTenant(db.database, mine).hot, name), name).toBe(all);
      } finally {
        await db.database.ordinary.query(`ALTER TABLE ${name} ENABLE ROW LEVEL SECURITY`);
      }
    }
  });

  it('lets a statement without any condition change and delete the rows of its tenant only', async () => {
    const relations = await readRelations();
    const updatable = relations.filter(({ isUpdatable }) => isUpdatable);
    const deletable = relations.filter(({ isDeletable }) => isDeletable);
    expect([updatable.length, deletable.length].every((count) => count >= 3)).toBe(true);
    for (const { name } of updatable) {
      const { own } = await countOwn(name, theirs);
      expect(await countTouched(theirs, `UPDATE ${name} SET tenant_id = tenant_id`), name).toBe(own);
    }
    for (const { name } of deletable) {
      const { own } = await countOwn(name, theirs);
      expect(await countTouched(theirs, `DELETE FROM ${name}`), name).toBe(own);
    }
  });

  it('lets nobody store a row for another tenant, or hand one over', async () => {
    const { hot } = asTenant(db.database, mine);
    const foreign = makeTimer({ tenantId: theirs });
    await expect(createTimers(hot, [foreign])).rejects.toMatchObject({ code: '42501' });
    const handOver = hot.query('UPDATE timers SET tenant_id = $1', [theirs]);
    await expect(handOver).rejects.toMatchObject({ code: '42501' });
    const [version] = (
      await db.database.ordinary.query<{ id: string }>('SELECT id FROM workflows WHERE tenant_id = $1', [theirs])
    ).rows;
    const addVersion = hot.query(
      `INSERT INTO workflow_versions (workflow_id, version, name, time_zone, tasks, created_at) VALUES ($1, 2, '', '', '[]', now())`,
      [version!.id],
    );
    await expect(addVersion).rejects.toMatchObject({ code: '42501' });
    expect(await countVisible(db.database.ordinary, `timers WHERE id = '${foreign.id}'`)).toBe(0);
  });

  it('shows nobody as a tenant the hashes of keys, the secrets of tenants, or what is not of tenants', async () => {
    const { ordinary } = asTenant(db.database, mine);
    for (const text of [
      'SELECT key_hash FROM api_keys',
      'SELECT signing_secrets FROM tenants',
      'SELECT ciphertext FROM signing_secrets',
      'SELECT key_id FROM signing_secrets',
      'SELECT FROM installation',
      'SELECT FROM partition_leases',
      'SELECT FROM service_instances',
      'SELECT FROM schema_migrations',
      'CREATE TABLE mine ()',
    ]) {
      await expect(ordinary.query(text), text).rejects.toMatchObject({ code: '42501' });
    }
  });

  it('lets nobody as a tenant rewrite what the audit log tells, or whose a secret is', async () => {
    const { ordinary } = asTenant(db.database, mine);
    for (const text of [
      `UPDATE audit_log SET actor = 'nobody'`,
      'DELETE FROM audit_log',
      'TRUNCATE audit_log',
      `UPDATE signing_secrets SET ciphertext = ''`,
      `UPDATE signing_secrets SET tenant_id = '${mine}'`,
      `UPDATE tenants SET name = 'mine', plain_secrets = DEFAULT`,
    ]) {
      await expect(ordinary.query(text), text).rejects.toMatchObject({ code: '42501' });
    }
  });

  it('lets a tenant lock its own row, and tells how many plain secrets it has but not those', async () => {
    await db.database.ordinary.query(`UPDATE tenants SET signing_secrets = '{whsec_a,whsec_b}' WHERE id = $1`, [mine]);
    try {
      await inTransaction(asTenant(db.database, mine).hot, async (client) => {
        expect(await lockTenantSecrets(client, mine)).toEqual({ plain: 2, active: 1 });
        expect(await lockTenantSecrets(client, theirs)).toBeUndefined();
      });
    } finally {
      await db.database.ordinary.query(`UPDATE tenants SET signing_secrets = '{}' WHERE id = $1`, [mine]);
    }
  });

  it('answers nobody who took the role without saying for which tenant', async () => {
    const ask = () =>
      inTransaction(db.database.hot, async (client) => {
        await client.query(`SET LOCAL ROLE ${TENANT_ROLE}`);
        return countVisible(client, 'timers');
      });
    // The setting is unknown to a new connection, and empty to one that had it before.
    await expect(ask()).rejects.toMatchObject({ code: expect.stringMatching(/^(42704|22P02)$/) });
    await countVisible(asTenant(db.database, mine).hot, 'timers');
    await expect(ask()).rejects.toMatchObject({ code: '22P02' });
  });
});

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
