import { PgBoss } from 'pg-boss';
import type { Job, Peer } from './peer.ts';

const QUEUE = 'deliver';
const CONNECTIONS = 10;
const BATCH_SIZE = 500;
/** The least that it allows. */
const POLL_INTERVAL_SECONDS = 0.5;
/** Loops that fetch and perform a batch each: one alone would poll too seldom at 1,389 a second. */
const LOCAL_CONCURRENCY = 4;

async function open(connectionString: string): Promise<PgBoss> {
  const boss = new PgBoss({ connectionString, max: CONNECTIONS });
  boss.on('error', (error) => console.error(error));
  await boss.start();
  await boss.createQueue(QUEUE);
  return boss;
}

const toInsert = (job: Job) => ({ data: job, startAfter: new Date(job.dueAt) });

/** pg-boss with batches, and no pause between full ones. */
export const pgBoss: Peer = {
  async setUp({ databaseUrl }) {
    await (await open(databaseUrl)).stop();
  },

  async openProducer({ databaseUrl }) {
    const boss = await open(databaseUrl);
    return {
      async addMany(jobs) {
        await boss.insert(QUEUE, jobs.map(toInsert));
      },
      async addOne(job) {
        await boss.send(QUEUE, job, { startAfter: new Date(job.dueAt) });
      },
      close: () => boss.stop(),
    };
  },

  async openWorker({ databaseUrl }, deliver) {
    const boss = await open(databaseUrl);
    await boss.work<Job>(
      QUEUE,
      {
        batchSize: BATCH_SIZE,
        localConcurrency: LOCAL_CONCURRENCY,
        burstWhenBatchFull: true,
        pollingIntervalSeconds: POLL_INTERVAL_SECONDS,
      },
      async (jobs) => {
        await Promise.all(jobs.map((job) => deliver(job.id, job.data)));
      },
    );
    return { close: () => boss.stop() };
  },
};
