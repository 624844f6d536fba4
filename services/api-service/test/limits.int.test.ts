import { createId } from '@punctual/domain';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { LIMITS_TTL_MS } from '../limits/known-limits.ts';
import { COUNT_TTL_MS } from '../limits/live-timer-quotas.ts';
import { openTestApi, type TestAnswer, type TestApi } from './open-test-api.ts';
import { createDeadLetter, endTimer, HOUR, NOOP, startDueTimer } from './timer-steps.ts';

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

/** A tenant with limits, and the headers of a key of it. */
async function createTenant(limits: object, by: TestApi = api) {
  const tenant = await by.request('POST', '/v1/tenants', { name: 'limited', ...limits });
  expect(tenant).toMatchObject({ status: 201, body: limits });
  const key = await by.request('POST', '/v1/api-keys', { name: 'k', scope: 'write', tenantId: tenant.body.id });
  return { id: tenant.body.id as string, headers: { authorization: `Bearer ${key.body.key}` } };
}

/** From now on time stands still for the buckets of requests. */
function stopTime(): void {
  vi.spyOn(performance, 'now').mockReturnValue(performance.now());
}

/** From now on it is this much later for them than it is. */
function passTime(ms: number): void {
  const now = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => now() + ms);
}

const RATE_LIMITED = { status: 429, body: { code: 'rate_limited' }, headers: { 'retry-after': '1' } };
const QUOTA_EXCEEDED = { status: 429, body: { code: 'quota_exceeded' }, headers: { 'retry-after': '2' } };
const statusesOf = (answers: readonly TestAnswer[]) => answers.map(({ status }) => status);
const timerOf = (fields: object = {}) => ({ action: NOOP, delay: HOUR, ...fields });

