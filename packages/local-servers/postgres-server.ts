import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import type { FolderClaim } from './folder-claim.ts';
import { findFreePort, isPortFree, LOOPBACK, portInUseError } from './free-port.ts';
import { type GuardedProcess, startGuardedProcess } from './guarded-process.ts';
import { LocalServerError, systemErrorCode } from './local-server-error.ts';
import type { PostgresBinaries } from './postgres-binaries.ts';
import { createDatabase, withDatabase } from './postgres-database.ts';
import { clusterPath, POSTGRES_ENV, postmasterPath, ROLE, readPassword } from './postgres-folder.ts';
import { DEFAULT_SETTINGS } from './postgres-settings.ts';
import type { RunAs } from './unprivileged-user.ts';

export type ClusterStartOptions = {
  dataDir: string;
  port?: number;
  settings?: Record<string, string>;
  log: (line: string) => void;
  binaries: PostgresBinaries;
  runAs: RunAs;
  claim: FolderClaim;
  isEphemeral: boolean;
};

/**
 * SIGINT is a fast shutdown, which ends with a checkpoint: seconds on any disk that can hold the load.
 * SIGQUIT is an immediate one, after which the next start recovers.
 */
export const POSTGRES_STOP = { stopSignal: 'SIGINT', hardSignal: 'SIGQUIT', stopTimeoutMs: 30_000 } as const;
/** Recovery after a crash reads at most `max_wal_size` (2 GB), which a slow disk does in a minute or two. */
const START_TIMEOUT_MS = 300_000;
/** From here on a person is told why it takes so long. */
const SLOW_START_MS = 5_000;
const CONNECT_INTERVAL_MS = 25;
/** Another program may take the free port first, and the children of a server that was killed may need a moment to end. */
const START_TRIES_MAX = 5;
const START_RETRY_WAIT_MS = 500;
const LAST_LINES_MAX = 5;
const DATABASE = 'punctual';
/** The server is there but not ready: starting up, recovering, or shutting down. */
const CANNOT_CONNECT_NOW = '57P03';
const INVALID_PASSWORD = '28P01';

/** Starts Postgres on a complete cluster and resolves when it serves the database `punctual`. */
export async function startOnCluster(
  options: ClusterStartOptions,
): Promise<{ server: GuardedProcess; url: string; port: number }> {
  const password = readPassword(options.dataDir);
  for (let tries = 1; ; tries += 1) {
    // A pid file shows that the last server did not end by itself, so something of it may still hold its memory.
    const wasKilled = existsSync(postmasterPath(options.dataDir));
    const port = options.port ?? (await findFreePort());
    const lines: string[] = [];
    const server = await spawnServer(options, port, (line) => {
      lines.push(line);
      if (lines.length > LAST_LINES_MAX) lines.shift();
      options.log(line);
    });
    const url = `postgres://${ROLE}:${password}@${LOOPBACK}:${port}/${DATABASE}`;
    try {
      if (await waitUntilReady(server, url, options)) return { server, url, port };
    } catch (error) {
      await server.stop();
      throw error;
    }
    const isPortLost = !(await isPortFree(port));
    // An ephemeral folder is gone with the server that failed: the caller makes a new one.
    if (isPortLost && (options.port !== undefined || options.isEphemeral)) throw portInUseError(port);
    if (tries >= START_TRIES_MAX || (!isPortLost && !wasKilled)) {
      throw new LocalServerError(
        'start_failed',
        `Postgres does not start in ${options.dataDir}. Its last words:\n${lines.join('\n')}`,
      );
    }
    await sleep(START_RETRY_WAIT_MS);
  }
}

async function spawnServer(
  options: ClusterStartOptions,
  port: number,
  onLine: (line: string) => void,
): Promise<GuardedProcess> {
  const settings: Record<string, string> = {
    ...DEFAULT_SETTINGS,
    ...options.settings,
    port: String(port),
    listen_addresses: LOOPBACK,
    // A socket's path may have 107 bytes only, which a deep checkout exceeds; and a password guards the port.
    unix_socket_directories: '',
  };
  const { binaries, runAs, dataDir } = options;
  const [command = binaries.postgres, ...args] = [...runAs.prefix, binaries.postgres, '-D', clusterPath(dataDir)];
  for (const [name, value] of Object.entries(settings)) args.push('-c', `${name}=${value}`);
  const server = await startGuardedProcess({
    command,
    args,
    env: POSTGRES_ENV,
    cwd: '/',
    ...POSTGRES_STOP,
    output: { onLine },
    ...(options.isEphemeral ? { removeFolder: dataDir } : {}),
    ...(runAs.user === undefined ? {} : { user: runAs.user }),
  });
  options.claim.record({ guard: server.guard, server: server.identity });
  return server;
}

/** Resolves to true when the server answers, to false when it has ended; throws when neither happens in time. */
async function waitUntilReady(server: GuardedProcess, url: string, options: ClusterStartOptions): Promise<boolean> {
  let hasEnded = false;
  void server.exited.then(() => {
    hasEnded = true;
  });
  const begin = performance.now();
  let isSlowStartLogged = false;
  while (!hasEnded) {
    if (isSaidReady(options.dataDir) && (await connects(url, options.dataDir))) return true;
    const waitedMs = performance.now() - begin;
    if (waitedMs > START_TIMEOUT_MS) {
      const message = `Postgres was not ready after ${START_TIMEOUT_MS / 1000} s in ${options.dataDir}: look at its log, then start again.`;
      throw new LocalServerError('start_timed_out', message, { isRetryable: true });
    }
    if (waitedMs > SLOW_START_MS && !isSlowStartLogged) {
      options.log('Postgres did not end in good order last time and repeats its log: this can take minutes.');
      isSlowStartLogged = true;
    }
    await sleep(CONNECT_INTERVAL_MS);
  }
  return false;
}

/** By the server's own account; connecting earlier would fill its log. After a crash the account is the last server's. */
function isSaidReady(dataDir: string): boolean {
  try {
    return /^ready\s*$/m.test(readFileSync(postmasterPath(dataDir), 'utf8'));
  } catch {
    return false;
  }
}

/** Makes sure that our database exists. False when the server cannot be reached yet. */
async function connects(url: string, dataDir: string): Promise<boolean> {
  const client = new Client({ connectionString: withDatabase(url, 'postgres') });
  // A connection that breaks while it is idle must not end the process.
  client.on('error', () => {});
  try {
    await client.connect();
    const found = await client.query('select 1 from pg_database where datname = $1', [DATABASE]);
    if (found.rowCount === 0) await createDatabase(url, DATABASE);
    return true;
  } catch (cause) {
    const code = systemErrorCode(cause);
    if (code === INVALID_PASSWORD) {
      const message = `The password kept in ${dataDir} is not the one of its database: restore the folder from a backup.`;
      throw new LocalServerError('not_a_data_folder', message, { cause });
    }
    // Refused or reset connections have a system error, or none at all when the server closed an open one.
    if (code === undefined || code === CANNOT_CONNECT_NOW || code.startsWith('E')) return false;
    throw cause;
  } finally {
    await client.end().catch(() => {});
  }
}
