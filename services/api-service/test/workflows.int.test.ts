import { createId } from '@punctual/domain';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { createStranger } from './stranger.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

const noop = { type: 'noop' };
const http = { type: 'http', url: 'https://example.com/hook' };
const workflow = { name: 'reminders', tasks: [{ key: 'first', action: noop }] };

async function create(body: unknown = workflow) {
  const answer = await api.request('POST', '/v1/workflows', body);
  expect(answer).toMatchObject({ status: 201 });
  return answer.body;
}

const countRows = async (table: string) => {
  const { rows } = await api.testDatabase.database.ordinary.query(`SELECT count(*)::int AS count FROM ${table}`);
  return rows[0].count as number;
};

test('a workflow is answered as it was sent, with its version as ETag, and reads back equal', async () => {
  const tasks = [
    { key: 'remind', delay: { type: 'duration', value: 5, unit: 'minutes' }, action: http },
    {
      key: 'follow-up',
      after: ['remind'],
      delay: { type: 'weekday', days: ['monday', 'wednesday'], at: '09:00' },
      action: { ...http, method: 'PUT', headers: { 'x-kind': 'follow' }, body: { any: [1, null, 'text'] } },
      retry: { maxRetries: 5, backoff: { initialMs: 10 } },
      timeoutMs: 2_000,
    },
  ];
  const sent = { name: 'reminders', timeZone: 'europe/paris', tasks, labels: { team: 'crm' } };
  const created = await api.request('POST', '/v1/workflows', sent);
  expect(created.status).toBe(201);
  expect(created.headers.etag).toBe('"1"');
  expect(created.body).toEqual({
    id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    name: 'reminders',
    version: 1,
    status: 'active',
    timeZone: 'Europe/Paris',
    tasks,
    labels: { team: 'crm' },
    retentionDays: null,
    createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    updatedAt: created.body.createdAt,
  });
  const read = await api.request('GET', `/v1/workflows/${created.body.id}`);
  expect(read).toMatchObject({ status: 200, body: created.body });
  expect(read.headers.etag).toBe('"1"');
});

test('a workflow without tasks and without a zone is allowed, in UTC', async () => {
  expect(await create({ name: 'empty', tasks: [] })).toMatchObject({ timeZone: 'UTC', tasks: [] });
});

test('a change makes a new version and leaves the earlier ones as they were', async () => {
  const { id } = await create();
  const second = {
    name: 'renamed',
    timeZone: 'Asia/Tokyo',
    tasks: [{ key: 'other', action: http }],
    labels: { a: 'b' },
  };
  const changed = await api.request('PUT', `/v1/workflows/${id}`, second);
  expect(changed).toMatchObject({ status: 200, body: { ...second, id, version: 2 } });
  expect(changed.headers.etag).toBe('"2"');
  const added = await api.request('POST', `/v1/workflows/${id}/tasks`, { key: 'last', after: ['other'], action: noop });
  expect(added).toMatchObject({
    status: 201,
    body: { version: 3, name: 'renamed', timeZone: 'Asia/Tokyo', labels: { a: 'b' } },
  });
  expect(added.body.tasks).toEqual([...second.tasks, { key: 'last', after: ['other'], action: noop }]);
  expect((await api.request('GET', `/v1/workflows/${id}`)).body).toEqual(added.body);
  const versions = await api.request('GET', `/v1/workflows/${id}/versions`);
  expect(versions.body.nextCursor).toBeNull();
  expect(versions.body.data).toMatchObject([
    { workflowId: id, version: 1, ...workflow, timeZone: 'UTC' },
    { workflowId: id, version: 2, name: 'renamed', timeZone: 'Asia/Tokyo', tasks: second.tasks },
    { workflowId: id, version: 3, tasks: added.body.tasks },
  ]);
});

describe('If-Match', () => {
  test('of the present version lets a change through; of another answers 412 and changes nothing', async () => {
    const { id } = await create();
    const change = (ifMatch: string) => api.request('PUT', `/v1/workflows/${id}`, workflow, { 'if-match': ifMatch });
    expect(await change('"1"')).toMatchObject({ status: 200, body: { version: 2 } });
    const lost = await change('"1"');
    expect(lost).toMatchObject({ status: 412, body: { code: 'version_mismatch' } });
    expect(lost.headers.etag).toBe('"2"');
    const task = { key: 'next', action: noop };
    const add = (ifMatch: string) => api.request('POST', `/v1/workflows/${id}/tasks`, task, { 'if-match': ifMatch });
    expect(await add('"1"')).toMatchObject({ status: 412, body: { code: 'version_mismatch' } });
    expect((await api.request('GET', `/v1/workflows/${id}`)).body.version).toBe(2);
    expect(await add('"1", "2"')).toMatchObject({ status: 201, body: { version: 3 } });
    expect(await change('*')).toMatchObject({ status: 200, body: { version: 4 } });
    // A weak tag never matches.
    expect(await change('W/"4"')).toMatchObject({ status: 412 });
  });

  test.each(['4', '"4', 'W/4', '', '"1",', '1, 2', `${'"1",'.repeat(20)}"1"`])('%j is refused', async (ifMatch) => {
    const { id } = await create();
    const answer = await api.request('PUT', `/v1/workflows/${id}`, workflow, { 'if-match': ifMatch });
    expect(answer).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', errors: [{ pointer: '/headers/if-match' }] },
    });
  });

  test('lets one of many through that saw the same version', async () => {
    const { id } = await create();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        api.request('PUT', `/v1/workflows/${id}`, { ...workflow, name: `by ${index}` }, { 'if-match': '"1"' }),
      ),
    );
    expect(answers.map((answer) => answer.status).toSorted()).toEqual([200, ...Array(19).fill(412)]);
    const winner = answers.find((answer) => answer.status === 200);
    expect((await api.request('GET', `/v1/workflows/${id}`)).body).toEqual(winner!.body);
  });
});

