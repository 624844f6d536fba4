import { join, resolve } from 'node:path';
import { type RunningApi, startApi } from '@punctual/api-service';
import { migrateUp } from '@punctual/database';
import { keepEncryptionKeys, makeEncryptionKeys, type RunningPostgres, startPostgres } from '@punctual/local-servers';
import { ChunkQueue, migrateQueue } from '@punctual/queue';
import { createMetrics, Health, type Logger, VERSION } from '@punctual/runtime';
import { type RunningScheduler, startScheduler } from '@punctual/scheduler-service';
import { type RunningWorker, startWorker } from '@punctual/worker-service';
import { completeEnvironment, readServiceConfigs, readStandaloneConfig } from './config.ts';
import { removeConnectionFile, writeConnectionFile } from './connection-file.ts';
import { PostgresLog } from './postgres-log.ts';

export interface StandaloneOptions {
  environment: Readonly<Record<string, string | undefined>>;
  /** Keep nothing: the embedded Postgres gets a temporary folder, which is removed at the end. */
  isEphemeral: boolean;
  logger: Logger;
  /** One plain sentence on what is being done, for the person who waits. */
  onProgress: (sentence: string) => void;
}

export interface RunningStandalone {
  url: string;
  /** Where the data is: a folder, the customer's own Postgres, or nowhere that lasts. */
  data: { kind: 'folder'; path: string } | { kind: 'database' } | { kind: 'ephemeral' };
  /** Rejects when something that everything depends on ended by itself: the embedded Postgres. */
  broken: Promise<never>;
  /** Drains api, scheduler and worker in this order, then stops the embedded Postgres. */
  stop(): Promise<void>;
}

/**
 * Runs all of Punctual in this process, with an embedded Postgres unless DATABASE_URL names one, and BullMQ on that
 * Postgres unless REDIS_URL names a Redis. Rejects with a sentence to show, everything stopped again.
 */
export async function startStandalone(options: StandaloneOptions): Promise<RunningStandalone> {
  const { isEphemeral, logger, onProgress } = options;
  const environment = completeEnvironment(options.environment);
  const config = readStandaloneConfig(environment);
  // Faults in settings are told before anything is started.
  readServiceConfigs(environment, config.DATABASE_URL ?? 'postgres://');

  const stops: (() => Promise<void>)[] = [];
  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= (async () => {
      for (const stopOne of stops.toReversed()) await stopOne();
    })();
    return stopping;
  };
  try {
    const dataDir = resolve(config.PUNCTUAL_DATA_DIR);
    let postgres: RunningPostgres | undefined;
    if (!config.DATABASE_URL) {
      onProgress(isEphemeral ? 'Starting Postgres in a temporary folder …' : `Starting Postgres in ${dataDir} …`);
      postgres = await startEmbeddedPostgres(dataDir, isEphemeral, stops);
    }
    const databaseUrl = config.DATABASE_URL ?? postgres!.url;
    // Kept beside the embedded data, and lost only together with it. Beside nothing but a DATABASE_URL a key of our own would
    // be lost with the container, and all secrets with it: there it has to be set.
    const chooseKeys = () => (isEphemeral ? makeEncryptionKeys() : keepEncryptionKeys(dataDir));
    const ENCRYPTION_KEYS = environment.ENCRYPTION_KEYS ?? (postgres && chooseKeys());
    const configs = readServiceConfigs({ ...environment, ENCRYPTION_KEYS }, databaseUrl);
    const redisUrl = configs.scheduler.REDIS_URL;
    onProgress('Preparing the database …');
    await migrateUp(databaseUrl, { partitionCount: config.PARTITION_COUNT });
    await migrateQueue({ databaseUrl, redisUrl });

    onProgress('Starting api, scheduler and worker …');
    const { REDIS_PREFIX: redisPrefix, QUEUE_COUNT: queueCount } = configs.scheduler;
    const queue = new ChunkQueue({ databaseUrl, redisUrl, redisPrefix, queueCount }, (error) =>
      logger.debug({ err: error }, 'the queue is away'),
    );
    stops.push(() => queue.close());
    const shared = { registry: createMetrics('standalone'), health: new Health(VERSION) };
    // The api is the door: it opens last, and since the order of stopping is the reverse, closes first.
    const worker: RunningWorker = await startWorker({ config: configs.worker, logger, shared });
    stops.push(() => worker.stop());
    const scheduler: RunningScheduler = await startScheduler({ config: configs.scheduler, logger, shared });
    stops.push(() => scheduler.stop());
    const api: RunningApi = await startApi({
      config: configs.api,
      logger,
      shared,
      readQueues: () => queue.listFigures(),
    });
    stops.push(() => api.stop());
    const broken = postgres
      ? postgres.exited.then(
          (): Promise<never> =>
            stopping ? new Promise(() => {}) : Promise.reject(new Error('The embedded Postgres ended by itself.')),
        )
      : new Promise<never>(() => {});
    return {
      url: api.url,
      data: config.DATABASE_URL
        ? { kind: 'database' }
        : isEphemeral
          ? { kind: 'ephemeral' }
          : { kind: 'folder', path: dataDir },
      broken,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startEmbeddedPostgres(
  dataDir: string,
  isEphemeral: boolean,
  stops: (() => Promise<void>)[],
): Promise<RunningPostgres> {
  if (isEphemeral) {
    const postgres = await startPostgres({ ephemeral: true, log: () => {} });
    stops.push(() => postgres.stop());
    return postgres;
  }
  const log = new PostgresLog();
  const postgres = await startPostgres({ dataDir: join(dataDir, 'postgres'), log: log.write });
  stops.push(async () => {
    await postgres.stop();
    await removeConnectionFile(dataDir);
    await log.close();
  });
  log.open(join(dataDir, 'postgres.log'));
  await writeConnectionFile(dataDir, postgres.url);
  return postgres;
}
