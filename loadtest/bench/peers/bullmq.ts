import { createPostgresBackend, Queue, Worker, withBackend } from 'bullmq';
import { Redis } from 'ioredis';
import type { Job, Peer, Urls } from './peer.ts';

const QUEUE = 'deliver';
const CONCURRENCY = 256;
const JOB_OPTIONS = { removeOnComplete: true, removeOnFail: 100 };
const POSTGRES_CONNECTIONS = 10;

const toJob = (job: Job) => ({
  name: QUEUE,
  data: job,
  opts: { ...JOB_OPTIONS, delay: Math.max(0, job.dueAt - Date.now()) },
});

function makePeer(
  openQueue: (urls: Urls) => Queue,
  openWorker: (urls: Urls, process: (job: { id?: string | undefined; data: Job }) => Promise<void>) => Worker,
  setUp: Peer['setUp'],
): Peer {
  return {
    setUp,
    async openProducer(urls) {
      const queue = openQueue(urls);
      await queue.waitUntilReady();
      return {
        async addMany(jobs) {
          await queue.addBulk(jobs.map(toJob));
        },
        async addOne(job) {
          const { name, data, opts } = toJob(job);
          await queue.add(name, data, opts);
        },
        close: () => queue.close(),
      };
    },
    async openWorker(urls, deliver) {
      const worker = openWorker(urls, (job) => deliver(job.id!, job.data));
      worker.on('error', (error) => console.error(error));
      await worker.waitUntilReady();
      return { close: () => worker.close() };
    },
  };
}

/** BullMQ's delayed jobs on Redis. */
export const bullmqRedis: Peer = makePeer(
  ({ redisUrl }) => new Queue(QUEUE, { connection: new Redis(redisUrl, { maxRetriesPerRequest: null }) }),
  ({ redisUrl }, process) =>
    new Worker(QUEUE, process, {
      connection: new Redis(redisUrl, { maxRetriesPerRequest: null }),
      concurrency: CONCURRENCY,
    }),
  async () => {},
);

const bound = withBackend(createPostgresBackend);
const connect = ({ databaseUrl }: Urls, migrate: boolean) => ({
  connectionString: databaseUrl,
  schema: 'bullmq_peer',
  max: POSTGRES_CONNECTIONS,
  migrate,
});

/** BullMQ's delayed jobs on its Postgres backend. */
export const bullmqPostgres: Peer = makePeer(
  (urls) => new bound.Queue(QUEUE, { connection: connect(urls, false) }) as unknown as Queue,
  (urls, process) =>
    new bound.Worker(QUEUE, process as never, {
      connection: connect(urls, false),
      concurrency: CONCURRENCY,
    }) as unknown as Worker,
  async (urls) => {
    const queue = new bound.Queue(QUEUE, { connection: connect(urls, true) });
    await queue.waitUntilReady();
    await queue.close();
  },
);
