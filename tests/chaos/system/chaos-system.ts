import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  findFreePort,
  listNodeEnvironment,
  startGuardedProcess,
  startPostgres,
  startRedis,
} from '@punctual/local-servers';
import { Redis } from 'ioredis';
import pg from 'pg';
import type { Tweaks } from '../preload/tweaks.ts';
import { type Link, openLink } from './link.ts';
import { ManagedServer, type Server } from './managed-server.ts';
import { ManagedService, ROLES, type Role } from './managed-service.ts';
import type { Surroundings } from './surroundings.ts';

export interface SystemOptions {
  /** Processes of each kind. */
  api: number;
  scheduler: number;
  worker: number;
  /** Whether Redis keeps its data when it is restarted. */
  isRedisPersistent: boolean;
  /** Of Postgres, stronger than the defaults. */
  postgresSettings?: Record<string, string>;
  /** Of all services. */
  env?: Record<string, string>;
  tweaks?: Partial<Record<Role, Tweaks>>;
  surroundings?: Surroundings;
  random: () => number;
  log: (line: string) => void;
}

const SERVERS = ['postgres', 'redis'] as const;
/** Pairs of a service and a server that talk to each other: each has a way of its own. */
export const SERVER_LINKS = ROLES.flatMap((role) => SERVERS.map((server) => `${role}-${server}` as const));
export type ServerLink = (typeof SERVER_LINKS)[number];

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const ENTRIES: Record<Role, string> = {
  api: join(ROOT, 'services/api-service/main.ts'),
  scheduler: join(ROOT, 'services/scheduler-service/main.ts'),
  worker: join(ROOT, 'services/worker-service/main.ts'),
};
const MIGRATE = join(ROOT, 'services/standalone/migrate.ts');
const MIGRATION_TIMEOUT_MS = 30_000;

/** The real services as processes, on a Postgres and a Redis of their own, each reached by a way that can be disturbed. */
export class ChaosSystem {
  readonly folder: string;
  readonly postgres: ManagedServer;
  readonly redis: ManagedServer;
  readonly links: ReadonlyMap<ServerLink, Link>;
  readonly services: ManagedService[] = [];
  /** What `stop` takes down. */
  #started: AsyncDisposableStack | undefined;

  private constructor(
    folder: string,
    postgres: ManagedServer,
    redis: ManagedServer,
    links: ReadonlyMap<ServerLink, Link>,
  ) {
    this.folder = folder;
    this.postgres = postgres;
    this.redis = redis;
    this.links = links;
  }

  /** When a part does not start, those before it are stopped again. */
  static async start(options: SystemOptions): Promise<ChaosSystem> {
    await using started = new AsyncDisposableStack();
    const folder = mkdtempSync(join(tmpdir(), 'punctual-chaos-'));
    started.defer(() => rmSync(folder, { recursive: true, force: true }));
    mkdirSync(join(folder, 'logs'));
    const [postgres, redis] = await startServers(folder, options, started);
    const links = new Map<ServerLink, Link>();
    for (const name of SERVER_LINKS) {
      const link = await openLink([name.endsWith('postgres') ? postgres.url : redis.url], options.random);
      started.defer(() => link.close());
      links.set(name, link);
    }
    const { surroundings } = options;
    const migrateUrl = surroundings?.migrateUrl ?? surroundings?.databaseUrl ?? postgres.url;
    await migrate(migrateUrl, surroundings?.redisUrl ?? redis.url);
    const system = new ChaosSystem(folder, postgres, redis, links);
    started.defer(() => system.#stopServices());
    const starts = ROLES.flatMap((role) =>
      Array.from({ length: options[role] }, (_, index) => system.#startService(role, index + 1, options)),
    );
    for (const start of await Promise.allSettled(starts)) if (start.status === 'rejected') throw start.reason;
    system.#started = started.move();
    return system;
  }

  async #startService(role: Role, number: number, { env, tweaks, surroundings, log }: SystemOptions): Promise<void> {
    const name = `${role}-${number}`;
    const service = await ManagedService.start({
      name,
      role,
      entry: ENTRIES[role],
      env: {
        ...listNodeEnvironment(),
        HOST: '127.0.0.1',
        AUTH: 'off',
        EGRESS_ALLOW: '127.0.0.0/8',
        ...env,
        DATABASE_URL: surroundings?.databaseUrl ?? this.links.get(`${role}-postgres`)!.urls[0],
        REDIS_URL: surroundings?.redisUrl ?? this.links.get(`${role}-redis`)!.urls[0],
      },
      logFile: join(this.folder, 'logs', `${name}.log`),
      tweaks: tweaks?.[role],
      log,
    });
    this.services.push(service);
  }

  get apiUrls(): string[] {
    return this.listServices('api').map(({ url }) => url);
  }

  listServices(role?: Role): ManagedService[] {
    return this.services.filter((service) => role === undefined || service.role === role);
  }

  /** Asks Postgres directly, past all disturbance. */
  async queryPostgres(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: this.postgres.url, application_name: 'chaos' });
    await client.connect();
    try {
      return (await client.query(text, values)).rows;
    } finally {
      await client.end();
    }
  }

  /** Asks Redis directly. */
  async callRedis(command: string, ...args: string[]): Promise<unknown> {
    const client = new Redis(this.redis.url, { maxRetriesPerRequest: 1, retryStrategy: () => null });
    try {
      return await client.call(command, ...args);
    } finally {
      client.disconnect();
    }
  }

  /** Bytes that all services logged so far. */
  get loggedBytes(): number {
    return this.services.reduce((sum, { loggedBytes }) => sum + loggedBytes, 0);
  }

  /** Safe twice. */
  async stop(): Promise<void> {
    await this.#started?.disposeAsync();
  }

  async #stopServices(): Promise<void> {
    await Promise.all(this.services.map((service) => service.stop()));
  }
}

async function startServers(
  folder: string,
  options: SystemOptions,
  started: AsyncDisposableStack,
): Promise<[postgres: ManagedServer, redis: ManagedServer]> {
  const [postgresPort, redisPort] = [await findFreePort(), await findFreePort()];
  const start = async (open: () => Promise<Server>) => {
    const server = await ManagedServer.start(open);
    started.defer(() => server.stop());
    return server;
  };
  const openPostgres = () =>
    startPostgres({
      dataDir: options.surroundings?.postgresFolder ?? join(folder, 'postgres'),
      port: postgresPort,
      settings: options.postgresSettings ?? {},
      log: () => {},
    });
  const openRedis = () =>
    startRedis({
      dir: join(folder, 'redis'),
      appendonly: options.isRedisPersistent,
      port: redisPort,
      log: () => {},
    });
  return [await start(openPostgres), await start(openRedis)];
}

async function migrate(databaseUrl: string, redisUrl: string): Promise<void> {
  const lines: string[] = [];
  const migration = await startGuardedProcess({
    command: process.execPath,
    args: [MIGRATE],
    env: { ...listNodeEnvironment(), DATABASE_URL: databaseUrl, REDIS_URL: redisUrl },
    cwd: ROOT,
    stopSignal: 'SIGTERM',
    hardSignal: 'SIGKILL',
    stopTimeoutMs: MIGRATION_TIMEOUT_MS,
    output: { onLine: (line) => lines.push(line) },
  });
  if ((await migration.exited).code !== 0) throw new Error(`the database could not be migrated:\n${lines.join('\n')}`);
}
