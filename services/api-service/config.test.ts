import { ConfigError } from '@punctual/runtime';
import { expect, test } from 'vitest';
import { ApiConfigSchema, isLoopback, readApiConfig } from './config.ts';

const GOOD = { DATABASE_URL: 'postgres://localhost/x' };

function readFaults(settings: Record<string, string>): readonly string[] {
  try {
    readApiConfig({ ...GOOD, ...settings });
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).faults;
  }
}

test('only the address of Postgres must be set', () => {
  expect(readApiConfig(GOOD)).toMatchObject({ PORT: 8088, HOST: '0.0.0.0', AUTH: 'on', MAX_WAIT_YEARS: 10 });
  expect(() => readApiConfig({})).toThrow(/DATABASE_URL is not set/);
});

test('every setting says what it is for', () => {
  for (const property of Object.values(ApiConfigSchema.properties)) {
    expect((property as { description?: string }).description).toMatch(/\.$/);
  }
});

test.each([
  ['0.0.0.0', false],
  ['192.168.0.1', false],
  ['::', false],
  ['example.com', false],
  ['127.0.0.1', true],
  ['127.9.9.9', true],
  ['::1', true],
  ['localhost', true],
  ['localhost.example.com', false],
  ['127.0.0.1.example.com', false],
])('AUTH=off at %s is allowed: %s', (host, isAllowed) => {
  expect(isLoopback(host)).toBe(isAllowed);
  expect(readFaults({ AUTH: 'off', HOST: host }).length === 0).toBe(isAllowed);
});

test.each([
  [{ API_CREATE_QUEUE_MAX: '10', API_BATCH_TIMERS_MAX: '11' }],
  [{ API_INSERTS_MAX: '9', API_POOL_SIZE_MAX: '8' }],
  [{ API_BATCH_BODY_BYTES_MAX: '2048', API_BODY_BYTES_MAX: '4096' }],
  [{ API_BODIES_BYTES_MAX: '8388607' }],
  [{ EGRESS_ALLOW: '10.0.0.0/33' }],
  [{ EGRESS_DENY: 'everything' }],
  [{ BOOTSTRAP_API_KEY: 'short' }],
  [{ PORT: '65536' }],
  [{ API_CONNECT_TIMEOUT_MS: '3000', API_QUERY_TIMEOUT_MS: '3000' }],
])('settings that contradict each other or themselves are refused: %o', (settings) => {
  expect(readFaults(settings as Record<string, string>)).toHaveLength(1);
});

test('lists of address ranges may have spaces and trailing commas', () => {
  expect(readFaults({ EGRESS_ALLOW: ' 10.0.0.0/8 , 127.0.0.1,' })).toEqual([]);
});
