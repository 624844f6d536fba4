import { Redis } from 'ioredis';
import pg from 'pg';
import type { Sizes } from './engine.ts';

/** Bytes of all of the database, of the write-ahead log so far, and Redis' own figure of what it holds. */
export async function readSizes(databaseUrl: string, redisUrl: string | undefined): Promise<Sizes> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const { rows } = await client.query(
    `SELECT pg_database_size(current_database())::float8 AS bytes, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 AS wal`,
  );
  await client.end();
  let redisBytes = 0;
  if (redisUrl !== undefined) {
    const redis = new Redis(redisUrl);
    redisBytes = Number(/used_memory_dataset:(\d+)/.exec(await redis.info('memory'))?.[1] ?? 0);
    redis.disconnect();
  }
  return { databaseBytes: rows[0].bytes, walBytes: rows[0].wal, redisBytes };
}
