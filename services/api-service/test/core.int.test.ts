import { hash } from 'node:crypto';
import { connect } from 'node:net';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { createTestLogger, pauseFaults, resumeFaults, startProxy, withoutFaults } from '@punctual/testkit';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { createApiKeyText } from '../access/secrets.ts';
import { readApiConfig } from '../config.ts';
import { startApi } from '../start.ts';
import { openTestApi, TEST_KEY, type TestAnswer, type TestApi } from './open-test-api.ts';
import { countEverything, createDeadLetter, NOOP } from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
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
  const now = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => now() + 4_001);
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

const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
const withPayload = (payload: string) => `{"action":{"type":"noop"},"payload":${payload}}`;

test.each([
  ['broken JSON', '{"action":', 400, ''],
  ['nothing', '', 400, ''],
  ['null', 'null', 400, ''],
  ['a list', '[]', 400, ''],
  ['text', '"x"', 400, ''],
  ['invalid UTF-8', Buffer.from([0x22, 0xc3, 0x28, 0x22]), 400, ''],
  ['a lone surrogate', withPayload('{"a":["\\ud800"]}'), 400, '/payload/a/0'],
  ['a lone surrogate in a key', withPayload('{"\\udc00":1}'), 400, '/payload/\ufffd'],
  ['a NUL character', withPayload('"a\\u0000b"'), 400, '/payload'],
  ['a NUL character in a key', withPayload('{"a\\u0000":1}'), 400, '/payload/a\0'],
  ['a number beyond all bounds', withPayload('1e999'), 400, '/payload'],
  ['a prototype', withPayload('{"__proto__":{"a":1}}'), 400, '/payload/__proto__'],
  ['a prototype in disguise', withPayload('{"\\u005f_proto__":1}'), 400, '/payload/__proto__'],
  [
    "a constructor's prototype",
    withPayload('{"x":{"constructor":{"prototype":{}}}}'),
    400,
    '/payload/x/constructor/prototype',
  ],
  ['nesting that is too deep', withPayload(deep(32)), 400, `/payload${'/0'.repeat(31)}`],
  ['nesting of a million levels', withPayload(deep(500_000)), 400, `/payload${'/0'.repeat(31)}`],
  ['nesting as deep as allowed', withPayload(deep(31)), 201, undefined],
  ['a constructor that is only called so', withPayload('{"constructor":"Bob the Builder"}'), 201, undefined],
  ['a whole surrogate pair', withPayload('"\\ud83d\\ude42"'), 201, undefined],
])('a body of %s is answered as it should and stores nothing that is refused', async (_name, body, status, pointer) => {
  const before = await countEverything(api);
  const answer = await api.request('POST', '/v1/timers', body);
  expect({ status: answer.status, pointer: answer.body.errors?.[0]?.pointer }).toEqual({ status, pointer });
  if (status !== 201) expect(await countEverything(api)).toEqual(before);
});

test('another content type than JSON is refused', async () => {
  for (const type of [
    'text/plain',
    'application/xml',
    'multipart/form-data; boundary=x',
    'application/x-www-form-urlencoded',
    'nonsense',
  ]) {
    expect(await api.request('POST', '/v1/timers', '{}', { 'content-type': type })).toMatchObject({
      status: 415,
      body: { code: 'unsupported_media_type' },
    });
  }
  expect(
    (
      await api.request('POST', '/v1/timers', '{"action":{"type":"noop"}}', {
        'content-type': 'application/json; charset=utf-8',
      })
    ).status,
  ).toBe(201);
});

test('an unknown route is answered 404 as a problem', async () => {
  for (const [method, url] of [
    ['GET', '/'],
    ['GET', '/v2/timers'],
    ['GET', '/v1/timers/a/b/c'],
    ['GET', `/v1/${'x'.repeat(5_000)}`],
  ]) {
    const { status, body, headers } = await api.request(method!, url!);
    expect(status).toBe(404);
    expect(body).toMatchObject({ code: 'not_found', requestId: headers['x-request-id'] });
  }
  expect(await api.request('GET', '/v1/timers/%zz')).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
});

