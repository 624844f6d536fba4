import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  createDataFolder,
  explainFolderError,
  explainFolderErrors,
  makeTemporaryFolder,
  openClaimedFolder,
} from './data-folder.ts';
import type { FolderClaim } from './folder-claim.ts';
import { findFreePort, isPortFree, LOOPBACK, portInUseError } from './free-port.ts';
import { type GuardedProcess, type ProcessExit, startGuardedProcess } from './guarded-process.ts';
import { LocalServerError } from './local-server-error.ts';
import { findOrInstallRedisServer } from './redis-program.ts';

export type RedisOptions = {
  /** Holds the data; created when missing. An ephemeral server may do without: it gets a temporary one. */
  dir?: string;
  /** Keep the data across restarts in an append-only file, synced every second. By default: unless ephemeral. */
  appendonly?: boolean;
  /** Port of 127.0.0.1; by default a free one. */
  port?: number;
  /** In Redis' notation: "256mb". By default no limit. Above it writes fail; nothing is ever evicted. */
  maxmemory?: string;
  /** Further arguments, as on Redis' command line: `['--replicaof', '127.0.0.1 7000']`. */
  more?: readonly string[];
  /** Remove the folder at the end, however this process ends. Refused for a folder that holds anything. */
  ephemeral?: boolean;
  /** Gets each line that Redis logs (warnings only), and a line for everything unusual that is done for it. */
  log: (line: string) => void;
};

export type RunningRedis = {
  url: string;
  port: number;
  dir: string;
  pid: number;
  /** Stops Redis, by force after 10 s. Resolves when it has ended; safe twice. */
  stop(): Promise<void>;
  /** Settles when Redis ends, for whatever reason. */
  exited: Promise<ProcessExit>;
};

/** With an append-only file a stop only syncs the last second of it. */
const REDIS_STOP = { stopSignal: 'SIGTERM', hardSignal: 'SIGKILL', stopTimeoutMs: 10_000 } as const;
/** The queue holds seconds of work, so its file loads in moments; a file of gigabytes is something to look at. */
const START_TIMEOUT_MS = 60_000;
const PING_INTERVAL_MS = 20;
const PING_TIMEOUT_MS = 2_000;
/** Another program may take the free port first. */
const START_TRIES_MAX = 5;
const LAST_LINES_MAX = 5;

/** Starts the machine's Redis (or Valkey) as a child process on 127.0.0.1. Throws `LocalServerError`. */
export async function startRedis(options: RedisOptions): Promise<RunningRedis> {
  const isEphemeral = options.ephemeral ?? false;
  const program = await findOrInstallRedisServer(options);
  if (options.port !== undefined && !(await isPortFree(options.port))) throw portInUseError(options.port);
  const dir = chooseFolder(options.dir, isEphemeral);
  explainFolderErrors(dir, () => createDataFolder(dir));
  const { log } = options;
  const claim = await openClaimedFolder({ folder: dir, isEphemeral, serverName: 'Redis', stop: REDIS_STOP, log });
  const clear = async () => {
    claim.release();
    if (isEphemeral) await rm(dir, { recursive: true, force: true, maxRetries: 3 });
  };
  try {
    const { server, port } = await startServer(program, dir, isEphemeral, options, claim);
    const exited = server.exited.then(async (exit) => {
      await clear();
      return exit;
    });
    const stop = async () => {
      await server.stop();
      await exited;
    };
    return { url: `redis://${LOOPBACK}:${port}`, port, dir, pid: server.identity.pid, stop, exited };
  } catch (error) {
    // What went wrong first is what matters, even when clearing up meets the same obstacle.
    await clear().catch(() => {});
    throw explainFolderError(dir, error);
  }
}

function chooseFolder(dir: string | undefined, isEphemeral: boolean): string {
  if (dir !== undefined) return resolve(dir);
  if (!isEphemeral) throw new TypeError('A Redis that is not ephemeral needs a dir.');
  return makeTemporaryFolder('redis');
}

async function startServer(
  program: string,
  dir: string,
  isEphemeral: boolean,
  options: RedisOptions,
  claim: FolderClaim,
): Promise<{ server: GuardedProcess; port: number }> {
  for (let tries = 1; ; tries += 1) {
    const port = options.port ?? (await findFreePort());
    const lines: string[] = [];
    const server = await startGuardedProcess({
      command: program,
      args: listArguments(dir, port, isEphemeral, options),
      env: process.env,
      cwd: '/',
      ...REDIS_STOP,
      output: {
        onLine: (line) => {
          lines.push(line);
          if (lines.length > LAST_LINES_MAX) lines.shift();
          options.log(line);
        },
      },
      ...(isEphemeral ? { removeFolder: dir } : {}),
    });
    claim.record({ guard: server.guard, server: server.identity });
    if (await waitUntilReady(server, port, dir)) return { server, port };
    const isPortLost = !(await isPortFree(port));
    if (isPortLost && options.port !== undefined) throw portInUseError(port);
    if (!isPortLost || tries >= START_TRIES_MAX) {
      throw new LocalServerError(
        'start_failed',
        `Redis does not start in ${dir}. Its last words:\n${lines.join('\n')}`,
      );
    }
    // The guard has removed an ephemeral folder together with the server that failed.
    createDataFolder(dir);
  }
}

function listArguments(dir: string, port: number, isEphemeral: boolean, options: RedisOptions): string[] {
  const appendonly = options.appendonly ?? !isEphemeral;
  return [
    ...['--bind', LOOPBACK, '--port', String(port), '--dir', dir, '--daemonize', 'no', '--loglevel', 'warning'],
    // An evicted key would be a lost job: writes fail instead, and the scheduler finds the work again.
    ...['--maxmemory', options.maxmemory ?? '0', '--maxmemory-policy', 'noeviction'],
    ...['--appendonly', appendonly ? 'yes' : 'no'],
    // Snapshots fork the process; the append-only file alone says more, and what is ephemeral needs neither.
    ...(isEphemeral || appendonly ? ['--save', ''] : []),
    ...(options.more ?? []),
  ];
}

/** Resolves to true when Redis answers, to false when it has ended; throws when neither happens in time. */
async function waitUntilReady(server: GuardedProcess, port: number, dir: string): Promise<boolean> {
  let hasEnded = false;
  void server.exited.then(() => {
    hasEnded = true;
  });
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!hasEnded) {
    if (await answersPing(port)) return true;
    if (performance.now() > deadline) {
      await server.stop();
      const message = `Redis was not ready after ${START_TIMEOUT_MS / 1000} s in ${dir}: look at its log, then start again.`;
      throw new LocalServerError('start_timed_out', message, { isRetryable: true });
    }
    await sleep(PING_INTERVAL_MS);
  }
  return false;
}

/** While it loads its file, Redis answers with an error. */
function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: LOOPBACK, port, timeout: PING_TIMEOUT_MS }, () => socket.write('PING\r\n'));
    const finish = (isReady: boolean) => {
      socket.destroy();
      resolve(isReady);
    };
    socket.once('data', (answer) => finish(answer.toString().startsWith('+PONG')));
    for (const event of ['error', 'timeout', 'close']) socket.once(event, () => finish(false));
  });
}
