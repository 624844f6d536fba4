import { startPostgres } from './postgres.ts';
import { startRedis } from './redis.ts';

export type TestServers = {
  /** A Postgres superuser's URL: tests create and drop databases of their own. */
  databaseUrl: string;
  redisUrl: string;
  /** Stops what was started here, and leaves alone what was given. */
  stop(): Promise<void>;
};

/**
 * The Postgres and the Redis of a test run. Those named by TEST_DATABASE_URL, and by TEST_REDIS_URL or REDIS_URL, are
 * used; the others are started and removed at the end. `log` gets the servers' own lines, which are dropped without it.
 */
export async function startTestServers(options: { log?: (line: string) => void } = {}): Promise<TestServers> {
  const log = options.log ?? (() => {});
  const givenDatabaseUrl = process.env.TEST_DATABASE_URL;
  const givenRedisUrl = process.env.TEST_REDIS_URL ?? process.env.REDIS_URL;
  const [postgres, redis] = await Promise.allSettled([
    givenDatabaseUrl === undefined ? startPostgres({ ephemeral: true, log }) : undefined,
    givenRedisUrl === undefined ? startRedis({ ephemeral: true, log }) : undefined,
  ]);
  const stop = async () => {
    await Promise.all(
      [postgres, redis].map((server) => (server.status === 'fulfilled' ? server.value?.stop() : undefined)),
    );
  };
  for (const server of [postgres, redis]) {
    if (server.status === 'rejected') {
      await stop();
      throw server.reason;
    }
  }
  const databaseUrl = givenDatabaseUrl ?? (postgres.status === 'fulfilled' ? postgres.value?.url : undefined);
  const redisUrl = givenRedisUrl ?? (redis.status === 'fulfilled' ? redis.value?.url : undefined);
  if (databaseUrl === undefined || redisUrl === undefined)
    throw new Error('A test server is neither given nor started.');
  return { databaseUrl, redisUrl, stop };
}
