import { describe, expect, it } from 'vitest';
import { parseRedisUrl, RedisUrlError } from './redis-address.ts';

describe('a REDIS_URL', () => {
  it.each([
    ['redis://localhost', { kind: 'server', host: 'localhost', port: 6379, db: 0, isTls: false }],
    ['redis://10.0.0.1:7000/3', { kind: 'server', host: '10.0.0.1', port: 7000, db: 3, isTls: false }],
    ['redis://[::1]:7000/', { kind: 'server', host: '::1', port: 7000, db: 0, isTls: false }],
    [
      'rediss://user:p%40ss%3Aword@cache.example:6380',
      {
        kind: 'server',
        host: 'cache.example',
        port: 6380,
        db: 0,
        isTls: true,
        username: 'user',
        password: 'p@ss:word',
      },
    ],
    ['redis://:secret@h', { kind: 'server', host: 'h', port: 6379, db: 0, isTls: false, password: 'secret' }],
    [
      'redis+sentinel://:secret@a,b:26380,c/main/2?sentinelPassword=other',
      {
        kind: 'sentinel',
        sentinels: [
          { host: 'a', port: 26_379 },
          { host: 'b', port: 26_380 },
          { host: 'c', port: 26_379 },
        ],
        name: 'main',
        db: 2,
        isTls: false,
        password: 'secret',
        sentinelPassword: 'other',
      },
    ],
    [
      'rediss+cluster://a:7000,b:7001',
      {
        kind: 'cluster',
        nodes: [
          { host: 'a', port: 7000 },
          { host: 'b', port: 7001 },
        ],
        isTls: true,
      },
    ],
  ])('%s is understood', (url, expected) => {
    expect(parseRedisUrl(url)).toEqual(expected);
  });

  it.each([
    'http://localhost',
    'redis:localhost',
    'redis://',
    'redis://a,b',
    'redis://a:99999',
    'redis://a:0',
    'redis://a/x',
    'redis://a/1/2',
    'redis+sentinel://a',
    'redis+sentinel://a/main/x',
    'redis+cluster://a/1',
    'redis+other://a',
    'redis://user:%zz@a',
    `redis+cluster://${Array.from({ length: 101 }, () => 'a').join(',')}`,
  ])('%s is refused with a sentence, without its password', (url) => {
    expect(() => parseRedisUrl(url)).toThrow(RedisUrlError);
    expect(() => parseRedisUrl(url)).toThrow(/^REDIS_URL /);
  });

  it('that is refused does not show its password', () => {
    expect(() => parseRedisUrl('redis://user:hidden@a:x')).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hidden') }),
    );
  });
});
