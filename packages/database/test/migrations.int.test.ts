import {
  connectDatabase,
  growPartitions,
  migrateDown,
  migrateUp,
  readPartitionCount,
  readPendingMigrations,
} from '@punctual/database';
import { createEmptyDatabase, startProxy, waitUntil } from '@punctual/testkit';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeSchema } from '../describe-schema.ts';

const SNAPSHOT = '../schema.sql';
const HOW_TO = 'schema.sql is not what the migrations make; write it anew with `npm test -- migrations.int -u`';

/** Dozens of migrations one after the other: seconds, or a minute and more on a machine that does much else (ms). */
const STEPS_LIMIT_MS = 240_000;

let url = '';
let drop: () => Promise<void>;

async function withClient<T>(connectionString: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The server's process of a migration, once it waits for somebody's lock. */
function findWaitingMigration(client: pg.Client): Promise<number> {
  return waitUntil('the migration waits for the lock', async () => {
    const { rows } = await client.query<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = 'punctual-migrate' AND wait_event_type = 'Lock'`,
    );
    return rows[0]?.pid;
  });
}

beforeEach(async () => {
  ({ url, drop } = await createEmptyDatabase());
});
afterEach(() => drop());

async function migrateAllDown(): Promise<string[]> {
  const names: string[] = [];
  for (let last = await migrateDown(url); last !== undefined; last = await migrateDown(url)) names.push(last);
  return names;
}

describe('the migrations', () => {
  it('go up, down and up again, and then make what schema.sql says', { timeout: STEPS_LIMIT_MS }, async () => {
    const applied = await migrateUp(url);
    const first = await withClient(url, describeSchema);
    expect(await migrateAllDown()).toEqual(applied.toReversed());
    const { rows } = await withClient(url, (client) =>
      client.query(
        `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'schema_migrations%'
         UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typname !~ 'schema_migrations'`,
      ),
    );
    expect(rows, 'left behind after all down migrations').toEqual([]);
    expect(await migrateUp(url)).toEqual(applied);
    expect(await withClient(url, describeSchema)).toBe(first);
    await expect(first, HOW_TO).toMatchFileSnapshot(SNAPSHOT);
  });

  // Each step is taken once in each direction: what a step makes depends on nothing but what it finds, so the schemas in
  // between tell of every way through them.
  it('bring a database that stopped after any of them to the same schema, and keep what is in it', {
    timeout: STEPS_LIMIT_MS,
  }, async () => {
    const names = await migrateUp(url);
    await migrateAllDown();
    const schemas: string[] = [];
    for (const name of names) {
      expect(await migrateUp(url, {}, name)).toEqual([name]);
      schemas.push(await withClient(url, describeSchema));
    }
    for (let kept = names.length - 1; kept > 0; kept -= 1) {
      expect(await migrateDown(url)).toBe(names[kept]);
      const left = await withClient(url, describeSchema);
      expect(left, `${names[kept]} was taken back`).toBe(schemas[kept - 1]);
    }
    for (const [index, name] of names.entries()) {
      if (index > 0) expect(await migrateUp(url, {}, name)).toEqual([name]);
      expect(await withClient(url, describeSchema), `${name} was applied again`).toBe(schemas[index]);
      await withClient(url, (client) =>
        client.query(`INSERT INTO tenants (id, name, signing_secrets) VALUES (uuidv7(), $1, '{a,b}')`, [name]),
      );
    }
    const { rows } = await withClient(url, (client) =>
      client.query(
        'SELECT name, signing_secrets, plain_secrets, live_timers_max FROM tenants WHERE name = ANY ($1) ORDER BY name',
        [names],
      ),
    );
    const kept = { signing_secrets: ['a', 'b'], plain_secrets: 2, live_timers_max: null };
    expect(rows).toEqual(names.map((name) => ({ name, ...kept })));
  });

  it('are applied once when several processes apply them at the same time', async () => {
    const applied = await Promise.all([migrateUp(url), migrateUp(url), migrateUp(url)]);
    expect(applied.filter((names) => names.length > 0)).toHaveLength(1);
    expect(await migrateUp(url)).toEqual([]);
  });

  it.each(['its server ends it', 'the way to it is cut'])(
    'that lose a connection, because %s, are rejected with what to do, and do not end the process',
    async (reason) => {
      await migrateUp(url);
      const proxy = await startProxy(url);
      try {
        await withClient(url, async (holder) => {
          await holder.query('BEGIN');
          await holder.query('LOCK TABLE schema_migrations IN ACCESS EXCLUSIVE MODE');
          const migrated = migrateUp(proxy.url).catch((error: unknown) => error);
          const pid = await withClient(url, findWaitingMigration);
          if (reason === 'the way to it is cut') await proxy.cut();
          else await holder.query('SELECT pg_terminate_backend($1)', [pid]);
          expect(await migrated).toMatchObject({
            code: 'database_not_ready',
            message: expect.stringMatching(/can not be reached/),
          });
        });
      } finally {
        await proxy.close();
      }
      expect(await migrateUp(url)).toEqual([]);
    },
  );

  it('are all pending before, and none after', async () => {
    const database = connectDatabase({ connectionString: url, applicationName: 'punctual-test', poolSizeMax: 2 });
    try {
      const pending = await readPendingMigrations(database);
      expect(pending).toContain('0001_create_timers');
      expect(await migrateUp(url)).toEqual(pending);
      expect(await readPendingMigrations(database)).toEqual([]);
    } finally {
      await database.close();
    }
  });

  it('fix the number of partitions at the first time, with a lease for each', async () => {
    await migrateUp(url, { partitionCount: 7 });
    await migrateUp(url, { partitionCount: 9 });
    const database = connectDatabase({ connectionString: url, applicationName: 'punctual-test', poolSizeMax: 2 });
    try {
      expect(await readPartitionCount(database)).toBe(7);
      const leases = await database.kysely
        .selectFrom('partition_leases')
        .select('partition')
        .orderBy('partition')
        .execute();
      expect(leases.map((lease) => lease.partition)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    } finally {
      await database.close();
    }
  });

  it('are followed by more partitions when somebody asks for them, each with a lease, and never by fewer', async () => {
    await expect(growPartitions(url, 9)).rejects.toThrow('run `npm run migrate` first');
    await migrateUp(url, { partitionCount: 7 });
    expect(await growPartitions(url, 9)).toBe(7);
    expect(await growPartitions(url, 9)).toBe(9);
    await expect(growPartitions(url, 8)).rejects.toThrow('There are 9 partitions, and they can not become fewer');
    for (const count of [0, 1025, 9.5, Number.NaN])
      await expect(growPartitions(url, count)).rejects.toThrow(RangeError);
    const database = connectDatabase({ connectionString: url, applicationName: 'punctual-test', poolSizeMax: 2 });
    try {
      expect(await readPartitionCount(database)).toBe(9);
      const { rows } = await database.ordinary.query(
        'SELECT count(*)::int AS leases, max(partition) FROM partition_leases',
      );
      expect(rows).toEqual([{ leases: 9, max: 8 }]);
    } finally {
      await database.close();
    }
  });

  it('change nothing when one of them fails', async () => {
    await expect(migrateUp(url, { partitionCount: 0 })).rejects.toMatchObject({ code: '23514' });
    const database = connectDatabase({ connectionString: url, applicationName: 'punctual-test', poolSizeMax: 2 });
    try {
      expect(await readPendingMigrations(database)).toContain('0001_create_timers');
      const { rows } = await database.ordinary.query(`SELECT to_regclass('timers') AS timers`);
      expect(rows).toEqual([{ timers: null }]);
    } finally {
      await database.close();
    }
  });
});
