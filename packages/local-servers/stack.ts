import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createDataFolder, explainFolderErrors, listContent, makeTemporaryFolder } from './data-folder.ts';
import { keepEncryptionKeys, makeEncryptionKeys } from './encryption-key-file.ts';
import { claimFolder, type FolderClaim } from './folder-claim.ts';
import { startGuardedProcess } from './guarded-process.ts';
import { LocalServerError } from './local-server-error.ts';
import { describeExit, type RunningService, startService } from './service-process.ts';
import { type StackServer, type StackServers, startStackServers } from './stack-servers.ts';

export type ServiceKind = 'api' | 'scheduler' | 'worker';

export type StackOptions = {
  /** How many processes of each service, 0 to 32; 1 when absent. */
  api?: number;
  scheduler?: number;
  worker?: number;
  /** Port of the first api process; by default it gets a free one, as all the others do. */
  apiPort?: number;
  /** Given to every service, stronger than our own environment and the defaults (no API keys, targets may be local). */
  env?: NodeJS.ProcessEnv;
  /** Given to the services of one kind, stronger than `env`. */
  envOf?: Partial<Record<ServiceKind, NodeJS.ProcessEnv>>;
  /** Absent: a local Postgres is started. */
  databaseUrl?: string;
  /** Absent: a local Redis is started. `null`: the services get none, and keep their queue in Postgres. */
  redisUrl?: string | null;
  /** Settings of the local Postgres, stronger than the defaults. */
  postgresSettings?: Record<string, string>;
  /** Holds data and logs. An ephemeral stack may do without: it gets a temporary one. */
  folder?: string;
  /** Throw away data and logs at the end. Refused for a folder that holds anything. */
  ephemeral?: boolean;
  /** Gets a line when something ends by itself, and for whatever unusual is done. */
  log: (line: string) => void;
  /** Send the services' output to `log`, the service's name before each line, and not to files. */
  verbose?: boolean;
  /** Other programs in place of the services and the migration. */
  entries?: Partial<Record<ServiceKind | 'migrate', string>>;
};

export type RunningStack = {
  apiUrls: string[];
  /** Every service started so far, those that have ended included. */
  processes: RunningService[];
  databaseUrl: string;
  redisUrl: string | undefined;
  /** The Postgres and the Redis that were started here. */
  servers: StackServer[];
  folder: string;
  /** Starts one more service of a kind, of another program if told, and resolves when it is ready. */
  add(kind: ServiceKind, entry?: string): Promise<RunningService>;
  /** Stops the services, all at the same time, and then the servers. Safe twice. */
  stop(): Promise<void>;
};

const KINDS: readonly ServiceKind[] = ['api', 'scheduler', 'worker'];
/** Far more than a machine has cores; each takes some 60 MB and its share of the database's 200 connections. */
const SERVICES_MAX = 32;
/** After this a migration that is asked to stop is killed, and Postgres rolls it back. */
const MIGRATION_STOP_TIMEOUT_MS = 10_000;
const LAST_LINES_MAX = 20;

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const ENTRIES: Record<ServiceKind | 'migrate', string> = {
  api: join(ROOT, 'services/api-service/main.ts'),
  scheduler: join(ROOT, 'services/scheduler-service/main.ts'),
  worker: join(ROOT, 'services/worker-service/main.ts'),
  migrate: join(ROOT, 'services/standalone/migrate.ts'),
};

/** A stack listens on loopback alone, so it needs no keys and may call servers of this machine. */
const DEFAULT_ENV = { AUTH: 'off', EGRESS_ALLOW: '127.0.0.0/8,::1/128' };

/**
 * Starts every part of Punctual on this machine, each service in processes of its own, on a migrated database.
 * Everything ends with this process, however that ends. Throws `LocalServerError`, having stopped what it had started.
 */