describe('requests per second', () => {
  const read = (headers: Record<string, string>, by: TestApi = api) =>
    by.request('GET', '/v1/timers', undefined, headers);

  test('beyond those of the tenant are answered 429 with the time to wait; other tenants are not held up', async () => {
    const { headers } = await createTenant({ requestsPerSecondMax: 3 });
    const other = await createTenant({ requestsPerSecondMax: 3 });
    stopTime();
    const answers = [];
    for (let sent = 0; sent < 5; sent += 1) answers.push(await read(headers));
    expect(statusesOf(answers)).toEqual([200, 200, 200, 429, 429]);
    expect(answers[4]).toMatchObject(RATE_LIMITED);
    expect(answers[4]!.headers['content-type']).toContain('application/problem+json');
    expect((await read(other.headers)).status).toBe(200);
    expect((await read({})).status).toBe(200);
    vi.restoreAllMocks();
    passTime(1_000);
    expect((await read(headers)).status).toBe(200);
  });

  test('count each item of a batch, whatever the batch is of', async () => {
    const { headers } = await createTenant({ requestsPerSecondMax: 10 });
    const ids = Array.from({ length: 6 }, createId);
    const batches: [string, string, object][] = [
      ['POST', '/v1/timers/batch', { timers: ids.map(() => timerOf()) }],
      ['PATCH', '/v1/timers/batch', { timers: ids.map((id) => ({ id, payload: 1 })) }],
      ['POST', '/v1/timers/batch/cancel', { ids }],
      ['POST', '/v1/runs/batch', { workflowId: createId(), runs: ids.map(() => ({})) }],
      ['POST', '/v1/dead-letters/redrive', { ids }],
    ];
    for (const [index, [method, path, body]] of batches.entries()) {
      vi.restoreAllMocks();
      // A second for each of them: the bucket is full again.
      passTime((index + 1) * 1_001);
      stopTime();
      const send = () => api.request(method, path, body, headers);
      expect((await send()).status, path).not.toBe(429);
      expect(await send(), path).toMatchObject(RATE_LIMITED);
      // The refused one counted as a request: of ten, six and one are gone.
      const left = [];
      for (let sent = 0; sent < 4; sent += 1) left.push(await read(headers));
      expect(statusesOf(left), path).toEqual([200, 200, 200, 429]);
    }
  });

  test('are owed afterwards for what a filter found, and for the tasks of a run', async () => {
    const tenant = await createTenant({ requestsPerSecondMax: 1_000 });
    const { headers } = tenant;
    const asTenant = {
      ...api,
      request: ((method, path, body) => api.request(method, path, body, headers)) as TestApi['request'],
    };
    for (let count = 0; count < 4; count += 1) await createDeadLetter(asTenant);
    const tasks = (delay: object) => ['a', 'b', 'c', 'd'].map((key) => ({ key, action: NOOP, ...delay }));
    const begin = async (delay: object) => {
      const workflow = await asTenant.request('POST', '/v1/workflows', { name: 'w', tasks: tasks(delay) });
      return (await asTenant.request('POST', '/v1/runs', { workflowId: workflow.body.id })).body;
    };
    const waiting = await begin({ delay: HOUR });
    const dead = await begin({});
    for (const { timerId } of dead.tasks) await endTimer(api, await startDueTimer(api, timerId, 1), 'dead');
    // As a limit that was changed: the bucket is a new one, and full.
    await api.request('PATCH', `/v1/tenants/${tenant.id}`, { requestsPerSecondMax: 5 });
    passTime(LIMITS_TTL_MS + 1_001);
    const operations: [string, object | undefined, number][] = [
      [`/v1/runs/${waiting.id}/cancel`, undefined, 4],
      [`/v1/runs/${dead.id}/retry`, undefined, 4],
      ['/v1/dead-letters/redrive', { filter: {} }, 4],
    ];
    for (const [index, [path, body, found]] of operations.entries()) {
      vi.restoreAllMocks();
      passTime((index + 2) * (LIMITS_TTL_MS + 1_001));
      stopTime();
      expect((await asTenant.request('POST', path, body)).status, path).toBe(200);
      const left = [];
      for (let sent = 0; sent <= 5 - found; sent += 1) left.push((await read(headers)).status);
      expect(left, path).toEqual([...Array.from({ length: 5 - found }, () => 200), 429]);
    }
  });

  test('do not count what operators do to the installation, so that a limit can be raised again', async () => {
    const strict = await openTestApi({ API_REQUESTS_PER_SECOND_MAX: '1' });
    try {
      stopTime();
      expect((await strict.request('GET', '/v1/timers')).status).toBe(200);
      expect(await strict.request('GET', '/v1/timers')).toMatchObject(RATE_LIMITED);
      for (let sent = 0; sent < 3; sent += 1) expect((await strict.request('GET', '/v1/tenants')).status).toBe(200);
      vi.restoreAllMocks();
      passTime(2_000);
      // What the setting says holds for whoever has no limit of their own.
      const { headers } = await createTenant({ requestsPerSecondMax: 2 }, strict);
      stopTime();
      const answers = [];
      for (let sent = 0; sent < 3; sent += 1) answers.push(await read(headers, strict));
      expect(statusesOf(answers)).toEqual([200, 200, 429]);
    } finally {
      vi.restoreAllMocks();
      await strict.close();
    }
  });

  test('show in the metrics', async () => {
    const { body } = await api.request('GET', '/metrics');
    expect(body).toMatch(/api_requests_limited_total\{limit="rate"\} \d/);
  });
});

