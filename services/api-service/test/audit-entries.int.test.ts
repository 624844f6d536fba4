import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findNew } from './audit-steps.ts';
import { CHANGES } from './audited-changes.ts';
import { PAUSES } from './audited-pauses.ts';
import { SCHEDULES } from './audited-schedules.ts';
import { STEERING } from './audited-steering.ts';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { createStranger } from './stranger.ts';

/** Every route that changes something: see the inventory below. */
const AUDITED = { ...CHANGES, ...PAUSES, ...SCHEDULES, ...STEERING };

let api: TestApi;
/** A key of the default tenant, by which the changes below are made, and its id. */
let key: { authorization: string };
let keyId: string;

beforeAll(async () => {
  api = await openTestApi();
  const { body } = await api.request('POST', '/v1/api-keys', { name: 'changer', scope: 'admin' });
  key = { authorization: `Bearer ${body.key}` };
  keyId = body.id;
});
afterAll(async () => {
  await api.close();
});

test('every route that changes something is among the changes', async () => {
  const { body } = await api.request('GET', '/v1/openapi.json');
  const routes = Object.entries(body.paths as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  // A preview stores nothing. What workers do with tasks is no change by anybody: attempts tell of it.
  const isWorkers = (route: string) => /^POST \/v1\/(task-queues\/\{queue\}\/leases|tasks\/)/.test(route);
  const changing = routes.filter(
    (route) => !route.startsWith('GET ') && route !== 'POST /v1/delays/preview' && !isWorkers(route),
  );
  expect(Object.keys(AUDITED).toSorted()).toEqual(changing.toSorted());
});

describe.each(Object.keys(AUDITED))('%s', (route) => {
  const method = route.split(' ')[0]!;

  test('leaves exactly one entry, which says who changed what and in which request', async () => {
    const change = await AUDITED[route]!(api);
    const requestId = createId();
    const headers = { ...key, 'x-request-id': requestId };
    const beganAt = Date.now();
    const { result: answer, entries } = await findNew(api, () => api.request(method, change.url, change.body, headers));
    expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
    expect(entries).toEqual([
      {
        id: expect.any(String),
        tenantId: change.tenantId ?? DEFAULT_TENANT_ID,
        actor: 'key',
        keyId,
        action: change.action,
        targetIds: expect.any(Array),
        requestIds: [expect.stringMatching(new RegExp(`^[0-9a-f-]{36}~${requestId}$`))],
        details: change.details ? expect.any(String) : null,
        createdAt: expect.any(Number),
      },
    ]);
    const [entry] = entries;
    const targets = typeof change.targets === 'function' ? change.targets(answer) : change.targets;
    expect(entry!.targetIds.toSorted()).toEqual(targets.toSorted());
    if (change.details) expect(JSON.parse(entry!.details as unknown as string)).toEqual(change.details);
    expect(Math.abs(Number(entry!.createdAt) - beganAt)).toBeLessThan(60_000);
  });

  test('leaves none when it is refused, or changes nothing', async () => {
    const change = await AUDITED[route]!(api);
    const stranger = await createStranger(api, 'read');
    const refused = await findNew(api, async () => [
      await api.request(method, change.url, change.body, { authorization: '' }),
      await api.request(method, change.url, change.body, { authorization: 'Bearer pk_unknown' }),
      await api.request(method, change.url, change.body, stranger),
    ]);
    expect(refused.result.map(({ status }) => status)).toEqual([401, 401, 403]);
    expect(refused.entries).toEqual([]);
    await api.request(method, change.url, change.body, key);
    const idle = await findNew(api, async () => {
      const statuses: number[] = [];
      for (const { url = change.url, body = change.body } of change.idle) {
        statuses.push((await api.request(method, url, body, key)).status);
      }
      return statuses;
    });
    expect(idle.result).toEqual(change.idle.map(({ status }) => status));
    expect(idle.entries).toEqual([]);
  });

  test('with an Idempotency-Key leaves one, however often it is repeated', async () => {
    const change = await AUDITED[route]!(api);
    const headers = { ...key, 'idempotency-key': createId() };
    const { result, entries } = await findNew(api, async () => {
      const first = await api.request(method, change.url, change.body, headers);
      return [first, await api.request(method, change.url, change.body, headers)];
    });
    expect(result[0]!.status, JSON.stringify(result[0]!.body)).toBeLessThan(300);
    expect(result[1]!.status).toBe(result[0]!.status);
    expect(entries.map(({ action }) => action)).toEqual([change.action]);
  });
});
