import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { countEverything } from './timer-steps.ts';

let api: TestApi;
let operations: { method: string; path: string; hasBody: boolean }[];
beforeAll(async () => {
  api = await openTestApi();
  const { body } = await api.request('GET', '/v1/openapi.json');
  operations = Object.entries(body.paths as Record<string, Record<string, { requestBody?: unknown }>>).flatMap(
    ([path, methods]) =>
      Object.entries(methods).map(([method, { requestBody }]) => ({
        method: method.toUpperCase(),
        path,
        hasBody: requestBody !== undefined,
      })),
  );
});
afterAll(async () => {
  await api.close();
});

const fill = (path: string, value: string) => path.replaceAll(/\{[^}]+\}/g, value);
const UUID = '01900000-0000-7000-8000-00000000dead';

test('the OpenAPI document lists every route of timers, dead letters and delays', () => {
  const listed = operations.map(({ method, path }) => `${method} ${path}`);
  expect(listed).toEqual(
    expect.arrayContaining([
      'POST /v1/timers',
      'GET /v1/timers',
      'GET /v1/timers/{id}',
      'PATCH /v1/timers/{id}',
      'DELETE /v1/timers/{id}',
      'POST /v1/timers/{id}/cancel',
      'POST /v1/timers/{id}/fire',
      'POST /v1/timers/batch',
      'PATCH /v1/timers/batch',
      'POST /v1/timers/batch/cancel',
      'GET /v1/timers/{id}/attempts',
      'GET /v1/timers/count',
      'GET /v1/timers/histogram',
      'GET /v1/dead-letters',
      'POST /v1/dead-letters/{timerId}/redrive',
      'POST /v1/dead-letters/redrive',
      'DELETE /v1/dead-letters/{timerId}',
      'POST /v1/delays/preview',
    ]),
  );
});

test('every route answers garbage with a problem, never with a 5xx, and stores nothing', async () => {
  const before = await countEverything(api);
  const garbage = ['{', '[]', '7', '"x"', '{"x":1}', '{"__proto__":{}}', '{"\\u0000":1}', Buffer.from([0xff, 0xfe])];
  for (const { method, path, hasBody } of operations) {
    // What takes no body is given a field of the query that does not exist.
    const requests: { url: string; body: string | Buffer | undefined }[] = hasBody
      ? garbage.map((body) => ({ url: fill(path, UUID), body }))
      : [{ url: `${fill(path, UUID)}?${method === 'GET' ? 'nonsense=1' : ''}`, body: undefined }];
    if (path.includes('{')) requests.push({ url: fill(path, '%F0%9F'), body: undefined });
    for (const { url, body } of requests) {
      const answer = await api.request(method, url, body);
      const shown = `${method} ${url} ${body} → ${answer.status}`;
      expect(answer.status, shown).toBeGreaterThanOrEqual(400);
      expect(answer.status, shown).toBeLessThan(500);
      expect(answer.headers['content-type'], shown).toContain('application/problem+json');
      expect(answer.body, shown).toMatchObject({ status: answer.status, code: expect.any(String) });
    }
  }
  expect(await countEverything(api)).toEqual(before);
  expect(api.logged).toEqual([]);
});

test('every route but health, metrics and its own description asks for a key', async () => {
  for (const { method, path } of operations) {
    const answer = await api.app.inject({ method: method as 'GET', url: fill(path, UUID) });
    expect(answer.statusCode, `${method} ${path}`).toBe(401);
  }
});