describe('live timers', () => {
  const create = (headers: Record<string, string>, fields: object = {}, more: Record<string, string> = {}) =>
    api.request('POST', '/v1/timers', timerOf(fields), { ...headers, ...more });

  test('beyond those of the tenant are refused, until some have ended and the books were asked again', async () => {
    const { headers } = await createTenant({ liveTimersMax: 3 });
    const answers = [];
    for (let sent = 0; sent < 4; sent += 1) answers.push(await create(headers));
    expect(statusesOf(answers)).toEqual([201, 201, 201, 429]);
    expect(answers[3]).toMatchObject(QUOTA_EXCEEDED);
    expect((await api.request('GET', '/v1/timers/count', undefined, headers)).body.count).toBe(3);
    // Another tenant is not concerned.
    expect((await create({})).status).toBe(201);
    await api.request('POST', `/v1/timers/${answers[0]!.body.id}/cancel`, undefined, headers);
    api.passTime(COUNT_TTL_MS);
    expect(statusesOf([await create(headers), await create(headers)])).toEqual([201, 429]);
  });

  test('that come at the same time are let in no further than there is room', async () => {
    const { headers } = await createTenant({ liveTimersMax: 20 });
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, index) =>
        create(
          headers,
          index % 3 === 0 ? { externalId: `e-${index}` } : {},
          index % 3 === 1 ? { 'idempotency-key': `k-${index}` } : {},
        ),
      ),
    );
    const counts = Map.groupBy(answers, ({ status }) => status);
    expect([counts.get(201)?.length, counts.get(429)?.length]).toEqual([20, 40]);
    expect((await api.request('GET', '/v1/timers/count', undefined, headers)).body.count).toBe(20);
  });

  test('a batch that does not fit is refused whole, and stores nothing', async () => {
    const { headers } = await createTenant({ liveTimersMax: 3 });
    const send = (count: number) =>
      api.request('POST', '/v1/timers/batch', { timers: Array.from({ length: count }, () => timerOf()) }, headers);
    expect(await send(4)).toMatchObject(QUOTA_EXCEEDED);
    expect((await send(3)).status).toBe(207);
    expect(await send(1)).toMatchObject(QUOTA_EXCEEDED);
    expect((await api.request('GET', '/v1/timers/count', undefined, headers)).body.count).toBe(3);
  });

  test('repeats get their first answer although there is no room, and a refusal is not kept for them', async () => {
    const { id, headers } = await createTenant({ liveTimersMax: 2 });
    const named = await create(headers, { externalId: 'mine' });
    const keyed = await create(headers, {}, { 'idempotency-key': 'first' });
    expect(statusesOf([named, keyed])).toEqual([201, 201]);
    expect(await create(headers, {}, { 'idempotency-key': 'second' })).toMatchObject(QUOTA_EXCEEDED);
    expect(await create(headers, { externalId: 'other' }, { 'idempotency-key': 'third' })).toMatchObject(
      QUOTA_EXCEEDED,
    );
    expect(await create(headers, { externalId: 'mine' })).toMatchObject({ status: 200, body: named.body });
    expect(await create(headers, { externalId: 'mine' }, { 'idempotency-key': 'fourth' })).toMatchObject({
      status: 200,
      body: named.body,
    });
    expect(await create(headers, {}, { 'idempotency-key': 'first' })).toMatchObject({ status: 201, body: keyed.body });
    await api.request('PATCH', `/v1/tenants/${id}`, { liveTimersMax: 3 });
    api.passTime(LIMITS_TTL_MS);
    expect((await create(headers, {}, { 'idempotency-key': 'second' })).status).toBe(201);
  });

  test('a run needs room for the timers with which it begins', async () => {
    const { headers } = await createTenant({ liveTimersMax: 3 });
    const tasks = [
      { key: 'a', action: NOOP, delay: HOUR },
      { key: 'b', action: NOOP, delay: HOUR },
      { key: 'c', after: ['a', 'b'], action: NOOP },
    ];
    const workflow = await api.request('POST', '/v1/workflows', { name: 'w', tasks }, headers);
    const begin = (fields: object = {}, more: Record<string, string> = {}) =>
      api.request('POST', '/v1/runs', { workflowId: workflow.body.id, ...fields }, { ...headers, ...more });
    const first = await begin({ externalId: 'mine' });
    expect(first.status).toBe(201);
    expect(await begin()).toMatchObject(QUOTA_EXCEEDED);
    expect(await begin({}, { 'idempotency-key': 'k' })).toMatchObject(QUOTA_EXCEEDED);
    expect(await begin({ externalId: 'mine' })).toMatchObject({ status: 200, body: { id: first.body.id } });
    const batch = await api.request(
      'POST',
      '/v1/runs/batch',
      { workflowId: workflow.body.id, runs: [{}, { externalId: 'mine' }] },
      headers,
    );
    expect(batch.body.results).toMatchObject([
      { status: 429, error: { code: 'quota_exceeded' } },
      { status: 200, run: { id: first.body.id } },
    ]);
    expect((await api.request('GET', '/v1/runs', undefined, headers)).body.data).toHaveLength(1);
  });

  test('a dead letter stays one when there is no room for it among the live', async () => {
    const full = await openTestApi({ API_LIVE_TIMERS_MAX: '1' });
    try {
      const dead = await createDeadLetter(full);
      full.passTime(COUNT_TTL_MS);
      expect((await full.request('POST', '/v1/timers', timerOf())).status).toBe(201);
      const redrive = () => full.request('POST', `/v1/dead-letters/${dead}/redrive`);
      expect(await redrive()).toMatchObject(QUOTA_EXCEEDED);
      expect((await full.request('GET', '/v1/dead-letters')).body.data).toMatchObject([{ id: dead }]);
    } finally {
      await full.close();
    }
  });

  test('what is there already under its external id takes no room, however often it is sent', async () => {
    const { headers } = await createTenant({ liveTimersMax: 3 });
    const send = (more = {}) =>
      api.request('POST', '/v1/timers', timerOf({ externalId: 'mine' }), { ...headers, ...more });
    const batch = () => api.request('POST', '/v1/timers/batch', { timers: [timerOf({ externalId: 'mine' })] }, headers);
    expect((await send()).status).toBe(201);
    for (let repeat = 0; repeat < 3; repeat += 1) {
      expect((await send()).status).toBe(200);
      expect((await send({ 'idempotency-key': `k${repeat}` })).status).toBe(200);
      expect((await batch()).body.results).toMatchObject([{ status: 200 }]);
    }
    expect((await create(headers)).status).toBe(201);
    expect((await create(headers)).status).toBe(201);
    expect(await create(headers)).toMatchObject(QUOTA_EXCEEDED);
  });

  test('of a tenant without a quota nobody counts', async () => {
    const { headers } = await createTenant({});
    expect((await create(headers)).status).toBe(201);
    const { ordinary } = api.context.database;
    let queries = 0;
    const listener = () => {
      queries += 1;
    };
    ordinary.on('acquire', listener);
    try {
      expect((await create(headers)).status).toBe(201);
      expect(queries).toBe(0);
    } finally {
      ordinary.off('acquire', listener);
    }
  });
});

