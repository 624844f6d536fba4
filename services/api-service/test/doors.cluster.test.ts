import { createTestDatabase, createTestLogger, type TestDatabase, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readApiConfig } from '../config.ts';
import { type RunningApi, startApi } from '../start.ts';
import { TEST_KEY } from './open-test-api.ts';

// Two api processes as far as each can tell: they share nothing but the database.
const PROCESSES = 2;
/** What is taken away at a door must be gone at every door within this time (ms). */
const EVERYWHERE_MS = 5_000;

let testDatabase: TestDatabase;
let apis: RunningApi[];
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const { logger } = createTestLogger();
  const config = readApiConfig({
    DATABASE_URL: testDatabase.url,
    BOOTSTRAP_API_KEY: TEST_KEY,
    PORT: '0',
    HOST: '127.0.0.1',
  });
  apis = await Promise.all(Array.from({ length: PROCESSES }, () => startApi({ config, logger })));
});
afterAll(async () => {
  await Promise.all(apis.map((api) => api.stop()));
  await testDatabase.drop();
});

async function send(api: RunningApi, method: string, path: string, body?: unknown, key: string = TEST_KEY) {
  const response = await fetch(api.url + path, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came.
  return { status: response.status, headers: response.headers, body: (await response.json()) as any };
}

const readTimers = async (api: RunningApi, key: string) =>
  (await send(api, 'GET', '/v1/timers', undefined, key)).status;

/** The time from now until every process answers as awaited, and each only so in a second round (ms). */
async function measureUntilAll(what: string, isSo: (api: RunningApi) => Promise<boolean>): Promise<number> {
  const beganAt = performance.now();
  const areSo = async () => (await Promise.all(apis.map(isSo))).every(Boolean);
  await waitUntil(what, areSo, EVERYWHERE_MS);
  const took = performance.now() - beganAt;
  expect(await areSo()).toBe(true);
  return took;
}

test('a key that one process revokes is refused by every process within five seconds', async () => {
  const [first, second] = apis as [RunningApi, RunningApi];
  const { body } = await send(first, 'POST', '/v1/api-keys', { name: 'leaked', scope: 'read' });
  // Both know the key, the second one last: it is the last to ask again.
  expect(await readTimers(first, body.key)).toBe(200);
  expect(await readTimers(second, body.key)).toBe(200);
  expect((await send(first, 'DELETE', `/v1/api-keys/${body.id}`)).status).toBe(200);
  const took = await measureUntilAll('both refuse the key', async (api) => (await readTimers(api, body.key)) === 401);
  expect(took).toBeLessThan(EVERYWHERE_MS);
});

test('a limit that is set or taken back by one process holds in every process within five seconds', async () => {
  const [first, second] = apis as [RunningApi, RunningApi];
  const { body: tenant } = await send(first, 'POST', '/v1/tenants', { name: 'busy' });
  const { body: key } = await send(first, 'POST', '/v1/api-keys', { name: 'k', scope: 'write', tenantId: tenant.id });
  const hour = { type: 'duration', value: 1, unit: 'hours' };
  const create = async (api: RunningApi) =>
    (await send(api, 'POST', '/v1/timers', { action: { type: 'noop' }, delay: hour }, key.key)).status;
  expect([await create(first), await create(second)]).toEqual([201, 201]);
  expect((await send(second, 'PATCH', `/v1/tenants/${tenant.id}`, { liveTimersMax: 0 })).status).toBe(200);
  await measureUntilAll('both refuse new timers', async (api) => (await create(api)) === 429);
  await send(second, 'PATCH', `/v1/tenants/${tenant.id}`, { liveTimersMax: null });
  await measureUntilAll('both take new timers', async (api) => (await create(api)) === 201);
});