export async function startStack(options: StackOptions): Promise<RunningStack> {
  const isEphemeral = options.ephemeral ?? false;
  for (const kind of KINDS) checkCount(kind, options[kind]);
  const { folder, claim } = openFolder(options.folder, isEphemeral);
  const close = async () => {
    claim.release();
    if (isEphemeral) await rm(folder, { recursive: true, force: true });
  };
  const servers = await startStackServers({ ...options, folder, isEphemeral }).catch(async (error: unknown) => {
    await close();
    throw error;
  });
  const { databaseUrl, redisUrl } = servers;
  const processes: RunningService[] = [];
  const counts = { api: 0, scheduler: 0, worker: 0 };
  let encryptionKeys = '';
  let stopped: Promise<void> | undefined;

  const stop = () => {
    stopped ??= (async () => {
      await Promise.all(processes.map((service) => service.stop()));
      await servers.stop();
      await close();
    })();
    return stopped;
  };
  const add = async (kind: ServiceKind, entry = options.entries?.[kind] ?? ENTRIES[kind]) => {
    counts[kind] += 1;
    const service = await startNumbered(options, { servers, folder, encryptionKeys }, kind, counts[kind], entry);
    processes.push(service);
    // Asked to stop while this one was starting: nobody else would stop it.
    if (stopped !== undefined) await service.stop();
    return service;
  };
  try {
    const chooseKeys = () => (isEphemeral ? makeEncryptionKeys() : keepEncryptionKeys(folder));
    // Api and workers need the same keys. Set but empty: none.
    encryptionKeys = options.env?.ENCRYPTION_KEYS ?? process.env.ENCRYPTION_KEYS ?? chooseKeys();
    // Whether there is a Redis decides where the queue lives, and so whether Postgres needs tables for it.
    await migrate(options.entries?.migrate ?? ENTRIES.migrate, {
      ...process.env,
      ...options.env,
      DATABASE_URL: databaseUrl,
      REDIS_URL: redisUrl,
    });
    const starts = KINDS.flatMap((kind) => Array.from({ length: options[kind] ?? 1 }, () => add(kind)));
    for (const result of await Promise.allSettled(starts)) if (result.status === 'rejected') throw result.reason;
  } catch (error) {
    await stop();
    throw error;
  }
  const apiUrls = processes.filter(({ name }) => name.startsWith('api-')).map(({ url }) => url);
  return { apiUrls, processes, databaseUrl, redisUrl, servers: servers.started, folder, add, stop };
}

function checkCount(kind: ServiceKind, count: number | undefined): void {
  if (count === undefined || (Number.isInteger(count) && count >= 0 && count <= SERVICES_MAX)) return;
  throw new RangeError(`The number of ${kind} processes must be a whole number from 0 to ${SERVICES_MAX}.`);
}

function openFolder(wanted: string | undefined, isEphemeral: boolean): { folder: string; claim: FolderClaim } {
  if (wanted === undefined && !isEphemeral) throw new TypeError('A stack that is not ephemeral needs a folder.');
  const folder = wanted === undefined ? makeTemporaryFolder('stack') : resolve(wanted);
  return explainFolderErrors(folder, () => {
    createDataFolder(folder);
    if (isEphemeral && listContent(folder).length > 0) {
      const message = `The folder ${folder} is not empty, and an ephemeral stack would remove it at its end: choose another.`;
      throw new LocalServerError('folder_not_empty', message);
    }
    const claim = claimFolder(folder);
    createDataFolder(join(folder, 'logs'));
    return { folder, claim };
  });
}

function startNumbered(
  options: StackOptions,
  { servers, folder, encryptionKeys }: { servers: StackServers; folder: string; encryptionKeys: string },
  kind: ServiceKind,
  number: number,
  entry: string,
): Promise<RunningService> {
  const name = `${kind}-${number}`;
  return startService({
    name,
    entry,
    env: {
      ...DEFAULT_ENV,
      ...process.env,
      // Some shells export the machine's own name under HOST.
      HOST: '127.0.0.1',
      ENCRYPTION_KEYS: encryptionKeys,
      ...options.env,
      ...options.envOf?.[kind],
      DATABASE_URL: servers.databaseUrl,
      REDIS_URL: servers.redisUrl,
    },
    ...(kind === 'api' && number === 1 && options.apiPort !== undefined ? { port: options.apiPort } : {}),
    logFile: join(folder, 'logs', `${name}.log`),
    ...(options.verbose === true ? { onLine: (line: string) => options.log(`${name} | ${line}`) } : {}),
    log: options.log,
  });
}

async function migrate(entry: string, env: NodeJS.ProcessEnv): Promise<void> {
  const lines: string[] = [];
  const migration = await startGuardedProcess({
    command: process.execPath,
    args: [entry],
    env,
    cwd: process.cwd(),
    stopSignal: 'SIGTERM',
    hardSignal: 'SIGKILL',
    stopTimeoutMs: MIGRATION_STOP_TIMEOUT_MS,
    output: { onLine: (line) => lines.push(line) },
  });
  const exit = await migration.exited;
  if (exit.code === 0) return;
  const last = lines.slice(-LAST_LINES_MAX).join('\n');
  throw new LocalServerError(
    'migration_failed',
    `The database could not be migrated (${describeExit(exit)}):\n${last}`,
  );
}
