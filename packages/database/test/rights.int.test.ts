import { randomBytes } from 'node:crypto';
import {
  asTenant,
  checkDatabaseReady,
  connectDatabase,
  countTimers,
  createTimers,
  type Database,
  migrateUp,
  TENANT_ROLE,
} from '@punctual/database';
import { createId } from '@punctual/domain';
import { startPostgres } from '@punctual/local-servers';
import { createEmptyDatabase, createTestDatabase, makeTimer } from '@punctual/testkit';
import pg from 'pg';
import { expect, it } from 'vitest';

/** Does `work` with a user of the server that has no rights, and a way to give it some as a superuser. */
async function withUser(
  url: string,
  work: (user: { name: string; url: string; grant(text: string): Promise<unknown> }) => Promise<void>,
): Promise<void> {
  const name = `test_user_${randomBytes(6).toString('hex')}`;
  const password = randomBytes(12).toString('hex');
  const superuser = new pg.Client({ connectionString: url });
  await superuser.connect();
  await superuser.query(`CREATE ROLE ${name} LOGIN PASSWORD '${password}'`);
  const own = new URL(url);
  own.username = name;
  own.password = password;
  try {
    await work({ name, url: own.toString(), grant: (text) => superuser.query(text.replaceAll('$user', name)) });
  } finally {
    await superuser.query(`REASSIGN OWNED BY ${name} TO CURRENT_USER`);
    await superuser.query(`DROP OWNED BY ${name}`);
    await superuser.query(`DROP ROLE ${name}`);
    await superuser.end();
  }
}

const connect = (connectionString: string) =>
  connectDatabase({ connectionString, applicationName: 'punctual-test', poolSizeMax: 1 });

async function withDatabase(url: string, work: (database: Database) => Promise<void>): Promise<void> {
  const database = connect(url);
  try {
    await work(database);
  } finally {
    await database.close();
  }
}

it('a service says what its user lacks: the sight of all rows, or the right to act as a tenant', async () => {
  const test = await createTestDatabase(1);
  try {
    await withUser(test.url, async ({ url, grant }) => {
      await grant('GRANT SELECT ON ALL TABLES IN SCHEMA public TO $user');
      await withDatabase(url, async (database) => {
        await expect(checkDatabaseReady(database)).rejects.toMatchObject({
          code: 'database_not_ready',
          message: expect.stringMatching(/BYPASSRLS$/),
        });
        await grant('ALTER ROLE $user BYPASSRLS');
        await expect(checkDatabaseReady(database)).rejects.toMatchObject({
          code: 'database_not_ready',
          message: expect.stringMatching(/GRANT punctual_tenant TO "test_user_/),
        });
        await grant(`GRANT ${TENANT_ROLE} TO $user`);
        await checkDatabaseReady(database);
      });
    });
  } finally {
    await test.drop();
  }
});

it('a user who is no superuser migrates once it may act as a tenant, is told so before, and keeps tenants apart', async () => {
  const empty = await createEmptyDatabase();
  try {
    // The role is there: whoever made the template made it.
    await (await createTestDatabase(1)).drop();
    await withUser(empty.url, async ({ url, grant }) => {
      await grant(`ALTER DATABASE ${new URL(empty.url).pathname.slice(1)} OWNER TO $user`);
      await expect(migrateUp(url)).rejects.toMatchObject({
        code: '42501',
        message: expect.stringMatching(/GRANT punctual_tenant TO test_user_\w+; then migrate again/),
      });
      await grant(`GRANT ${TENANT_ROLE} TO $user`);
      expect((await migrateUp(url)).length).toBeGreaterThan(2);
      await withDatabase(url, async (database) => {
        await checkDatabaseReady(database);
        const tenants = [createId(), createId()];
        const timers = tenants.map((tenantId) => makeTimer({ tenantId, labels: '{"a":"b"}' }));
        await createTimers(database.hot, timers);
        for (const tenantId of tenants) {
          const { hot, ordinary } = asTenant(database, tenantId);
          expect((await hot.query('SELECT tenant_id FROM timers')).rows).toEqual([{ tenant_id: tenantId }]);
          expect(await countTimers(ordinary, { tenantId, labels: '{"a":"b"}' }, 10)).toBe(1);
        }
      });
    });
  } finally {
    await empty.drop();
  }
});

/** Databases that are migrated at the same time; with one the race would be none. */
const RACING = 4;

it('on a server that has not seen it the role is made by a user who may, once, and one who may not is told so', async () => {
  const server = await startPostgres({ ephemeral: true, log: () => {} });
  const superuser = new pg.Client({ connectionString: server.url });
  await superuser.connect();
  const at = (name: string) => Object.assign(new URL(server.url), { pathname: `/${name}` }).toString();
  try {
    await superuser.query('CREATE DATABASE of_user');
    await withUser(at('of_user'), async ({ url, grant }) => {
      await grant('ALTER DATABASE of_user OWNER TO $user');
      await expect(migrateUp(url)).rejects.toMatchObject({
        code: '42501',
        message: expect.stringMatching(/may not create roles\. As a superuser: CREATE ROLE punctual_tenant/),
      });
      await grant('ALTER ROLE $user CREATEROLE');
      await migrateUp(url);
      await withDatabase(url, async (database) => {
        await checkDatabaseReady(database);
        expect((await asTenant(database, createId()).hot.query('SELECT FROM timers')).rowCount).toBe(0);
      });
    });
    await superuser.query('DROP DATABASE of_user WITH (FORCE)');
    await superuser.query(`DROP ROLE ${TENANT_ROLE}`);
    const names = Array.from({ length: RACING }, (_, index) => `racing_${index}`);
    for (const name of names) await superuser.query(`CREATE DATABASE ${name}`);
    const migrated = await Promise.all(names.map((name) => migrateUp(at(name))));
    expect(new Set(migrated.map(({ length }) => length)).size).toBe(1);
    for (const name of names) await withDatabase(at(name), checkDatabaseReady);
  } finally {
    await superuser.end();
    await server.stop();
  }
});
