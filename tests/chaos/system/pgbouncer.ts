import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { findFreePort, type GuardedProcess, startGuardedProcess, startPostgres } from '@punctual/local-servers';
import { waitUntil } from '@punctual/testkit';
import pg from 'pg';
import type { Surroundings } from './surroundings.ts';

const FOLDERS = ['/usr/sbin', '/usr/bin', '/usr/local/bin', '/opt/homebrew/bin'];
const STOP = { stopSignal: 'SIGINT', hardSignal: 'SIGKILL', stopTimeoutMs: 5_000 } as const;
const READY_LIMIT_MS = 15_000;
/** Fewer than the services' pools together, so that they share. */
const SERVER_CONNECTIONS = 16;
const READABLE = 0o755;

function findProgram(): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...FOLDERS];
  return folders.map((folder) => join(folder, 'pgbouncer')).find((path) => existsSync(path));
}

/** Why it cannot be run here; undefined when it can. */
export function findPgbouncerObstacle(): string | undefined {
  return findProgram() === undefined
    ? 'There is no pgbouncer on the PATH. Install it (Debian and Ubuntu: apt-get install pgbouncer).'
    : undefined;
}

/** A Postgres behind PgBouncer in transaction mode: a client has a connection for the length of one transaction. */
export async function startPgbouncer(folder: string): Promise<Surroundings> {
  await using started = new AsyncDisposableStack();
  const postgres = await startPostgres({ dataDir: join(folder, 'postgres'), log: () => {} });
  started.defer(() => postgres.stop());
  const { port, username, password } = new URL(postgres.url);
  const own = join(folder, 'pgbouncer');
  mkdirSync(own);
  // PgBouncer refuses to run as root, and reads its files as somebody else.
  chmodSync(folder, READABLE);
  const listenPort = await findFreePort();
  const users = join(own, 'users.txt');
  const settings = join(own, 'pgbouncer.ini');
  writeFileSync(users, `"${username}" "${password}"\n`);
  writeFileSync(
    settings,
    [
      '[databases]',
      `* = host=127.0.0.1 port=${port} user=${username} password=${password}`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${listenPort}`,
      'unix_socket_dir =',
      'auth_type = trust',
      `auth_file = ${users}`,
      'pool_mode = transaction',
      `default_pool_size = ${SERVER_CONNECTIONS}`,
      'max_client_conn = 500',
      // What a connection is given at its start is not kept from one transaction to the next.
      'ignore_startup_parameters = options,extra_float_digits,statement_timeout,idle_in_transaction_session_timeout',
      '',
    ].join('\n'),
  );
  const isRoot = process.geteuid?.() === 0;
  const open = () =>
    startGuardedProcess({
      command: findProgram()!,
      args: [...(isRoot ? ['-u', 'nobody'] : []), settings],
      env: process.env,
      cwd: '/',
      ...STOP,
      output: { onLine: () => {} },
    });
  let bouncer: GuardedProcess = await open();
  started.defer(async () => void (await bouncer.stop()));
  const url = new URL(postgres.url);
  url.port = String(listenPort);
  await waitUntil('PgBouncer answers', () => answers(url.toString()), READY_LIMIT_MS);
  const all = started.move();
  return {
    databaseUrl: url.toString(),
    migrateUrl: postgres.url,
    async strike() {
      bouncer.kill('SIGKILL');
      await bouncer.exited;
    },
    async heal() {
      bouncer = await open();
    },
    stop: () => all.disposeAsync(),
  };
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}
