import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { isDatabaseUnavailable } from './errors.ts';
import { Pool } from './pool.ts';
import { createPoolerClient, type SessionSettings } from './pooler-client.ts';
import type { Tables } from './tables.ts';
import { beginAsTenant, TenantPool, TenantTransaction } from './tenant-pool.ts';

/** Runs statements: a pool, one client inside a transaction, or either of them as one tenant. */
export interface Queryable {
  // biome-ignore lint/suspicious/noExplicitAny: as pg has it: who does not say what rows look like may look into them.
  query<Row extends pg.QueryResultRow = any>(
    query: string | (pg.QueryConfig & Partial<Pick<pg.QueryArrayConfig, 'rowMode'>>),
    values?: unknown[],
  ): Promise<pg.QueryResult<Row>>;
}

/** One connection inside a transaction that the caller began and will end. */
export interface Transaction extends Queryable {}

/** Where transactions begin: a pool, or one tenant's way into it. */
export type TransactionPool = pg.Pool | TenantPool;

/** How DATABASE_URL leads to Postgres: values of the setting DATABASE_POOLER. */
export const POOLERS = ['none', 'transaction'] as const;
export type Pooler = (typeof POOLERS)[number];

/** Reads DATABASE_POOLER; empty and absent are `none`. Throws an error that says what it may be. */
export function parsePooler(text = ''): Pooler {
  const pooler = text === '' ? 'none' : POOLERS.find((name) => name === text);
  if (!pooler) throw new Error(`DATABASE_POOLER must be ${POOLERS.join(' or ')}, not ${text}.`);
  return pooler;
}

export interface DatabaseOptions {
  connectionString: string;
  /** What stands between us and Postgres: nothing, or a pooler that gives each transaction another connection. */
  pooler?: Pooler;
  /** Shown in `pg_stat_activity`, for example `punctual-worker`. */
  applicationName: string;
  /** Connections for the hot statements; the ordinary queries get half as many, at least two. */
  poolSizeMax: number;
  /** How long a caller waits for a connection, and then for an answer, before it gets an error (ms). */
  connectTimeoutMs?: number;
  queryTimeoutMs?: number;
  /** Told when a connection that nobody used was lost. */
  onIdleError?: (error: Error) => void;
}

export interface Database {
  /** The few hot statements: planned for index access only. */
  hot: pg.Pool;
  /**
   * Hot statements whose commit does not wait for the disk. When Postgres crashes, the last 0.6 s of them may be lost:
   * only for starts, which then are begun again, never for what is acknowledged to anybody.
   */
  relaxed: pg.Pool;
  /** Everything else. */
  kysely: Kysely<Tables>;
  /** The pool beneath `kysely`, for transactions that mix ordinary queries and hot statements. */
  ordinary: pg.Pool;
  /** For who may come in, and for health: whatever customers ask for on the others, these are answered. */
  access: pg.Pool;
  close(): Promise<void>;
}

/** Connections for look-ups of keys and the health check, each a row by an index. */
const ACCESS_POOL_SIZE = 2;
const CONNECT_TIMEOUT_MS_DEFAULT = 2_000;
// With the time to connect this stays below the 5 s in which the api must answer.
const QUERY_TIMEOUT_MS_DEFAULT = 4_000;

const TIMESTAMPTZ_OID = 1184;
const INT8_OID = 20;
const JSON_OID = 114;

/** Reads Postgres' text form of a UTC `timestamptz` as epoch milliseconds; infinities as such. */
export function parseInstant(text: string): number {
  if (text === 'infinity') return Number.POSITIVE_INFINITY;
  if (text === '-infinity') return Number.NEGATIVE_INFINITY;
  return Date.parse(`${text.slice(0, 10)}T${text.slice(11, -3)}Z`);
}

// Instants become epoch milliseconds, counts become numbers, and `json` stays the text that the customer
// sent: it is passed on, not looked into. `jsonb` (labels, details) is parsed.
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') => {
    if (oid === TIMESTAMPTZ_OID) return parseInstant;
    if (oid === INT8_OID) return Number;
    if (oid === JSON_OID) return (text: string) => text;
    return pg.types.getTypeParser(oid, format ?? 'text');
  }) as typeof pg.types.getTypeParser,
};

