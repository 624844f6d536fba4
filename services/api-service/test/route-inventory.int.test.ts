import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { countEverything } from './timer-steps.ts';

let api: TestApi;
let operations: { method: string; path: string; hasBody: boolean; isPublic: boolean }[];
beforeAll(async () => {
  api = await openTestApi();
  operations = Object.entries(api.document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { requestBody, security }]) => ({
      method: method.toUpperCase(),
      path,
      hasBody: requestBody !== undefined,
      isPublic: security.length === 0,
    })),
  );
});
afterAll(async () => {
  await api.close();
});

const fill = (path: string, value: string) => path.replaceAll(/\{[^}]+\}/g, value);
const UUID = '01900000-0000-7000-8000-00000000dead';

test('every route answers garbage with a problem, never with a 5xx, and stores nothing', async () => {
  const before = await countEverything(api);
  const garbage = ['{', '[]', '7', '"x"', '{"x":1}', '{"__proto__":{}}', '{"\\u0000":1}', Buffer.from([0xff, 0xfe])];
  for (const { method, path, hasBody } of operations.filter(({ isPublic }) => !isPublic)) {
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
  for (const { method, path, isPublic } of operations) {
    const answer = await api.app.inject({ method: method as 'GET', url: fill(path, UUID) });
    expect(answer.statusCode, `${method} ${path}`).toBe(isPublic ? 200 : 401);
  }
  const open = operations.filter(({ isPublic }) => isPublic).map(({ path }) => path);
  expect(open.toSorted()).toEqual(
    ['/metrics', '/v1/health', '/v1/health/live', '/v1/health/ready', '/v1/openapi.json'].toSorted(),
  );
});

test('every list refuses pages of none and of more than 200 items, and every batch more than 1,000 items', async () => {
  const { body: document } = await api.request('GET', '/v1/openapi.json');
  const lists: string[] = [];
  const batches: string[] = [];
  for (const { method, path } of operations) {
    const { parameters = [], requestBody } = document.paths[path][method.toLowerCase()];
    const url = fill(path, UUID);
    if (parameters.some(({ name }: { name: string }) => name === 'limit')) {
      lists.push(path);
      for (const limit of ['0', '201', '-1', '1.5', 'all']) {
        const answer = await api.request(method, `${url}?limit=${limit}`);
        expect(answer, `${path}?limit=${limit}`).toMatchObject({
          status: 400,
          body: { code: 'invalid_request', errors: [{ pointer: '/query/limit' }] },
        });
      }
    }
    const fields = requestBody?.content['application/json'].schema.properties ?? {};
    const field = ['timers', 'runs', 'ids'].find((name) => fields[name]?.type === 'array');
    if (field === undefined) continue;
    batches.push(path);
    const items = Array(1_001).fill(field === 'ids' ? UUID : {});
    const answer = await api.request(method, url, {
      ...('workflowId' in fields && { workflowId: UUID }),
      ...('action' in fields && { action: 'cancel' }),
      [field]: items,
    });
    expect(answer, path).toMatchObject({ status: 400, body: { errors: [{ pointer: `/${field}` }] } });
  }
  expect(lists.length).toBeGreaterThan(9);
  expect(batches.length).toBeGreaterThan(4);
});
