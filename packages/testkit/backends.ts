import { randomBytes } from 'node:crypto';
import { type BackendName, migrateQueue, type QueueConnection } from '@punctual/queue';
import { Redis } from 'ioredis';
import { TEST_CONNECTION_NAME } from './connection-name.ts';
import { readTestServers } from './test-database.ts';

/** What a suite that must hold on both kinds of queue runs over: `describe.each(BACKENDS)`. */
export const BACKENDS: readonly BackendName[] = ['redis', 'postgres'];

/** A queue of a test's own: in Redis under a prefix that nobody else has, in Postgres in the test's own database. */
export interface TestQueue {
  connection: QueueConnection & { redisPrefix: string };
  /** The same queue for a test's own end of it, to which injected faults do not happen. */
  ownConnection: QueueConnection & { redisPrefix: string };
  /** Removes what is left in Redis; the Postgres tables go with the test's database. */
  drop(): Promise<void>;
}

/** Keys that one round of a scan looks at. */
const SCAN_COUNT = 1_000;

/**
 * `database` is the test's own; BullMQ's tables are made in it when the queue lives there, in `schema`, which is that of
 * the services when absent.
 */
export async function createTestQueue(
  backend: BackendName,
  database: { url: string },
  schema?: string,
): Promise<TestQueue> {
  const redisPrefix = `test-${randomBytes(6).toString('hex')}`;
  if (backend === 'postgres') {
    const connection = { databaseUrl: database.url, redisPrefix, schema };
    const ownConnection = { ...connection, connectionName: TEST_CONNECTION_NAME };
    await migrateQueue(ownConnection);
    return { connection, ownConnection, drop: async () => {} };
  }
  const { redisUrl } = readTestServers();
  const connection = { databaseUrl: database.url, redisUrl, redisPrefix };
  return {
    connection,
    ownConnection: { ...connection, connectionName: TEST_CONNECTION_NAME },
    drop: () => deleteKeys(redisUrl, `${redisPrefix}:*`),
  };
}

async function deleteKeys(redisUrl: string, pattern: string): Promise<void> {
  const redis = new Redis(redisUrl);
  try {
    let cursor = '0';
    do {
      const [next, keys] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT);
      if (keys.length > 0) await redis.unlink(...keys);
      cursor = next;
    } while (cursor !== '0');
  } finally {
    await redis.quit();
  }
}