test.each([
  ['PUT', '/v1/timers', 'GET, POST'],
  ['DELETE', '/v1/timers/?x=1', 'GET, POST'],
  ['HEAD', '/v1/timers', 'GET, POST'],
  ['OPTIONS', '/v1/timers/batch', 'PATCH, POST'],
  ['GET', '/v1/timers/batch/', 'PATCH, POST'],
  ['QUERY', '/v1/timers', 'GET, POST'],
  ['GET', `/v1/runs/${createId()}/cancel`, 'POST'],
  ['POST', '/v1/health', 'GET'],
])(
  'a known path with the wrong method, %s %s, is answered 405 with the methods that it takes',
  async (method, url, allow) => {
    const { status, body, headers } = await api.request(method, url);
    expect({ status, allow: headers.allow }).toEqual({ status: 405, allow });
    if (method !== 'HEAD')
      expect(body).toMatchObject({ code: 'method_not_allowed', requestId: headers['x-request-id'] });
  },
);

test('every answer carries its request id, and headers that keep browsers from misusing it', async () => {
  for (const url of ['/v1/timers', '/v1/nowhere', '/v1/timers/%zz', '/v1/health/live', '/v1/openapi.json']) {
    const { headers } = await api.request('GET', url, undefined, { 'x-request-id': 'abc-123' });
    expect(headers, url).toMatchObject({
      'x-request-id': 'abc-123',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    });
  }
  const own = await api.request('GET', '/v1/timers', undefined, { 'x-request-id': 'bad id\t' });
  expect(own.headers['x-request-id']).toMatch(/^[0-9a-f]{12}-[0-9a-z]+$/);
});

test('health, metrics and the OpenAPI document need no key', async () => {
  for (const url of ['/v1/health', '/v1/health/live', '/v1/health/ready', '/metrics', '/v1/openapi.json']) {
    expect((await withoutFaults(() => api.app.inject({ method: 'GET', url }))).statusCode).toBe(200);
  }
  const metrics = (await api.app.inject({ method: 'GET', url: '/metrics' })).body;
  expect(metrics).toMatch(/api_request_duration_seconds_count\{method="POST",route="\/v1\/timers",status="2xx"\} \d/);
  expect(metrics).toMatch(/api_create_batch_timers_count \d/);
  expect(metrics).toContain('api_database_pool_waiting{pool="hot"} 0');
});

test('nothing that went wrong in this file was logged as a defect', () => {
  expect(api.logged).toEqual([]);
});

/** An api with a socket, whose way to Postgres can be cut. No other faults happen to it: they are told apart by their time. */
async function startBehindProxy() {
  pauseFaults();
  const proxy = await startProxy(api.testDatabase.url);
  const { logger, lines } = createTestLogger();
  const config = readApiConfig({ DATABASE_URL: proxy.url, PORT: '0', HOST: '127.0.0.1', AUTH: 'off' });
  const running = await startApi({ config, logger });
  return {
    running,
    proxy,
    lines,
    async stop() {
      await running.stop();
      await proxy.close();
      resumeFaults();
    },
  };
}

