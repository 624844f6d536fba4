import { asTenant, createTimers, inTransaction, lockTenantSecrets, TENANT_ROLE } from '@punctual/database';
import { makeTimer } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';
import { countVisible, useTenantsWithRows } from './tenant-rows.ts';

const { db, mine, theirs } = useTenantsWithRows();

/** Whose a row is, in tables that do not say it in `tenant_id`. */
const TENANT_OF_ROW: Readonly<Record<string, string>> = {
  tenants: 'id',
  workflow_versions: '(SELECT w.tenant_id FROM workflows AS w WHERE w.id = workflow_id)',
};
/** What a view shows, for those who may read all of it. */
const TABLE_OF_VIEW: Readonly<Record<string, string>> = { own_timers: 'timers', own_audit_log: 'audit_log' };

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
      'SELECT FROM gates_epoch',
      'UPDATE gates_epoch SET epoch = 0',
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