// A hot statement joins a handful of ids with a large table. Before the first ANALYZE the planner takes a
// growing table for a tiny one and would hash or scan all of it; these settings leave only the index paths.
const HOT_SETTINGS: SessionSettings = {
  TimeZone: 'UTC',
  jit: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  enable_seqscan: 'off',
  plan_cache_mode: 'force_generic_plan',
};
// Postgres' default for random reads is that of spinning disks; with it a table that was never analyzed is scanned for a few ids.
const ORDINARY_SETTINGS: SessionSettings = { TimeZone: 'UTC', jit: 'off', random_page_cost: 1.1 };

/** A transaction whose owner fell silent (frozen, or cut off) gives its locks back after this time (ms). */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000;
/** Postgres gives a statement up a little before we stop waiting for it: nothing runs on for nobody. */
const STATEMENT_TIMEOUT_SHARE = 0.9;

function formatStartOptions(settings: SessionSettings): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(' ');
}

/**
 * Opens the pools. Connections are made when first needed, so this neither waits nor fails.
 * Errors of idle connections go to `onIdleError`; the pool replaces such connections by itself.
 */
export function connectDatabase(options: DatabaseOptions): Database {
  let closing: Promise<void> | undefined;
  const queryTimeoutMs = options.queryTimeoutMs ?? QUERY_TIMEOUT_MS_DEFAULT;
  const limits: SessionSettings = {
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    statement_timeout: Math.ceil(queryTimeoutMs * STATEMENT_TIMEOUT_SHARE),
  };
  const createPool = (ofPool: SessionSettings, max: number, suffix: string) => {
    const settings = { ...ofPool, ...limits };
    const pool = new Pool({
      connectionString: options.connectionString,
      application_name: options.applicationName + suffix,
      max,
      connectionTimeoutMillis: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS_DEFAULT,
      query_timeout: queryTimeoutMs,
      idleTimeoutMillis: 60_000,
      keepAlive: true,
      types,
      // Poolers refuse to pass on what they would have to keep for each client.
      ...(options.pooler === 'transaction'
        ? { Client: createPoolerClient(settings) }
        : { options: formatStartOptions(settings) }),
    });
    pool.on('error', (error) => {
      // `end` resolves before the server has let go of the last connection, and may shut down meanwhile.
      if (!closing) options.onIdleError?.(error);
    });
    // A connection that is lost while somebody holds it says so by this event, besides rejecting their queries; without
    // a listener Node would end the process at each restart of Postgres.
    pool.on('connect', (client) => client.on('error', () => {}));
    return pool;
  };
  const hot = createPool(HOT_SETTINGS, options.poolSizeMax, '');
  const relaxed = createPool({ ...HOT_SETTINGS, synchronous_commit: 'off' }, options.poolSizeMax, '-relaxed');
  const ordinary = createPool(ORDINARY_SETTINGS, Math.max(2, Math.ceil(options.poolSizeMax / 2)), '-ordinary');
  const access = createPool(ORDINARY_SETTINGS, ACCESS_POOL_SIZE, '-access');
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: ordinary }) });
  return {
    hot,
    relaxed,
    ordinary,
    access,
    kysely,
    close() {
      closing ??= Promise.all([hot, relaxed, ordinary, access].map((pool) => pool.end())).then(() => undefined);
      return closing;
    },
  };
}

/**
 * Runs `work` in one transaction on one connection of `pool`; rolls back when it throws. A tenant's pool makes it that
 * tenant's transaction, from its first statement to its last.
 * READ COMMITTED, as the conditional statements need: each sees what was committed before it.
 */
export async function inTransaction<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T>;
export async function inTransaction<T>(pool: TransactionPool, work: (client: Transaction) => Promise<T>): Promise<T>;
export async function inTransaction<T>(
  pool: TransactionPool,
  // Either of the signatures above calls it with what it promises.
  work: (client: pg.PoolClient & Transaction) => Promise<T>,
): Promise<T> {
  const isTenants = pool instanceof TenantPool;
  const client = await (isTenants ? pool.pool : pool).connect();
  let broken: Error | undefined;
  try {
    await client.query(isTenants ? beginAsTenant(pool.tenantId) : 'BEGIN');
    const result = await work((isTenants ? new TenantTransaction(client) : client) as pg.PoolClient);
    await client.query('COMMIT');
    return result;
  } catch (error) {
    // A server that did not answer will not answer to ROLLBACK either: waiting for that would double the caller's
    // wait. The connection is of no more use then; the server ends its transaction when it notices.
    if (isDatabaseUnavailable(error) && !(error instanceof pg.DatabaseError)) broken = error as Error;
    else await client.query('ROLLBACK').catch((failure: Error) => (broken = failure));
    throw error;
  } finally {
    client.release(broken);
  }
}
