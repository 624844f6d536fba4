import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Entry, findNew } from './audit-steps.ts';
import { openTestApi, TEST_KEY, type TestApi } from './open-test-api.ts';
import { createStranger } from './stranger.ts';
import { createRunByHand, HOUR, NOOP } from './timer-steps.ts';

let api: TestApi;
/** A key of the default tenant, by which the changes below are made. */
let key: { authorization: string };

beforeAll(async () => {
  api = await openTestApi();
  const { body } = await api.request('POST', '/v1/api-keys', { name: 'changer', scope: 'admin' });
  key = { authorization: `Bearer ${body.key}` };
});
afterAll(async () => {
  await api.close();
});

test('what many requests did in one statement stands in one entry, with the request of each', async () => {
  const { result, entries } = await findNew(api, () =>
    Promise.all(
      Array.from({ length: 20 }, () => api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR }, key)),
    ),
  );
  const pairs = entries.flatMap(({ targetIds, requestIds }) =>
    targetIds.map((id, index) => [id, requestIds.length === 1 ? requestIds[0] : requestIds[index]]),
  );
  expect(pairs.toSorted()).toEqual(result.map(({ body, headers }) => [body.id, headers['x-request-id']]).toSorted());
  expect(entries.length).toBeLessThan(20);
});

test('who cancelled the timer of a task is found by the timer, though it was a run that was cancelled', async () => {
  const { runId, timerIds } = await createRunByHand(api, [{ key: 'a' }]);
  await api.request('POST', `/v1/runs/${runId}/cancel`, undefined, key);
  const { body } = await api.request('GET', `/v1/audit-log?targetId=${timerIds.a}&action=run.cancel`);
  expect(body.data).toMatchObject([{ action: 'run.cancel', targetIds: [runId, timerIds.a] }]);
});

test('an id that a client chose does not pass for ours: it stands behind one that nobody else has', async () => {
  const create = (requestId: string) =>
    api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR }, { ...key, 'x-request-id': requestId });
  const sent = 'chosen-1';
  // The last is not of those that may be sent: the answer tells ours.
  const { result, entries } = await findNew(api, async () => [
    await create(sent),
    await create(sent),
    await create('a~b'),
  ]);
  expect(result.slice(0, 2).map(({ headers }) => headers['x-request-id'])).toEqual([sent, sent]);
  const [first, second, third] = entries.flatMap(({ requestIds }) => requestIds);
  for (const id of [first, second]) expect(id).toMatch(/^[0-9a-f-]{36}~chosen-1$/);
  expect(first).not.toBe(second);
  expect(third).toBe(result[2]!.headers['x-request-id']);
  expect(third).not.toContain('~');
});

test('the bootstrap key is named as such, and so is nobody', async () => {
  const byBootstrap = await findNew(api, () => api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR }));
  expect(byBootstrap.entries).toMatchObject([{ actor: 'bootstrap', keyId: null }]);
  const open = await openTestApi({ AUTH: 'off', HOST: '127.0.0.1' }, api);
  try {
    const byNobody = await findNew(api, () => open.request('POST', '/v1/timers', { action: NOOP, delay: HOUR }));
    expect(byNobody.entries).toMatchObject([{ actor: 'nobody', keyId: null }]);
  } finally {
    await open.close();
  }
});

test('neither payloads nor secrets reach the log', async () => {
  const canary = `canary-${createId()}`;
  const action = { type: 'http', url: 'https://a.example/', headers: { authorization: canary }, body: canary };
  const timer = await api.request('POST', '/v1/timers', { action, payload: canary, delay: HOUR }, key);
  await api.request('PATCH', `/v1/timers/${timer.body.id}`, { payload: { canary } }, key);
  await api.request('POST', '/v1/workflows', { name: canary, tasks: [{ key: 'a', action }] }, key);
  const { rows } = await api.testDatabase.database.ordinary.query('SELECT a::text AS row FROM audit_log AS a');
  expect(rows.length).toBeGreaterThan(3);
  for (const { row } of rows) for (const secret of [canary, TEST_KEY, 'whsec_']) expect(row).not.toContain(secret);
});

describe('GET /v1/audit-log', () => {
  test('shows its own tenant to an admin, and any tenant to an operator', async () => {
    const tenantId = (await api.request('POST', '/v1/tenants', { name: 't' })).body.id as string;
    const made = await api.request('POST', '/v1/api-keys', { name: 'a', scope: 'admin', tenantId });
    const admin = { authorization: `Bearer ${made.body.key}` };
    const timer = await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR }, admin);
    const expected = [
      { action: 'api-key.create', actor: 'bootstrap', targetIds: [made.body.id], tenantId },
      { action: 'timer.create', actor: 'key', keyId: made.body.id, targetIds: [timer.body.id], tenantId },
    ];
    const own = await api.request('GET', '/v1/audit-log', undefined, admin);
    expect(own).toMatchObject({ status: 200, body: { data: expected, nextCursor: null } });
    expect(own.body.data).toHaveLength(2);
    expect((await api.request('GET', `/v1/audit-log?tenantId=${tenantId}`)).body).toEqual(own.body);
    expect(await api.request('GET', `/v1/audit-log?tenantId=${DEFAULT_TENANT_ID}`, undefined, admin)).toMatchObject({
      status: 403,
      body: { code: 'operator_only' },
    });
    const writer = await api.request('POST', '/v1/api-keys', { name: 'w', scope: 'write' });
    const asWriter = { authorization: `Bearer ${writer.body.key}` };
    expect(await api.request('GET', '/v1/audit-log', undefined, asWriter)).toMatchObject({ status: 403 });
  });

  test('is narrowed by its filters and read page by page', async () => {
    const stranger = await createStranger(api, 'admin');
    const ids: string[] = [];
    for (let count = 0; count < 5; count += 1) {
      ids.push((await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR }, stranger)).body.id);
    }
    await api.request('DELETE', `/v1/timers/${ids[2]}`, undefined, stranger);
    const read = async (query: string) =>
      (await api.request('GET', `/v1/audit-log?${query}`, undefined, stranger)).body;
    const ofTimer = await read(`targetId=${ids[2]!.toUpperCase()}`);
    expect(ofTimer.data.map(({ action }: Entry) => action)).toEqual(['timer.create', 'timer.cancel']);
    expect((await read('action=timer.cancel')).data).toMatchObject([{ targetIds: [ids[2]] }]);
    const [first] = ofTimer.data as [Entry];
    expect((await read(`keyId=${first.keyId}`)).data).toHaveLength(6);
    expect((await read('actor=bootstrap')).data).toMatchObject([{ action: 'api-key.create' }]);
    expect((await read(`before=${first.createdAt}&action=timer.create`)).data.length).toBeLessThan(5);
    const seen: Entry[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const page: { data: Entry[]; nextCursor: string | null } = await read(`limit=2${cursor && `&cursor=${cursor}`}`);
      seen.push(...page.data);
      cursor = page.nextCursor;
    }
    expect(seen).toEqual((await read('limit=200')).data);
    expect(seen).toHaveLength(7);
  });

  test.each([
    ['action=timer.eat', '/query/action'],
    ['actor=me', '/query/actor'],
    ['keyId=mine', '/query/keyId'],
    ['targetId=it', '/query/targetId'],
    ['after=yesterday-or-so-perhaps', '/query/after'],
    ['limit=0', '/query/limit'],
    ['cursor=nonsense', '/query/cursor'],
    ['who=me', '/query/who'],
  ])('refuses %s', async (query, pointer) => {
    expect(await api.request('GET', `/v1/audit-log?${query}`)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', errors: [{ pointer }] },
    });
  });
});
