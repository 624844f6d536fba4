import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectDatabase, type Database, migrateUp } from '@punctual/database';
import pg from 'pg';
import { TEST_CONNECTION_NAME } from './connection-name.ts';
import { withoutFaults } from './faults/injector.ts';

/** A database of a test's own, a clone of a migrated template. */
export interface TestDatabase {
  url: string;
  /** For what the test itself does and looks at. */
  database: Database;
  /** The same database as a service would open it, for what a test runs of one: injected faults happen to these connections. */
  service: Database;
  /** Closes the pools and drops the database. Fails when connections other than the pools' are still open. */
  drop(): Promise<void>;
}

// Named after the migrations, so that a server which outlives a test run never serves yesterday's schema.
const MIGRATIONS_FOLDER = join(import.meta.dirname, '../database/migrations');
const TEMPLATE = `punctual_template_${hashMigrations()}`;
// "PTPL" in ASCII: one process at a time makes the template.
const TEMPLATE_LOCK = 0x5054504c;
const POOL_SIZE = 10;

function hashMigrations(): string {
  const hash = createHash('sha256');
  for (const file of readdirSync(MIGRATIONS_FOLDER).toSorted())
    hash.update(file).update(readFileSync(join(MIGRATIONS_FOLDER, file)));
  return hash.digest('hex').slice(0, 12);
}

/** The test servers' addresses, which `npm test` (or vitest's global set-up) puts into the environment. */
export function readTestServers(): { databaseUrl: string; redisUrl: string } {
  const databaseUrl = process.env.TEST_DATABASE_URL;
  const redisUrl = process.env.TEST_REDIS_URL;
  if (!databaseUrl || !redisUrl)
    throw new Error('TEST_DATABASE_URL and TEST_REDIS_URL are not set; run the tests with `npm test`.');
  return { databaseUrl, redisUrl };
}

function withDatabaseName(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.toString();
}

async function withServer<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: readTestServers().databaseUrl });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

let template: Promise<void> | undefined;

function ensureTemplate(): Promise<void> {
  template ??= withServer(async (client) => {
    await client.query('SELECT pg_advisory_lock($1)', [TEMPLATE_LOCK]);
    try {
      const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [TEMPLATE]);
      if (rowCount === 0) {
        const building = `${TEMPLATE}_building`;
        await client.query(`DROP DATABASE IF EXISTS ${building}`);
        await client.query(`CREATE DATABASE ${building}`);
        await withoutFaults(() => migrateUp(withDatabaseName(readTestServers().databaseUrl, building)));
        await client.query(`ALTER DATABASE ${building} RENAME TO ${TEMPLATE}`);
      }
    } finally {
      await client.query('SELECT pg_advisory_unlock($1)', [TEMPLATE_LOCK]);
    }
  });
  return template;
}

/** Clones the template. `poolSizeMax` is that of the pools that come with it. */
export async function createTestDatabase(poolSizeMax: number = POOL_SIZE): Promise<TestDatabase> {
  await ensureTemplate();
  const { url, drop } = await createDatabase(`TEMPLATE ${TEMPLATE}`);
  const connect = (applicationName: string) => connectDatabase({ connectionString: url, applicationName, poolSizeMax });
  const database = connect(TEST_CONNECTION_NAME);
  const service = connect('punctual-test');
  return {
    url,
    database,
    service,
    async drop() {
      await Promise.all([database.close(), service.close()]);
      await drop();
    },
  };
}

/** A database that no migration has seen. `drop` fails when connections to it are still open. */
export function createEmptyDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  return createDatabase('');
}

async function createDatabase(options: string): Promise<{ url: string; drop(): Promise<void> }> {
  const name = `test_${randomBytes(8).toString('hex')}`;
  await withServer((client) => client.query(`CREATE DATABASE ${name} ${options}`));
  return {
    url: withDatabaseName(readTestServers().databaseUrl, name),
    drop: () =>
      withServer(async (client) => {
        const open = await waitUntilClosed(client, name);
        await client.query(`DROP DATABASE ${name} WITH (FORCE)`);
        if (open.length > 0) {
          throw new Error(`${open.length} connections to the test's database were left open: ${JSON.stringify(open)}`);
        }
      }),
  };
}

// A server process takes a moment to end after its client has closed the connection.
const CLOSING_TIMEOUT_MS = 2_000;

/** Returns the connections that stay open. */
async function waitUntilClosed(
  client: pg.Client,
  name: string,
): Promise<{ application_name: string; query: string }[]> {
  const deadline = performance.now() + CLOSING_TIMEOUT_MS;
  for (;;) {
    const { rows } = await client.query<{ application_name: string; query: string }>(
      // The server's own come and go as they like: autovacuum for one.
      `SELECT application_name, query FROM pg_stat_activity
       WHERE datname = $1 AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
      [name],
    );
    if (rows.length === 0 || performance.now() > deadline) return rows;
  }
}
