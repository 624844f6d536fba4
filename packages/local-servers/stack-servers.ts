import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import type { ProcessExit } from './guarded-process.ts';
import { startPostgres } from './postgres.ts';
import { startRedis } from './redis.ts';
import { describeExit } from './service-process.ts';

export type StackServer = { name: string; pid: number; url: string; logFile: string };

export type StackServers = {
  databaseUrl: string;
  redisUrl: string | undefined;
  /** Those that were started here; not those that were given. */
  started: StackServer[];
  stop(): Promise<void>;
};

type LocalServer = { pid: number; url: string; exited: Promise<ProcessExit>; stop(): Promise<void> };

/** Starts the Postgres and the Redis that are not given, with their data in `folder` and their logs in its `logs`. */
export async function startStackServers(options: {
  folder: string;
  isEphemeral: boolean;
  databaseUrl?: string;
  redisUrl?: string | null;
  postgresSettings?: Record<string, string>;
  log: (line: string) => void;
}): Promise<StackServers> {
  const { folder, isEphemeral } = options;
  const started: StackServer[] = [];
  const stops: (() => Promise<void>)[] = [];
  const start = async (name: string, startServer: (log: (line: string) => void) => Promise<LocalServer>) => {
    const logFile = join(folder, 'logs', `${name}.log`);
    const file = createWriteStream(logFile);
    // A full disk must not end the stack by way of its log.
    file.on('error', () => {});
    const server = await startServer((line) => file.write(`${line}\n`));
    let isStopping = false;
    stops.push(() => {
      isStopping = true;
      return server.stop();
    });
    void server.exited.then((exit) => {
      file.end();
      if (!isStopping)
        options.log(`${name} (process ${server.pid}) ended with ${describeExit(exit)}; its log: ${logFile}`);
    });
    started.push({ name, pid: server.pid, url: server.url, logFile });
    return server.url;
  };
  const stop = async () => {
    await Promise.all(stops.map((stopServer) => stopServer()));
  };
  const startLocalPostgres = () =>
    start('postgres', (log) =>
      startPostgres({
        dataDir: join(folder, 'postgres'),
        ephemeral: isEphemeral,
        settings: options.postgresSettings ?? {},
        log,
      }),
    );
  const startLocalRedis = () =>
    start('redis', (log) => startRedis({ dir: join(folder, 'redis'), ephemeral: isEphemeral, log }));
  try {
    const databaseUrl = options.databaseUrl ?? (await startLocalPostgres());
    const redisUrl = options.redisUrl === null ? undefined : (options.redisUrl ?? (await startLocalRedis()));
    return { databaseUrl, redisUrl, started, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
