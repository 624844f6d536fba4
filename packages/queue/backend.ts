import { createPostgresBackend, Queue, type QueueOptions, Worker, type WorkerOptions, withBackend } from 'bullmq';
import { QUEUE_SCHEMA, REDIS_PREFIX_DEFAULT } from './names.ts';

/** Where the queue lives: in Redis when there is a URL for one, else in Postgres. */
export interface QueueConnection {
  redisUrl?: string | undefined;
  /** Before the queue's keys in Redis; tests have one each. */
  redisPrefix?: string | undefined;
  databaseUrl: string;
  /** The Postgres schema that stands for the prefix where there is no Redis. */
  schema?: string | undefined;
}

export type BackendName = 'redis' | 'postgres';

/** Reconnect soon and for ever: deliveries wait for it. */
const RECONNECT_PAUSE_MAX_MS = 1_000;
/** A dispatch that got no answer in this time is taken for lost, and repeated later. */
const COMMAND_TIMEOUT_MS = 5_000;
/** Connections of BullMQ's Postgres backend in one process, besides the one that listens. */
const POSTGRES_POOL_SIZE = 4;

export function nameBackend(connection: QueueConnection): BackendName {
  return connection.redisUrl ? 'redis' : 'postgres';
}

function redisOptions(url: string) {
  return { url, retryStrategy: (times: number) => Math.min(times * 100, RECONNECT_PAUSE_MAX_MS) };
}

function postgresOptions(connection: QueueConnection) {
  return {
    connectionString: connection.databaseUrl,
    schema: connection.schema ?? QUEUE_SCHEMA,
    max: POSTGRES_POOL_SIZE,
    connectionTimeoutMillis: COMMAND_TIMEOUT_MS,
  };
}

/** Opens the sending side of a queue. It fails fast while the backend is away, rather than hold hints in memory. */
export function openQueue(name: string, connection: QueueConnection): Queue {
  const options: Omit<QueueOptions, 'connection'> = {
    defaultJobOptions: { removeOnComplete: true, removeOnFail: 100, attempts: 1 },
  };
  if (connection.redisUrl) {
    return new Queue(name, {
      ...options,
      prefix: connection.redisPrefix ?? REDIS_PREFIX_DEFAULT,
      connection: {
        ...redisOptions(connection.redisUrl),
        enableOfflineQueue: false,
        maxRetriesPerRequest: 0,
        commandTimeout: COMMAND_TIMEOUT_MS,
      },
    });
  }
  const bound = withBackend(createPostgresBackend);
  return new bound.Queue(name, { ...options, connection: postgresOptions(connection) }) as unknown as Queue;
}

/** Opens the receiving side; it begins with `run()`. */
export function openWorker(
  name: string,
  connection: QueueConnection,
  process: (data: unknown) => Promise<void>,
  concurrency: number,
): Worker {
  const options: Omit<WorkerOptions, 'connection'> = {
    concurrency,
    autorun: false,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 100 },
    // A chunk is started within milliseconds; one that is not done in this time lost its worker.
    lockDuration: 10_000,
    stalledInterval: 5_000,
    // After a failed fetch. BullMQ's own 15 s would delay deliveries that long after every short outage.
    runRetryDelay: 500,
    drainDelay: 5,
  };
  if (connection.redisUrl) {
    return new Worker(name, (job) => process(job.data), {
      ...options,
      prefix: connection.redisPrefix ?? REDIS_PREFIX_DEFAULT,
      connection: { ...redisOptions(connection.redisUrl), maxRetriesPerRequest: null },
    });
  }
  const bound = withBackend(createPostgresBackend);
  return new bound.Worker(name, (job: { data: unknown }) => process(job.data), {
    ...options,
    connection: postgresOptions(connection),
  }) as unknown as Worker;
}

/** Creates or upgrades BullMQ's own tables, where the queue lives in Postgres. With Redis there is nothing to do. */
export async function migrateQueue(connection: QueueConnection): Promise<void> {
  if (connection.redisUrl) return;
  const bound = withBackend(createPostgresBackend);
  const queue = new bound.Queue('migration', { connection: { ...postgresOptions(connection), migrate: true } });
  try {
    await queue.waitUntilReady();
  } finally {
    await queue.close();
  }
}
