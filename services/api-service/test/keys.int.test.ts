import { hash } from 'node:crypto';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { withoutFaults } from '@punctual/testkit';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { createApiKeyText } from '../access/secrets.ts';
import { openTestApi, TEST_KEY, type TestApi } from './open-test-api.ts';
import { createDeadLetter, NOOP } from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  expect(api.logged).toEqual([]);
  await api.close();
});
afterEach(() => {
  vi.restoreAllMocks();
});

async function createKey(scope: string, tenantId: string = DEFAULT_TENANT_ID): Promise<{ key: string; id: string }> {
  const { key } = createApiKeyText();
  const id = createId();
  await api.testDatabase.database.ordinary.query(
    'INSERT INTO api_keys (id, tenant_id, name, scope, prefix, key_hash) VALUES ($1, $2, $3, $4, $5, $6)',
    [id, tenantId, 'test', scope, key.slice(0, 8), hash('sha256', key, 'buffer')],
  );
  return { key, id };
}
const as = (key: string) => ({ authorization: `Bearer ${key}` });

test.each([
  ['no key', {}],
  ['an unknown key', as('unknown-key-0123456789')],
  ['another scheme', { authorization: `Basic ${TEST_KEY}` }],
  ['an empty key', { authorization: 'Bearer ' }],
  ['a key that goes on for ever', as('x'.repeat(5_000))],
])('%s is answered 401 as a problem that says how to authenticate', async (_name, headers) => {
  for (const url of ['/v1/timers', '/v1/timers/count']) {
    const answer = await api.app.inject({ method: 'GET', url, headers });
    expect(answer.statusCode).toBe(401);
    expect(answer.headers['www-authenticate']).toMatch(/^Bearer realm="punctual"/);
    expect(answer.headers['content-type']).toContain('application/problem+json');
    expect(answer.json()).toMatchObject({ status: 401, code: 'unauthorized', requestId: expect.any(String) });
  }
});

test('what does not even look like a key is refused without asking Postgres', () =>
  withoutFaults(async () => {
    const { access } = api.context.database;
    let queries = 0;
    const listener = () => {
      queries += 1;
    };
    const { key } = createApiKeyText();
    const ask = async (text: string) =>
      (await api.app.inject({ method: 'GET', url: '/v1/timers', headers: as(text) })).statusCode;
    access.on('acquire', listener);
    try {
      for (const text of ['guess', `${key}A`, key.slice(0, -1), key.replace('pk_', 'sk_'), key.replace(/.$/, '!')]) {
        expect(await ask(text), text).toBe(401);
      }
      expect(queries).toBe(0);
      expect(await ask(key)).toBe(401);
      expect(queries).toBe(1);
    } finally {
      access.off('acquire', listener);
    }
  }));

test('a key reads, writes or administers as its scope allows, and each scope includes the ones before it', async () => {
  const attempt = async (scope: string) => {
    const headers = as((await createKey(scope)).key);
    return [
      (await api.request('GET', '/v1/timers', undefined, headers)).status,
      (await api.request('POST', '/v1/delays/preview', {}, headers)).status,
      (await api.request('POST', '/v1/timers', { action: NOOP }, headers)).status,
    ];
  };
  expect(await attempt('read')).toEqual([200, 200, 403]);
  expect(await attempt('write')).toEqual([200, 200, 201]);
  expect(await attempt('admin')).toEqual([200, 200, 201]);
});