test('changes without If-Match that race all become versions, one after the other', async () => {
  const { id } = await create({ name: 'shared', tasks: [] });
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, index) =>
      api.request('POST', `/v1/workflows/${id}/tasks`, { key: `task-${index}`, action: noop }),
    ),
  );
  expect(answers.map((answer) => answer.status)).toEqual(Array(30).fill(201));
  expect(answers.map((answer) => answer.body.version).toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 30 }, (_, index) => index + 2),
  );
  const { body } = await api.request('GET', `/v1/workflows/${id}`);
  expect(body.version).toBe(31);
  expect(body.tasks.map((task: { key: string }) => task.key).toSorted()).toEqual(
    Array.from({ length: 30 }, (_, index) => `task-${index}`).toSorted(),
  );
  for (const answer of answers) expect(answer.body.tasks).toHaveLength(answer.body.version - 1);
});

test('an archived workflow stays readable, can not be changed, and archiving it again answers the same', async () => {
  const { id } = await create();
  const archived = await api.request('DELETE', `/v1/workflows/${id}`);
  expect(archived).toMatchObject({ status: 200, body: { id, status: 'archived', version: 1 } });
  expect(await api.request('DELETE', `/v1/workflows/${id}`)).toMatchObject({ status: 200, body: archived.body });
  expect((await api.request('GET', `/v1/workflows/${id}`)).body).toEqual(archived.body);
  const refusal = { status: 409, body: { code: 'workflow_archived' } };
  expect(await api.request('PUT', `/v1/workflows/${id}`, workflow)).toMatchObject(refusal);
  expect(await api.request('POST', `/v1/workflows/${id}/tasks`, { key: 'x', action: noop })).toMatchObject(refusal);
  expect((await api.request('GET', `/v1/workflows/${id}/versions`)).body.data).toHaveLength(1);
});

test('a workflow does not exist for strangers, and for nobody else by a wrong id', async () => {
  const { id } = await create();
  const headers = await createStranger(api);
  const calls: [string, string, unknown?][] = [
    ['GET', ''],
    ['PUT', '', workflow],
    ['DELETE', ''],
    ['POST', '/tasks', { key: 'x', action: noop }],
    ['GET', '/versions'],
  ];
  for (const [method, path, body] of calls) {
    const expected = { status: 404, body: { code: 'workflow_not_found' } };
    expect(await api.request(method, `/v1/workflows/${id}${path}`, body, headers)).toMatchObject(expected);
    expect(await api.request(method, `/v1/workflows/${createId()}${path}`, body)).toMatchObject(expected);
    const malformed = await api.request(method, `/v1/workflows/nobody${path}`, body);
    expect(malformed).toMatchObject({ status: 400, body: { errors: [{ pointer: '/path/id' }] } });
  }
  expect((await api.request('GET', '/v1/workflows', undefined, headers)).body).toEqual({ data: [], nextCursor: null });
  expect((await api.request('GET', `/v1/workflows/${id}`)).body).toMatchObject({ status: 'active', version: 1 });
});

test('a key with scope read can look but not touch', async () => {
  const headers = await createStranger(api, 'read');
  expect(await api.request('POST', '/v1/workflows', workflow, headers)).toMatchObject({ status: 403 });
  expect(await api.request('GET', '/v1/workflows', undefined, headers)).toMatchObject({ status: 200 });
});

test('repeats of a POST with one Idempotency-Key make one workflow and one version', async () => {
  const headers = { 'idempotency-key': createId() };
  const before = await countRows('workflows');
  const first = await api.request('POST', '/v1/workflows', workflow, headers);
  const again = await api.request('POST', '/v1/workflows', workflow, headers);
  expect(again).toMatchObject({ status: 201, body: first.body });
  expect(again.headers.etag).toBe('"1"');
  expect(await countRows('workflows')).toBe(before + 1);
  const key = { 'idempotency-key': createId() };
  const path = `/v1/workflows/${first.body.id}/tasks`;
  expect(await api.request('POST', path, { key: 'x', action: noop }, key)).toMatchObject({
    status: 201,
    body: { version: 2 },
  });
  expect(await api.request('POST', path, { key: 'x', action: noop }, key)).toMatchObject({
    status: 201,
    body: { version: 2 },
  });
  expect(await api.request('POST', path, { key: 'y', action: noop }, key)).toMatchObject({ status: 422 });
});

