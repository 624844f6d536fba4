import {
  createPostgresBackend,
  Queue,
  type QueueOptions,
  WaitingError,
  Worker,
  type WorkerOptions,
  withBackend,
} from 'bullmq';
import pg from 'pg';
import { nameChunkQueue, QUEUE_CONNECTION_NAME, QUEUE_SCHEMA, REDIS_PREFIX_DEFAULT } from './names.ts';
import { openRedis } from './redis-clients.ts';

/** Where the queue lives: in Redis when there is a URL for one, else in Postgres. */
export interface QueueConnection {
  redisUrl?: string | undefined;
  /** Before the queue's keys in Redis; tests have one each. */
  redisPrefix?: string | undefined;
  /** How many queues share the chunks; 1 when absent. Each is one slot of a Redis Cluster. */
  queueCount?: number | undefined;
  databaseUrl: string;
  /** The Postgres schema that stands for the prefix where there is no Redis. */
  schema?: string | undefined;
  /** What its connections are called; QUEUE_CONNECTION_NAME when absent. */
  connectionName?: string | undefined;
}

export type BackendName = 'redis' | 'postgres';

/** A dispatch that got no answer in this time is taken for lost, and repeated later. */
const COMMAND_TIMEOUT_MS = 5_000;
/** Connections of BullMQ's Postgres backend in one process, besides the one that listens. */
const POSTGRES_POOL_SIZE = 4;

export function nameBackend(connection: QueueConnection): BackendName {
  return connection.redisUrl ? 'redis' : 'postgres';
}

/** Of all queues that share the chunks. */
export function listQueueNames({ queueCount = 1 }: QueueConnection): string[] {
  return Array.from({ length: queueCount }, (_, index) => nameChunkQueue(index));
}

function nameConnections({ connectionName = QUEUE_CONNECTION_NAME }: QueueConnection): string {
  return connectionName;
}

/** BullMQ listens for no errors of the connection by which it looks at its tables first, and one that broke would end the process. */
class QueueClient extends pg.Client {
  constructor(config?: pg.ClientConfig) {
    super(config);
    this.on('error', () => {});
  }
}

function postgresOptions(connection: QueueConnection) {
  return {
    connectionString: connection.databaseUrl,
    application_name: nameConnections(connection),
    schema: connection.schema ?? QUEUE_SCHEMA,
    max: POSTGRES_POOL_SIZE,
    Client: QueueClient,
    connectionTimeoutMillis: COMMAND_TIMEOUT_MS,
  };
}

/** BullMQ's queue, and what closes the connections that it does not own. */
export interface OpenedQueue {
  queue: Queue;
  disconnect(): void;
}

/** Opens the sending side of a queue. It fails fast while the backend is away, rather than hold hints in memory. */
export function openQueue(name: string, connection: QueueConnection): OpenedQueue {
  const options: Omit<QueueOptions, 'connection'> = {
    defaultJobOptions: { removeOnComplete: true, removeOnFail: 100, attempts: 1 },
  };
  if (connection.redisUrl) {
    const { client, disconnect } = openRedis(connection.redisUrl, {
      connectionName: nameConnections(connection),
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      commandTimeout: COMMAND_TIMEOUT_MS,
    });
    const prefix = connection.redisPrefix ?? REDIS_PREFIX_DEFAULT;
    return { queue: new Queue(name, { ...options, prefix, connection: client }), disconnect };
  }
  const bound = withBackend(createPostgresBackend);
  const queue = new bound.Queue(name, { ...options, connection: postgresOptions(connection) });
  return { queue: queue as unknown as Queue, disconnect: () => {} };
}

/** What a job's processing came to; `left`: it goes back to the queue, for another worker to take. */
export type Processed = 'done' | 'left';

/** What is used of a BullMQ job. */
interface ReceivedJob {
  data: unknown;
  opts: { lifo?: boolean | undefined };
  moveToWait(token?: string): Promise<unknown>;
}

/** BullMQ's worker, and what closes the connections that it does not own. */
export interface OpenedWorker {
  worker: Worker;
  disconnect(): void;
}

/** Opens the receiving side; it begins with `run()`. */
export function openWorker(
  name: string,
  connection: QueueConnection,
  process: (data: unknown, isFirst: boolean) => Promise<Processed>,
  concurrency: number,
): OpenedWorker {
  const processJob = async (job: ReceivedJob, token?: string): Promise<void> => {
    if ((await process(job.data, job.opts.lifo === true)) === 'done') return;
    await job.moveToWait(token);
    throw new WaitingError();
  };
  const options: Omit<WorkerOptions, 'connection'> = {
    concurrency,
    autorun: false,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 100 },
    // A chunk is started within a fraction of a second; one that is not done in this time lost its worker.
    lockDuration: 10_000,
    stalledInterval: 5_000,
    // After a failed fetch. BullMQ's own 15 s would delay deliveries that long after every short outage.
    runRetryDelay: 500,
    drainDelay: 5,
  };
  if (connection.redisUrl) {
    const { client, disconnect } = openRedis(connection.redisUrl, {
      connectionName: nameConnections(connection),
      maxRetriesPerRequest: null,
    });
    const prefix = connection.redisPrefix ?? REDIS_PREFIX_DEFAULT;
    const worker = new Worker(name, processJob, { ...options, prefix, connection: client });
    return { worker, disconnect };
  }
  const bound = withBackend(createPostgresBackend);
  const worker = new bound.Worker(name, processJob, {
    ...options,
    connection: postgresOptions(connection),
  });
  return { worker: worker as unknown as Worker, disconnect: () => {} };
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
