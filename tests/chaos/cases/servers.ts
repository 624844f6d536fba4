import type { ChaosCase } from '../chaos-case.ts';
import type { StopMode } from '../system/managed-server.ts';
import { findDiskObstacle, mountSmallDisk } from '../system/small-disk.ts';

/** Between two of them (ms). */
const DROP_INTERVAL_MS = 5_000;
/** How long a server stays away (ms). */
const AWAY_MS = 3_000;
/** Chunks that wait in a queue that is called deep. */
const DEEP_CHUNKS = 50;

const MODES: readonly { mode: StopMode; text: string }[] = [
  { mode: 'fast', text: 'stopped in order' },
  { mode: 'immediate', text: 'stopped without a last word' },
  { mode: 'kill', text: 'killed' },
];

const restartsOfPostgres = MODES.map(
  ({ mode, text }): ChaosCase => ({
    name: `postgres:${mode}`,
    summary: `Postgres is ${text}, away for ${AWAY_MS / 1_000} s, and started again, 5 times`,
    allowsRepeats: true,
    async fault({ system, choose, last }) {
      for (let done = 0; done < choose(5, 1); done += 1) {
        await system.postgres.stop(mode);
        await last(AWAY_MS);
        await system.postgres.start();
        await last(3_000);
      }
    },
  }),
);

const restartsOfRedis = [true, false].map(
  (isRedisPersistent): ChaosCase => ({
    name: `redis:${isRedisPersistent ? 'restart-with-data' : 'restart-empty'}`,
    summary: `Redis is killed and started again, ${isRedisPersistent ? 'with' : 'without'} what it held, 5 times`,
    system: { isRedisPersistent },
    allowsRepeats: false,
    async fault({ system, choose, last }) {
      for (let done = 0; done < choose(5, 1); done += 1) {
        await system.redis.stop('kill');
        await last(AWAY_MS);
        await system.redis.start();
        await last(3_000);
      }
    },
  }),
);

/** What happens to Postgres and Redis themselves. */
export const servers: readonly ChaosCase[] = [
  ...restartsOfPostgres,
  {
    name: 'postgres:connections',
    summary: `every connection to Postgres is ended every ${DROP_INTERVAL_MS / 1_000} s`,
    allowsRepeats: true,
    async fault({ system, choose, last }) {
      for (let done = 0; done < choose(8, 1); done += 1) {
        await system.queryPostgres(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'punctual%'",
        );
        await last(DROP_INTERVAL_MS);
      }
    },
  },
  {
    name: 'postgres:disk-full',
    summary: 'the disk of Postgres is full for 15 s; a Postgres that ends of it is started again afterwards',
    surroundings: mountSmallDisk,
    findObstacle: findDiskObstacle,
    allowsRepeats: true,
    async fault({ system, surroundings, choose, last }) {
      await surroundings!.strike();
      await last(choose(15_000, 5_000));
      await surroundings!.heal();
      await system.postgres.start();
    },
  },
  ...restartsOfRedis,
  {
    name: 'redis:connections',
    summary: `every connection to Redis is ended every ${DROP_INTERVAL_MS / 1_000} s`,
    allowsRepeats: false,
    async fault({ system, choose, last }) {
      for (let done = 0; done < choose(8, 1); done += 1) {
        await system.callRedis('CLIENT', 'KILL', 'TYPE', 'normal');
        await last(DROP_INTERVAL_MS);
      }
    },
  },
  {
    name: 'redis:flush',
    summary: 'FLUSHALL while the queue is deep, because the workers stand still, 5 times',
    isInTests: true,
    allowsRepeats: true,
    traffic: { delayMs: { min: 300, max: 2_000 } },
    async fault({ system, choose, last, log }) {
      const workers = system.listServices('worker');
      for (let done = 0; done < choose(5, 1); done += 1) {
        for (const worker of workers) worker.freeze();
        const deadline = Date.now() + 15_000;
        let depth = 0;
        while (depth < DEEP_CHUNKS && Date.now() < deadline) {
          await last(100);
          depth = Number(await system.callRedis('LLEN', 'punctual:{punctual-0}:wait'));
        }
        if (depth < DEEP_CHUNKS) throw new Error(`the queue did not become deep: ${depth} chunks`);
        await system.callRedis('FLUSHALL');
        log(`  flushed with ${depth} chunks waiting`);
        for (const worker of workers) worker.thaw();
        await last(8_000);
      }
    },
  },
  {
    name: 'redis:full',
    summary: 'Redis refuses every write, because its memory is full under noeviction, for 15 s',
    allowsRepeats: false,
    async fault({ system, choose, last }) {
      await system.callRedis('CONFIG', 'SET', 'maxmemory', '1');
      await last(choose(15_000, 3_000));
      await system.callRedis('CONFIG', 'SET', 'maxmemory', '0');
    },
  },
];