test('a tenant sees nothing of another, and can change nothing of it', async () => {
  const tenantId = createId();
  await api.testDatabase.database.ordinary.query(`INSERT INTO tenants (id, name) VALUES ($1, 'other')`, [tenantId]);
  const headers = as((await createKey('write', tenantId)).key);
  const { body } = await api.request('POST', '/v1/timers', {
    action: NOOP,
    externalId: 'mine',
    delay: { type: 'duration', value: 1, unit: 'days' },
  });
  const ended = await api.request('POST', '/v1/timers', { action: NOOP });
  await api.request('DELETE', `/v1/timers/${ended.body.id}`);
  const dead = await createDeadLetter(api);
  const url = `/v1/timers/${body.id}`;
  for (const id of [body.id, ended.body.id, dead]) {
    for (const [method, path, content] of [
      ['GET', `/v1/timers/${id}`],
      ['GET', `/v1/timers/${id}/attempts`],
      ['PATCH', `/v1/timers/${id}`, { payload: 1 }],
      ['POST', `/v1/timers/${id}/cancel`],
      ['POST', `/v1/timers/${id}/fire`],
      ['DELETE', `/v1/timers/${id}`],
      ['POST', `/v1/dead-letters/${id}/redrive`],
      ['DELETE', `/v1/dead-letters/${id}`],
    ] as const) {
      const answer = await api.request(method, path, content, headers);
      expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } });
    }
  }
  expect((await api.request('GET', '/v1/dead-letters', undefined, headers)).body.data).toEqual([]);
  const redriven = await api.request('POST', '/v1/dead-letters/redrive', { filter: {} }, headers);
  expect(redriven.body.redriven).toBe(0);
  expect((await api.request('GET', '/v1/timers/histogram?bucket=day', undefined, headers)).body.buckets).toEqual([]);
  expect((await api.request('GET', '/v1/timers', undefined, headers)).body.data).toEqual([]);
  expect((await api.request('GET', '/v1/timers/count', undefined, headers)).body).toEqual({ count: 0 });
  const theirs = await api.request('POST', '/v1/timers', { action: NOOP, externalId: 'mine' }, headers);
  expect(theirs.status).toBe(201);
  expect((await api.request('GET', url)).body).toEqual(body);
});

test('a revoked key is refused within five seconds', async () => {
  const { key, id } = await createKey('read');
  expect((await api.request('GET', '/v1/timers', undefined, as(key))).status).toBe(200);
  await api.testDatabase.database.ordinary.query('UPDATE api_keys SET revoked_at = clock_timestamp() WHERE id = $1', [
    id,
  ]);
  api.passTime(4_001);
  expect((await api.request('GET', '/v1/timers', undefined, as(key))).status).toBe(401);
});

test('a key lets in nobody by whose hash it was not found, whatever the look-up returns', async () => {
  const other = await openTestApi();
  const { access } = other.context.database;
  const ask = access.query.bind(access) as (config: unknown, values?: unknown) => unknown;
  let isStripped = false;
  // The look-up has forgotten its condition, and finds some key.
  vi.spyOn(access, 'query').mockImplementation(((config: { name?: string; text: string }, values?: unknown) => {
    if (config.name !== 'find_api_key') return ask(config, values);
    isStripped = true;
    return ask({ ...config, text: config.text.replace('k.key_hash = $1', '$1::bytea IS NOT NULL') });
  }) as never);
  try {
    const read = async (key: string) =>
      (await other.request('GET', '/v1/timers', undefined, { authorization: `Bearer ${key}` })).status;
    const { body } = await other.request('POST', '/v1/api-keys', { name: 'the only one', scope: 'read' });
    expect(await read(body.key)).toBe(200);
    expect(await read(createApiKeyText().key)).toBe(401);
    expect(isStripped).toBe(true);
  } finally {
    await other.close();
  }
});

test('a key works from the moment in which it exists', async () => {
  const { key } = createApiKeyText();
  expect((await api.request('GET', '/v1/timers', undefined, as(key))).status).toBe(401);
  await api.testDatabase.database.ordinary.query(
    `INSERT INTO api_keys (id, tenant_id, name, scope, prefix, key_hash) VALUES ($1, $2, '', 'read', '', $3)`,
    [createId(), DEFAULT_TENANT_ID, hash('sha256', key, 'buffer')],
  );
  expect((await api.request('GET', '/v1/timers', undefined, as(key))).status).toBe(200);
});

test('without keys only what is addressed to this machine is answered, whatever name leads to it', async () => {
  const open = await openTestApi({ AUTH: 'off', HOST: '127.0.0.1' }, api);
  try {
    const ask = (headers: Record<string, string>) => open.request('GET', '/v1/timers', undefined, headers);
    for (const host of ['localhost', 'localhost:8088', '127.0.0.1:8088', '127.1.2.3', '[::1]:8088', 'app.localhost'])
      expect(await ask({ host }), host).toMatchObject({ status: 200 });
    for (const host of [
      'evil.example',
      'evil.example:8088',
      '127.0.0.1.evil.example',
      'localhost.evil.example',
      '10.0.0.1',
    ])
      expect(await ask({ host }), host).toMatchObject({
        status: 400,
        body: { errors: [{ pointer: '/headers/host' }] },
      });
    expect(await ask({ origin: 'http://localhost:3000' })).toMatchObject({ status: 200 });
    for (const origin of ['https://evil.example', 'null'])
      expect(await ask({ origin }), origin).toMatchObject({
        status: 400,
        body: { errors: [{ pointer: '/headers/host' }] },
      });
  } finally {
    await open.close();
  }
});
