import { Logger, makeWorkerUtils, run, runMigrations } from 'graphile-worker';
import pg from 'pg';
import type { Job, Peer } from './peer.ts';

const TASK = 'deliver';
/** It logs each job, which costs. */
const SILENT = new Logger(() => () => {});
const CONNECTIONS = 10;
/** Requests at once: as many as a Punctual worker makes to one origin. */
const CONCURRENT_JOBS = 256;
const LOCAL_QUEUE_SIZE = 500;
/**
 * Delayed jobs are found by polling alone. At 20 ms (and the same for the local queue's refetch) Postgres does nothing else
 * at 1,389 a second on two cores, and jobs come seconds late.
 */
const POLL_INTERVAL_MS = 100;
const REFETCH_DELAY_MS = 100;

/** graphile-worker with its local queue and batched completion. */
export const graphileWorker: Peer = {
  async setUp({ databaseUrl }) {
    await runMigrations({ connectionString: databaseUrl });
  },

  async openProducer({ databaseUrl }) {
    const pool = new pg.Pool({ connectionString: databaseUrl, max: CONNECTIONS });
    const utils = await makeWorkerUtils({ pgPool: pool });
    return {
      async addMany(jobs) {
        const specs = jobs.map((job) => ({ identifier: TASK, payload: job, runAt: new Date(job.dueAt) }));
        await utils.addJobs(specs);
      },
      async addOne(job) {
        await utils.addJob(TASK, job, { runAt: new Date(job.dueAt) });
      },
      async close() {
        await utils.release();
        await pool.end();
      },
    };
  },

  async openWorker({ databaseUrl }, deliver) {
    const pool = new pg.Pool({ connectionString: databaseUrl, max: CONNECTIONS });
    pool.on('error', () => {});
    const runner = await run({
      pgPool: pool,
      taskList: { [TASK]: async (payload, helpers) => deliver(helpers.job.id, payload as Job) },
      preset: {
        worker: {
          concurrentJobs: CONCURRENT_JOBS,
          pollInterval: POLL_INTERVAL_MS,
          localQueue: { size: LOCAL_QUEUE_SIZE, refetchDelay: { durationMs: REFETCH_DELAY_MS } },
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
        },
      },
      logger: SILENT,
    });
    return {
      async close() {
        await runner.stop();
        await pool.end();
      },
    };
  },
};
