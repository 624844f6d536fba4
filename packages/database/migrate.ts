import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Kysely, PostgresDialect, sql } from 'kysely';
import { type MigrationProvider, Migrator } from 'kysely/migration';
import pg from 'pg';
import type { Database } from './connect.ts';
import { isDatabaseUnavailable } from './errors.ts';
import { TENANT_ROLE } from './tenant-pool.ts';

const FOLDER = join(import.meta.dirname, 'migrations');
const UP_SUFFIX = '.up.sql';
const MIGRATION_TABLE = 'schema_migrations';
const MIGRATION_LOCK_TABLE = 'schema_migrations_lock';

/** A migration may wait this long for a lock on a table in use; then it fails, and traffic goes on. */
export const LOCK_TIMEOUT_MS = 5_000;

async function listMigrations(): Promise<string[]> {
  const files = await readdir(FOLDER);
  return files
    .filter((file) => file.endsWith(UP_SUFFIX))
    .map((file) => file.slice(0, -UP_SUFFIX.length))
    .toSorted();
}

const provider: MigrationProvider = {
  async getMigrations() {
    const names = await listMigrations();
    const run = (file: string) => async (database: Kysely<unknown>) => {
      await sql.raw(await readFile(join(FOLDER, file), 'utf8')).execute(database);
    };
    return Object.fromEntries(
      names.map((name) => [name, { up: run(`${name}.up.sql`), down: run(`${name}.down.sql`) }]),
    );
  },
};

/** Settings that only the first migration reads. */
export interface InstallOptions {
  /** Logical partitions, 1–1024; later `growPartitions` makes them more. */
  partitionCount?: number;
}

async function withMigrator<T>(
  connectionString: string,
  options: InstallOptions,
  work: (migrator: Migrator) => Promise<T>,
): Promise<T> {
  const partitionCount =
    options.partitionCount === undefined ? '' : `-c punctual.partition_count=${options.partitionCount}`;
  const pool = new pg.Pool({
    connectionString,
    max: 2,
    application_name: 'punctual-migrate',
    options: `-c TimeZone=UTC -c lock_timeout=${LOCK_TIMEOUT_MS} ${partitionCount}`,
  });
  // A connection that breaks says so by this event, besides rejecting what was asked; without a listener Node would end the
  // process, and nobody would read why.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  const database = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  try {
    return await work(
      new Migrator({
        db: database,
        provider,
        migrationTableName: MIGRATION_TABLE,
        migrationLockTableName: MIGRATION_LOCK_TABLE,
      }),
    );
  } finally {
    await database.destroy();
  }
}

/**
 * Applies every migration that is missing, or those up to and with `last`, in order, in one transaction, while an advisory
 * lock keeps others from doing the same. Returns the names of those applied. Rejects, with nothing changed, when one fails.
 */
export async function migrateUp(
  connectionString: string,
  options: InstallOptions = {},
  last?: string,
): Promise<string[]> {
  return withMigrator(connectionString, options, async (migrator) => {
    const { error, results } = await (last === undefined ? migrator.migrateToLatest() : migrator.migrateTo(last));
    if (error) throw explainUnreachable(error);
    return (results ?? []).filter((result) => result.status === 'Success').map((result) => result.migrationName);
  });
}

/** Takes back the newest migration. Returns its name, or undefined when there is none. */
export async function migrateDown(connectionString: string): Promise<string | undefined> {
  return withMigrator(connectionString, {}, async (migrator) => {
    const { error, results } = await migrator.migrateDown();
    if (error) throw explainUnreachable(error);
    return results?.[0]?.migrationName;
  });
}

/** Names of migrations that this code needs and the database has not had. Rejects when it can not be reached. */
export async function readPendingMigrations(database: Database): Promise<string[]> {
  const names = await listMigrations();
  const { rows } = await database.ordinary.query<{ exists: boolean }>('SELECT to_regclass($1) IS NOT NULL AS exists', [
    MIGRATION_TABLE,
  ]);
  if (!rows[0]!.exists) return names;
  const applied = await database.ordinary.query<{ name: string }>(`SELECT name FROM ${MIGRATION_TABLE}`);
  const known = new Set(applied.rows.map((row) => row.name));
  return names.filter((name) => !known.has(name));
}

/** How many there are; it may grow. Rejects when the database was never migrated. */
export async function readPartitionCount(database: Database): Promise<number> {
  const row = await database.kysely.selectFrom('installation').select('partition_count').executeTakeFirstOrThrow();
  return row.partition_count;
}

/** Why a service refuses to start: the database can not be reached, or lacks migrations. The message says what to do. */
class DatabaseNotReadyError extends Error {
  readonly code = 'database_not_ready';

  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'DatabaseNotReadyError';
  }
}

/**
 * For a service's start: throws DatabaseNotReadyError unless the database answers, has had every migration, and gives our
 * user its rights.
 */
export async function checkDatabaseReady(database: Database): Promise<void> {
  let pending: string[];
  try {
    pending = await readPendingMigrations(database);
  } catch (error) {
    throw explainUnreachable(error);
  }
  if (pending.length > 0) {
    throw new DatabaseNotReadyError(
      `The database lacks the migrations ${pending.join(', ')}. Apply them with \`npm run migrate\`, then start again.`,
    );
  }
  await checkRights(database);
}

/**
 * Row-level security must bind tenants and nobody else: to a user whom it binds the tables look empty, and one who can
 * not take the tenants' role can serve none of them.
 */
async function checkRights(database: Database): Promise<void> {
  const { rows } = await database.ordinary.query<{ user: string; isBound: boolean; mayBeTenant: boolean }>(
    `SELECT current_user AS user, row_security_active('timers') AS "isBound",
       coalesce(pg_has_role(to_regrole('${TENANT_ROLE}'), 'SET'), false) AS "mayBeTenant"`,
  );
  const { user, isBound, mayBeTenant } = rows[0]!;
  if (isBound) {
    throw new DatabaseNotReadyError(
      `Row-level security hides the tables' rows from the user ${user}. Connect as the user who migrated, or let a superuser run: ALTER ROLE "${user}" BYPASSRLS`,
    );
  }
  if (!mayBeTenant) {
    throw new DatabaseNotReadyError(
      `The user ${user} may not act as the role ${TENANT_ROLE}. Let a superuser run: GRANT ${TENANT_ROLE} TO "${user}"`,
    );
  }
}

function explainUnreachable(error: unknown): unknown {
  if (!isDatabaseUnavailable(error)) return error;
  // Of several addresses that were tried in vain the error has no message of its own.
  const reason = (error as Error).message || (error as { code?: string }).code;
  return new DatabaseNotReadyError(
    `Postgres can not be reached (${reason}). Start it, or correct DATABASE_URL, then start again.`,
    error,
  );
}
