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

async function createWorkflow(tasks: unknown[], headers?: Record<string, string>): Promise<string> {
  const answer = await api.request('POST', '/v1/workflows', { name: 'w', tasks }, headers);
  expect(answer.status).toBe(201);
  return answer.body.id;
}

async function begin(workflowId: string, fields: object = {}) {
  const answer = await api.request('POST', '/v1/runs', { workflowId, ...fields });
  expect(answer).toMatchObject({ status: 201 });
  return answer.body;
}

const read = async (id: string) => (await api.request('GET', `/v1/runs/${id}`)).body;

describe('the list', () => {
  test('shows every run once, page by page, in the order of creation, and can be filtered', async () => {
    const headers = await createStranger(api);
    const empty = await createWorkflow([], headers);
    const waiting = await createWorkflow(
      [{ key: 'a', delay: { type: 'duration', value: 1, unit: 'days' }, action: noop }],
      headers,
    );
    const runs: { id: string; createdAt: string }[] = [];
    for (let index = 0; index < 6; index += 1) {
      const body = {
        workflowId: index % 2 === 0 ? empty : waiting,
        labels: { number: `${index}`, 'a.b': 'c' },
        input: index,
      };
      runs.push((await api.request('POST', '/v1/runs', body, headers)).body);
    }
    const ids = runs.map(({ id }) => id);
    const list = async (query: string) => (await api.request('GET', `/v1/runs?${query}`, undefined, headers)).body;
    const found = async (query: string) =>
      (await list(query)).data.map(({ id }: { id: string }) => ids.indexOf(id)).toSorted();
    const seen: string[] = [];
    let cursor = '';
    for (let page = 0; page < 3; page += 1) {
      const body = await list(`limit=2${cursor}`);
      seen.push(...body.data.map(({ id }: { id: string }) => id));
      expect(body.nextCursor === null).toBe(page === 2);
      cursor = `&cursor=${body.nextCursor}`;
    }
    // By id, which begins with the millisecond of creation; two of the same millisecond come in either order.
    expect(seen).toEqual(ids.toSorted());
    expect(await found(`workflowId=${waiting}`)).toEqual([1, 3, 5]);
    expect(await found('status=succeeded')).toEqual([0, 2, 4]);
    expect(await found('status=running,succeeded&status=failed')).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await found('label.number=3')).toEqual([3]);
    expect(await found('label.a.b=c&status=running')).toEqual([1, 3, 5]);
    // Half-open: the first bound is included, the second is not.
    const [, second, , fourth] = runs;
    const between = await found(`createdAfter=${second!.createdAt}&createdBefore=${fourth!.createdAt}`);
    expect(between).toContain(1);
    expect(between).not.toContain(3);
    const { data } = await list('label.number=1');
    expect(data[0]).toMatchObject({ workflowId: waiting, workflowVersion: 1, status: 'running', input: 1 });
    expect(data[0].tasks).toBeUndefined();
  });

  test.each([
    ['workflowId=me', '/query/workflowId'],
    ['status=late', '/query/status'],
    ['createdAfter=yesterday', '/query/createdAfter'],
    ['createdBefore=2027-02-30T00:00:00Z', '/query/createdBefore'],
    ['createdAfter=2027-01-01', '/query/createdAfter'],
    ['limit=0', '/query/limit'],
    ['cursor=abc', '/query/cursor'],
    ['label.=x', '/query/label.'],
    ['color=red', '/query/color'],
  ])('refuses %s', async (query, pointer) => {
    const answer = await api.request('GET', `/v1/runs?${query}`);
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request', errors: [{ pointer }] } });
  });
});

test.each<[string, unknown, string]>([
  ['no body', undefined, ''],
  ['a list', [], ''],
  ['no workflow', {}, '/workflowId'],
  ['a workflow that is no id', { workflowId: 'w' }, '/workflowId'],
  ['a workflow that is a number', { workflowId: 1 }, '/workflowId'],
  ['an unknown field', { workflowId: createId(), color: 'red' }, '/color'],
  ['an input that is too large', { workflowId: createId(), input: 'x'.repeat(65_535) }, '/input'],
  ['an input that is too large in bytes', { workflowId: createId(), input: 'ü'.repeat(33_000) }, '/input'],
  ['NUL in the input', { workflowId: createId(), input: { a: ['b\0'] } }, '/input/a/0'],
  ['NUL in a key of the input', { workflowId: createId(), input: { 'a\0': 1 } }, '/input/a\0'],
  ['an empty external id', { workflowId: createId(), externalId: '' }, '/externalId'],
  ['an external id that is too long', { workflowId: createId(), externalId: 'x'.repeat(256) }, '/externalId'],
  ['an external id that is a number', { workflowId: createId(), externalId: 7 }, '/externalId'],
  ['labels that are no object', { workflowId: createId(), labels: 'a' }, '/labels'],
  ['a label that is null', { workflowId: createId(), labels: { a: null } }, '/labels/a'],
  ['an input that is too deep', `{"workflowId":"${createId()}","input":${'['.repeat(40)}${']'.repeat(40)}}`, '*'],
])('refuses a run with %s', async (_name, body, pointer) => {
  const answer = await api.request('POST', '/v1/runs', body);
  expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  if (pointer !== '*') expect(answer.body.errors[0].pointer).toBe(pointer);
});

test('any JSON may be the input, and comes back as it was', async () => {
  const workflowId = await createWorkflow([]);
  for (const input of [null, false, 0, '', [], {}, 'x'.repeat(65_534), { constructor: 1 }, 1e300, '\u2028 "\\']) {
    const run = await begin(workflowId, { input });
    expect(run.input).toEqual(input);
    expect((await read(run.id)).input).toEqual(input);
  }
  expect('input' in (await begin(workflowId))).toBe(false);
});
