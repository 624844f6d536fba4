import { createId } from '@punctual/domain';
import { withoutFaults } from '@punctual/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { countEverything } from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
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