describe('the limits of a tenant', () => {
  test('are shown, changed one by one, and taken back', async () => {
    const { id } = await createTenant({ requestsPerSecondMax: 5 });
    const change = async (body: object) => {
      const answer = await api.request('PATCH', `/v1/tenants/${id}`, body);
      expect(answer.status).toBe(200);
      const listed = (await api.request('GET', '/v1/tenants?limit=200')).body.data;
      expect(listed).toContainEqual(answer.body);
      const { name, requestsPerSecondMax, liveTimersMax } = answer.body;
      return [name, requestsPerSecondMax, liveTimersMax];
    };
    expect(await change({ liveTimersMax: 0 })).toEqual(['limited', 5, 0]);
    expect(await change({ name: 'renamed' })).toEqual(['renamed', 5, 0]);
    expect(await change({ requestsPerSecondMax: null, liveTimersMax: 1_000_000_000 })).toEqual([
      'renamed',
      null,
      1_000_000_000,
    ]);
  });

  test.each<[string, unknown, string]>([
    ['no body', undefined, ''],
    ['nothing to change', {}, ''],
    ['no requests at all', { requestsPerSecondMax: 0 }, '/requestsPerSecondMax'],
    ['half a request', { requestsPerSecondMax: 0.5 }, '/requestsPerSecondMax'],
    ['more requests than there can be', { requestsPerSecondMax: 1e9 }, '/requestsPerSecondMax'],
    ['a number as text', { requestsPerSecondMax: '5' }, '/requestsPerSecondMax'],
    ['fewer than no timers', { liveTimersMax: -1 }, '/liveTimersMax'],
    ['more timers than there can be', { liveTimersMax: 1e12 }, '/liveTimersMax'],
    ['an empty name', { name: '' }, '/name'],
    ['a field that can not be changed', { isSigned: true }, '/isSigned'],
  ])('are not changed by %s', async (_name, body, pointer) => {
    const { id } = await createTenant({ requestsPerSecondMax: 5, liveTimersMax: 5 });
    const answer = await api.request('PATCH', `/v1/tenants/${id}`, body);
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request', errors: [{ pointer }] } });
    const [row] = (
      await api.context.database.ordinary.query(
        'SELECT name, requests_per_second_max, live_timers_max FROM tenants WHERE id = $1',
        [id],
      )
    ).rows;
    expect(row).toEqual({ name: 'limited', requests_per_second_max: 5, live_timers_max: 5 });
  });

  test('of an unknown tenant are 404, and an admin of another than the default tenant can not change its own', async () => {
    expect(await api.request('PATCH', `/v1/tenants/${createId()}`, { name: 'n' })).toMatchObject({
      status: 404,
      body: { code: 'tenant_not_found' },
    });
    const { id } = await createTenant({ requestsPerSecondMax: 100 });
    const key = await api.request('POST', '/v1/api-keys', { name: 'k', scope: 'admin', tenantId: id });
    const admin = { authorization: `Bearer ${key.body.key}` };
    expect(await api.request('PATCH', `/v1/tenants/${id}`, { requestsPerSecondMax: null }, admin)).toMatchObject({
      status: 403,
      body: { code: 'operator_only' },
    });
  });
});
