import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningRedis, startRedis } from '@punctual/local-servers';
import { createEmptyDatabase } from '@punctual/testkit';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dumpPostgres, dumpRedis, type Haystack, readFolder } from './canaries/haystacks.ts';
import { SIGNING_SECRET } from './canaries/secrets.ts';
import { findCanaries, spell } from './canaries/spellings.ts';

let folder: string;
let database: Awaited<ReturnType<typeof createEmptyDatabase>>;
let redis: RunningRedis;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'punctual-canary-search-'));
  [database, redis] = await Promise.all([createEmptyDatabase(), startRedis({ ephemeral: true, log: () => {} })]);
});
afterAll(async () => {
  await Promise.all([database?.drop(), redis?.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

describe('the search finds a canary', () => {
  const CANARY = { name: 'planted', text: 'planted-canary/+Qx?' };
  const find = (places: Haystack[]) => findCanaries([CANARY], places).map(({ how }) => how);

  it.each(spell(CANARY.text).map(({ how, bytes }) => [how, bytes] as const))('in every spelling: %s', (_how, bytes) => {
    expect(find([['a file', Buffer.concat([Buffer.from('before '), bytes, Buffer.from(' after')])]])).toHaveLength(1);
  });

  it('in base64 of something larger, wherever it stands in it', () => {
    for (const before of ['', 'a', 'ab', 'abc', 'abcd']) {
      for (const encoding of ['base64', 'base64url'] as const) {
        const text = Buffer.from(`${before}${CANARY.text}xyz`).toString(encoding);
        expect(find([['a row', Buffer.from(text)]]), `${encoding} after ${before}`).toHaveLength(1);
      }
    }
  });

  it('of a signing secret in its key alone', () => {
    const secret = { name: 'secret', text: SIGNING_SECRET };
    const bytes = Buffer.from(SIGNING_SECRET.slice('whsec_'.length), 'base64');
    expect(findCanaries([secret], [['bytea', Buffer.from(bytes.toString('hex'))]])).toHaveLength(1);
    expect(findCanaries([secret], [['page', bytes]])).toHaveLength(1);
  });

  it('in a table: as text, as JSON, as bytes', async () => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    try {
      for (const [type, value] of [
        ['text', CANARY.text],
        ['jsonb', JSON.stringify({ deep: [CANARY.text] })],
        ['bytea', Buffer.from(CANARY.text)],
        ['text[]', [CANARY.text]],
      ] as const) {
        await client.query(`CREATE TABLE planted (value ${type})`);
        await client.query('INSERT INTO planted VALUES ($1)', [value]);
        expect(findCanaries([CANARY], await dumpPostgres(database.url)), type).toMatchObject([
          { place: 'table public.planted' },
        ]);
        await client.query('DROP TABLE planted');
      }
    } finally {
      await client.end();
    }
  });

  it('in Redis, in a key and in each type of value', async () => {
    const client = new Redis(redis.url);
    try {
      await client.set('planted:string', CANARY.text);
      await client.hset('planted:hash', 'field', JSON.stringify({ of: CANARY.text }));
      await client.hset('planted:field', CANARY.text, '1');
      await client.rpush('planted:list', CANARY.text);
      await client.sadd('planted:set', CANARY.text);
      await client.zadd('planted:zset', 1, CANARY.text);
      await client.xadd('planted:stream', '*', 'field', CANARY.text);
      await client.set(`planted:${CANARY.text}`, '1');
      const places = findCanaries([CANARY], await dumpRedis(redis.url)).map(({ place }) => place.split(' ')[1]);
      expect(places.toSorted()).toEqual(
        ['string', 'hash', 'field', 'list', 'set', 'zset', 'stream', CANARY.text]
          .map((name) => `planted:${name}`)
          .toSorted(),
      );
    } finally {
      await client.quit();
    }
  });

  it('in a log', () => {
    writeFileSync(join(folder, 'api-1.log'), `{"planted":"${CANARY.text}"}\n`);
    expect(findCanaries([CANARY], readFolder(folder))).toMatchObject([{ place: expect.stringContaining('api-1.log') }]);
  });
});