describe('the list', () => {
  test('shows every workflow once, page by page, in the order of creation, and can be filtered', async () => {
    const headers = await createStranger(api);
    const ids: string[] = [];
    for (let index = 0; index < 7; index += 1) {
      const labels = { parity: index % 2 === 0 ? 'even' : 'odd', 'with space/slash': 'ü' };
      const answer = await api.request('POST', '/v1/workflows', { ...workflow, labels }, headers);
      ids.push(answer.body.id);
    }
    await api.request('DELETE', `/v1/workflows/${ids[2]}`, undefined, headers);
    const list = async (query: string) => (await api.request('GET', `/v1/workflows?${query}`, undefined, headers)).body;
    const seen: string[] = [];
    let cursor = '';
    for (let page = 0; page < 4; page += 1) {
      const body = await list(`limit=2${cursor}`);
      seen.push(...body.data.map(({ id }: { id: string }) => id));
      expect(body.nextCursor === null).toBe(page === 3);
      cursor = `&cursor=${body.nextCursor}`;
    }
    // By id, which begins with the millisecond of creation; two of the same millisecond come in either order.
    expect(seen).toEqual(ids.toSorted());
    const found = async (query: string) =>
      (await list(query)).data.map(({ id }: { id: string }) => ids.indexOf(id)).toSorted();
    expect(await found('status=archived')).toEqual([2]);
    expect(await found('status=active')).toEqual([0, 1, 3, 4, 5, 6]);
    expect(await found('status=active,archived&limit=200')).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(await found('label.parity=odd')).toEqual([1, 3, 5]);
    expect(await found('label.parity=odd&label.with%20space%2Fslash=%C3%BC&status=active&status=paused')).toEqual([
      1, 3, 5,
    ]);
    expect(await found('label.parity=none')).toEqual([]);
  });

  test('ends a page before its tasks are too large, and loses nothing by that', async () => {
    const headers = await createStranger(api);
    const large = { ...workflow, tasks: Array.from({ length: 15 }, (_, index) => largeTask(index)) };
    const ids: string[] = [];
    for (let index = 0; index < 6; index += 1) {
      ids.push((await api.request('POST', '/v1/workflows', large, headers)).body.id);
    }
    const first = await api.request('GET', '/v1/workflows', undefined, headers);
    // 15 × 60,000 bytes each: the fifth is the one that reaches 4 MiB.
    expect(first.body.data.map(({ id }: { id: string }) => id)).toEqual(ids.slice(0, 5));
    const rest = await api.request('GET', `/v1/workflows?cursor=${first.body.nextCursor}`, undefined, headers);
    expect(rest.body).toMatchObject({ data: [{ id: ids[5] }], nextCursor: null });
    for (let index = 0; index < 5; index += 1) await api.request('PUT', `/v1/workflows/${ids[0]}`, large, headers);
    const path = `/v1/workflows/${ids[0]}/versions`;
    const versions = await api.request('GET', path, undefined, headers);
    expect(versions.body.data.map(({ version }: { version: number }) => version)).toEqual([1, 2, 3, 4, 5]);
    const last = await api.request('GET', `${path}?limit=1&cursor=${versions.body.nextCursor}`, undefined, headers);
    expect(last.body).toMatchObject({ data: [{ version: 6 }], nextCursor: null });
    const other = await api.request(
      'GET',
      `/v1/workflows/${ids[1]}/versions?cursor=${versions.body.nextCursor}`,
      undefined,
      headers,
    );
    expect(other).toMatchObject({ status: 400, body: { errors: [{ pointer: '/query/cursor' }] } });
  });

  test.each([
    ['limit=0', '/query/limit'],
    ['limit=201', '/query/limit'],
    ['limit=ten', '/query/limit'],
    ['limit=1.5', '/query/limit'],
    ['cursor=abc', '/query/cursor'],
    ['cursor=', '/query/cursor'],
    [`cursor=${'a'.repeat(300)}`, '/query/cursor'],
    ['status=late', '/query/status'],
    ['status=', '/query/status'],
    ['label.=x', '/query/label.'],
    ['label.a=x&label.a=y', '/query/label.a'],
    [`label.a=${'x'.repeat(257)}`, '/query/label.a'],
    ['color=red', '/query/color'],
  ])('refuses %s', async (query, pointer) => {
    const answer = await api.request('GET', `/v1/workflows?${query}`);
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request', errors: [{ pointer }] } });
  });
});

const largeTask = (index: number) => ({ key: `task-${index}`, action: { ...http, body: 'x'.repeat(60_000) } });
