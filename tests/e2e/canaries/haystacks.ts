import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import pg from 'pg';

/** Something to be searched: a name that says where it is, and its bytes. */
export type Haystack = [name: string, bytes: Buffer];

const SCAN_COUNT = 1_000;

/** Every row of every table, as text; bytes in it are in hex. Also what the server says of the statements under way. */
export async function dumpPostgres(databaseUrl: string): Promise<Haystack[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows: tables } = await client.query<{ name: string }>(
      `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
       UNION ALL SELECT 'pg_stat_activity'`,
    );
    const haystacks: Haystack[] = [];
    for (const { name } of tables) {
      const { rows } = await client.query<{ row: string }>(`SELECT t::text AS row FROM ${name} AS t`);
      haystacks.push([`table ${name}`, Buffer.from(rows.map(({ row }) => row).join('\n'))]);
    }
    return haystacks;
  } finally {
    await client.end();
  }
}

/** Every key of a Redis with its value, by its type: neither side needs more than a client may. */
export async function dumpRedis(redisUrl: string): Promise<Haystack[]> {
  const redis = new Redis(redisUrl);
  try {
    const haystacks: Haystack[] = [];
    let cursor = '0';
    do {
      const [next, keys] = await redis.scan(cursor, 'COUNT', SCAN_COUNT);
      for (const key of keys) {
        const parts = [Buffer.from(key), ...(await readValue(redis, key))];
        haystacks.push([`redis ${key}`, Buffer.concat(parts.flatMap((part) => [part, Buffer.from('\n')]))]);
      }
      cursor = next;
    } while (cursor !== '0');
    return haystacks;
  } finally {
    await redis.quit();
  }
}

async function readValue(redis: Redis, key: string): Promise<Buffer[]> {
  const type = await redis.type(key);
  switch (type) {
    case 'string':
      return [(await redis.getBuffer(key)) ?? Buffer.alloc(0)];
    case 'hash':
      return Object.entries(await redis.hgetallBuffer(key)).flatMap(([field, value]) => [Buffer.from(field), value]);
    case 'list':
      return redis.lrangeBuffer(key, 0, -1);
    case 'set':
      return redis.smembersBuffer(key);
    case 'zset':
      return redis.zrangeBuffer(key, '0', '-1');
    case 'stream':
      return flatten(await redis.xrangeBuffer(key, '-', '+'));
    case 'none':
      // It went while it was looked at.
      return [];
    default:
      throw new Error(`${key} is a ${type}, which nobody reads here`);
  }
}

function flatten(value: unknown): Buffer[] {
  return Array.isArray(value) ? value.flatMap(flatten) : Buffer.isBuffer(value) ? [value] : [];
}

/** Every file below a folder, as it lies on the disk. */
export function readFolder(folder: string): Haystack[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry): Haystack => {
      const path = join(entry.parentPath, entry.name);
      return [`file ${path}`, readFileSync(path)];
    });
}