test.each(['cut', 'stall'] as const)(
  'while Postgres is away (%s) requests are answered 503 within five seconds, and 200 when it is back',
  async (way) => {
    const { running, proxy, lines, stop } = await startBehindProxy();
    const send = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
      const sentAt = performance.now();
      const answer = await fetch(running.url + path, {
        method,
        headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      return {
        status: answer.status,
        retryAfter: answer.headers.get('retry-after'),
        body: (await answer.json()) as TestAnswer['body'],
        tookMs: performance.now() - sentAt,
      };
    };
    try {
      const { body: timer } = await send('POST', '/v1/timers', {
        action: NOOP,
        delay: { type: 'duration', value: 1, unit: 'hours' },
      });
      const sendAll = () => [
        send('POST', '/v1/timers', { action: NOOP }),
        send('POST', '/v1/timers', { action: NOOP, externalId: 'x' }),
        send('POST', '/v1/timers', { action: NOOP }, { 'idempotency-key': 'x' }),
        send('POST', '/v1/timers/batch', { timers: [{ action: NOOP }, { action: NOOP, externalId: 'y' }] }),
        send('GET', `/v1/timers/${timer.id}`),
        send('GET', '/v1/timers'),
        send('PATCH', `/v1/timers/${timer.id}`, { payload: 1 }),
        send('POST', `/v1/timers/${timer.id}/cancel`),
        send('POST', '/v1/dead-letters/redrive', { ids: [timer.id] }),
      ];
      // So that each finds a connection that was good until now.
      await Promise.all(sendAll());
      await proxy[way]();
      for (const { status, retryAfter, body, tookMs } of await Promise.all(sendAll())) {
        expect({ status, retryAfter, code: body.code }).toEqual({
          status: 503,
          retryAfter: '1',
          code: 'database_unavailable',
        });
        expect(JSON.stringify(body)).not.toMatch(/select|insert|ECONN|127\.0\.0\.1|\.ts\b/i);
        expect(tookMs).toBeLessThan(5_000);
      }
      expect((await send('GET', '/v1/health/live')).status).toBe(200);
      expect((await send('GET', '/v1/health/ready')).status).toBe(503);
      expect(await send('GET', '/v1/health')).toMatchObject({
        status: 503,
        body: { status: 'down', checks: { postgres: { status: 'down' } } },
      });
      await proxy.restore();
      await vi.waitFor(async () => expect((await send('GET', '/v1/health/ready')).status).toBe(200), 10_000);
      expect(await send('GET', `/v1/timers/${timer.id}`)).toMatchObject({ status: 200, body: { id: timer.id } });
      expect(lines.filter((line) => line['log.level'] === 'error')).toEqual([]);
    } finally {
      await stop();
    }
  },
  40_000,
);

test('a stop answers what was asked before it, and leaves nothing open', async () => {
  const { running, proxy, stop } = await startBehindProxy();
  const { hostname, port } = new URL(running.url);
  const body = JSON.stringify({ action: NOOP });
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.on('data', (bytes) => {
    answer += bytes;
  });
  const closed = new Promise((resolve) => socket.on('close', resolve));
  // The head is there and the body is still to come: this request is in hand.
  socket.write(
    `POST /v1/timers HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n{`,
  );
  await vi.waitFor(async () => expect((await fetch(`${running.url}/v1/health/ready`)).status).toBe(200));
  const stopping = running.stop();
  expect(running.stop()).toBe(stopping);
  await vi.waitFor(async () => expect((await running.health.ready()).isReady).toBe(false));
  socket.write(body.slice(1));
  await stopping;
  await closed;
  expect(answer).toMatch(/^HTTP\/1.1 201 Created/);
  await expect(fetch(`${running.url}/v1/health/live`)).rejects.toThrow();
  await proxy.close();
  await stop();
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

test('the api refuses to start while migrations are pending, and with AUTH=off on an open address', async () => {
  const { logger } = createTestLogger();
  const settings = { DATABASE_URL: api.testDatabase.url, PORT: '0', HOST: '127.0.0.1', AUTH: 'off' };
  const { rows } = await api.testDatabase.database.ordinary.query(`SELECT to_regclass('schema_migrations') AS name`);
  expect(rows[0]?.name).not.toBeNull();
  await api.testDatabase.database.ordinary.query('ALTER TABLE schema_migrations RENAME TO hidden_migrations');
  try {
    await expect(startApi({ config: readApiConfig(settings), logger })).rejects.toThrow(/npm run migrate/);
  } finally {
    await api.testDatabase.database.ordinary.query('ALTER TABLE hidden_migrations RENAME TO schema_migrations');
  }
  expect(() => readApiConfig({ ...settings, HOST: '0.0.0.0' })).toThrow(/loopback/);
});
