import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestApi, TEST_KEY, type TestAnswer, type TestApi } from './open-test-api.ts';
import { createStranger } from './stranger.ts';
import { createDeadLetter, createRunByHand, endTimer, HOUR, NOOP, startDueTimer, UNKNOWN_ID } from './timer-steps.ts';

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

interface Entry {
  id: string;
  tenantId: string;
  actor: string;
  keyId?: string;
  action: string;
  targetIds: string[];
  requestIds: string[];
  details?: Record<string, unknown>;
  createdAt: string;
}

async function readEntries(): Promise<Entry[]> {
  const { rows } = await api.testDatabase.database.ordinary.query(
    `SELECT id, tenant_id AS "tenantId", actor, key_id AS "keyId", action, target_ids AS "targetIds",
       string_to_array(request_ids, ' ') AS "requestIds",
       details, created_at AS "createdAt" FROM audit_log ORDER BY created_at, id`,
  );
  return rows;
}

/** What a request leaves in the log. */
async function findNew<T>(work: () => Promise<T>): Promise<{ result: T; entries: Entry[] }> {
  const before = new Set((await readEntries()).map(({ id }) => id));
  const result = await work();
  return { result, entries: (await readEntries()).filter(({ id }) => !before.has(id)) };
}

const createTimer = async (fields: object = {}) =>
  (await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR, ...fields })).body.id as string;
const createWorkflow = async () =>
  (await api.request('POST', '/v1/workflows', { name: 'w', tasks: [{ key: 'a', action: NOOP, delay: HOUR }] })).body
    .id as string;
const createTenant = async () => (await api.request('POST', '/v1/tenants', { name: 't' })).body.id as string;

async function createDeadRun(): Promise<string> {
  const { body: workflow } = await api.request('POST', '/v1/workflows', {
    name: 'd',
    tasks: [{ key: 'a', action: NOOP }],
  });
  const { body: run } = await api.request('POST', '/v1/runs', { workflowId: workflow.id });
  await endTimer(api, await startDueTimer(api, run.tasks[0].timerId, 1), 'dead');
  return run.id;
}

/** A good request, which refused variants of it follow, and what the log must say of it. */
interface Change {
  action: string;
  url: string;
  body?: unknown;
  /** Ids of what it changes, from its answer where it makes something new. */
  targets: string[] | ((answer: TestAnswer) => string[]);
  tenantId?: string;
  details?: Record<string, unknown>;
  /** Requests of the same kind that change nothing, and how they are answered. */
  idle: { url?: string; body?: unknown; status: number }[];
}

const ofAnswer = ({ body }: TestAnswer) => [body.id as string];
const ofResults = ({ body }: TestAnswer) =>
  body.results.flatMap(
    ({ timer, run }: { timer?: { id: string }; run?: { id: string } }) => timer?.id ?? run?.id ?? [],
  );

/** Every route that changes something. The inventory below sees to it that none is missing. */
const CHANGES: Record<string, () => Promise<Change>> = {
  'POST /v1/timers': async () => {
    const externalId = createId();
    const body = { action: NOOP, delay: HOUR, externalId };
    return {
      action: 'timer.create',
      url: '/v1/timers',
      body,
      targets: ofAnswer,
      idle: [{ status: 200 }, { body: { action: { type: 'nope' } }, status: 400 }],
    };
  },
  'POST /v1/timers/batch': async () => ({
    action: 'timers.batch.create',
    url: '/v1/timers/batch',
    body: {
      timers: [
        { action: NOOP, delay: HOUR },
        { action: NOOP, delay: { type: 'date', year: 2020, month: 1, day: 1, onPast: 'skip' }, externalId: createId() },
        { nonsense: true },
      ],
    },
    targets: ofResults,
    idle: [
      { body: { timers: [{ nonsense: true }] }, status: 207 },
      { body: { timers: [] }, status: 400 },
    ],
  }),
  'PATCH /v1/timers/{id}': async () => {
    const id = await createTimer();
    return {
      action: 'timer.change',
      url: `/v1/timers/${id}`,
      body: { payload: { canary: 1 }, version: 1 },
      targets: [id],
      details: { fields: ['payload'] },
      idle: [
        { status: 412 },
        { url: `/v1/timers/${UNKNOWN_ID}`, status: 404 },
        { body: { payload: 1, x: 1 }, status: 400 },
      ],
    };
  },
  'PATCH /v1/timers/batch': async () => {
    const ids = [await createTimer(), await createTimer()];
    return {
      action: 'timers.batch.change',
      url: '/v1/timers/batch',
      body: { timers: [...ids.map((id) => ({ id, payload: 1, version: 1 })), { id: UNKNOWN_ID, payload: 1 }] },
      targets: ids,
      idle: [{ status: 207 }, { body: {}, status: 400 }],
    };
  },
  'DELETE /v1/timers/{id}': async () => {
    const id = await createTimer();
    const idle = [{ status: 200 }, { url: `/v1/timers/${UNKNOWN_ID}`, status: 404 }];
    return { action: 'timer.cancel', url: `/v1/timers/${id}`, targets: [id], idle };
  },
  'POST /v1/timers/{id}/cancel': async () => {
    const id = await createTimer();
    const idle = [{ status: 200 }, { url: `/v1/timers/${UNKNOWN_ID}/cancel`, status: 404 }];
    return { action: 'timer.cancel', url: `/v1/timers/${id}/cancel`, targets: [id], idle };
  },
  'POST /v1/timers/batch/cancel': async () => {
    const ids = [await createTimer(), await createTimer()];
    return {
      action: 'timers.batch.cancel',
      url: '/v1/timers/batch/cancel',
      body: { ids: [...ids, ids[0], UNKNOWN_ID] },
      targets: ids,
      idle: [{ status: 207 }, { body: { ids: [] }, status: 400 }],
    };
  },
  'POST /v1/timers/{id}/fire': async () => {
    const id = await createTimer();
    const gone = await createTimer();
    await api.request('DELETE', `/v1/timers/${gone}`);
    return {
      action: 'timer.fire',
      url: `/v1/timers/${id}/fire`,
      targets: [id],
      idle: [
        { url: `/v1/timers/${gone}/fire`, status: 409 },
        { url: `/v1/timers/${UNKNOWN_ID}/fire`, status: 404 },
      ],
    };
  },
  'POST /v1/dead-letters/{timerId}/redrive': async () => {
    const id = await createDeadLetter(api);
    const idle = [{ status: 409 }, { url: `/v1/dead-letters/${UNKNOWN_ID}/redrive`, status: 404 }];
    return { action: 'dead-letter.redrive', url: `/v1/dead-letters/${id}/redrive`, targets: [id], idle };
  },
  'POST /v1/dead-letters/redrive': async () => {
    const ids = [await createDeadLetter(api), await createDeadLetter(api)];
    return {
      action: 'dead-letters.redrive',
      url: '/v1/dead-letters/redrive',
      body: { ids: [...ids, UNKNOWN_ID] },
      targets: ids,
      idle: [{ status: 200 }, { body: {}, status: 400 }],
    };
  },
  'DELETE /v1/dead-letters/{timerId}': async () => {
    const id = await createDeadLetter(api);
    const idle = [{ status: 204 }, { url: `/v1/dead-letters/${UNKNOWN_ID}`, status: 404 }];
    return { action: 'dead-letter.dismiss', url: `/v1/dead-letters/${id}`, targets: [id], idle };
  },
  'POST /v1/workflows': async () => ({
    action: 'workflow.create',
    url: '/v1/workflows',
    body: { name: 'w', tasks: [{ key: 'a', action: NOOP }] },
    targets: ofAnswer,
    idle: [{ body: { name: 'w', tasks: [{ key: 'a', after: ['a'], action: NOOP }] }, status: 400 }],
  }),
  'PUT /v1/workflows/{id}': async () => {
    const id = await createWorkflow();
    return {
      action: 'workflow.replace',
      url: `/v1/workflows/${id}`,
      body: { name: 'v', tasks: [] },
      targets: [id],
      details: { version: 2 },
      idle: [
        { url: `/v1/workflows/${UNKNOWN_ID}`, status: 404 },
        { body: { name: '' }, status: 400 },
      ],
    };
  },
  'POST /v1/workflows/{id}/tasks': async () => {
    const id = await createWorkflow();
    return {
      action: 'workflow.add-task',
      url: `/v1/workflows/${id}/tasks`,
      body: { key: 'b', action: NOOP },
      targets: [id],
      details: { version: 2 },
      idle: [{ status: 400 }, { url: `/v1/workflows/${UNKNOWN_ID}/tasks`, status: 404 }],
    };
  },
  'DELETE /v1/workflows/{id}': async () => {
    const id = await createWorkflow();
    const idle = [{ status: 200 }, { url: `/v1/workflows/${UNKNOWN_ID}`, status: 404 }];
    return { action: 'workflow.archive', url: `/v1/workflows/${id}`, targets: [id], idle };
  },
  'POST /v1/runs': async () => {
    const workflowId = await createWorkflow();
    return {
      action: 'run.create',
      url: '/v1/runs',
      body: { workflowId, externalId: createId() },
      targets: ofAnswer,
      idle: [{ status: 200 }, { body: { workflowId: UNKNOWN_ID }, status: 404 }],
    };
  },
  'POST /v1/runs/batch': async () => {
    const workflowId = await createWorkflow();
    return {
      action: 'runs.batch.create',
      url: '/v1/runs/batch',
      body: { workflowId, runs: [{ externalId: createId() }, { externalId: createId() }, { nonsense: 1 }] },
      targets: ofResults,
      details: { workflowId },
      idle: [{ status: 207 }, { body: { workflowId: UNKNOWN_ID, runs: [{}] }, status: 404 }],
    };
  },
  'POST /v1/runs/{id}/cancel': async () => {
    const { runId } = await createRunByHand(api, [{ key: 'a' }, { key: 'b' }]);
    const idle = [{ status: 200 }, { url: `/v1/runs/${UNKNOWN_ID}/cancel`, status: 404 }];
    return { action: 'run.cancel', url: `/v1/runs/${runId}/cancel`, targets: [runId], idle };
  },
  'POST /v1/runs/{id}/retry': async () => {
    const id = await createDeadRun();
    const idle = [{ status: 409 }, { url: `/v1/runs/${UNKNOWN_ID}/retry`, status: 404 }];
    return { action: 'run.retry', url: `/v1/runs/${id}/retry`, targets: [id], idle };
  },
  'POST /v1/tenants': async () => ({
    action: 'tenant.create',
    url: '/v1/tenants',
    body: { name: 't', signingSecret: 'generate' },
    targets: ofAnswer,
    details: { isSigned: true },
    idle: [{ body: { name: 't', signingSecret: 'whsec_short' }, status: 400 }],
  }),
  'PATCH /v1/tenants/{id}': async () => {
    const id = await createTenant();
    return {
      action: 'tenant.change',
      url: `/v1/tenants/${id}`,
      body: { name: 'renamed', liveTimersMax: 7 },
      targets: [id],
      details: { name: 'renamed', liveTimersMax: 7 },
      idle: [
        { url: `/v1/tenants/${UNKNOWN_ID}`, status: 404 },
        { body: {}, status: 400 },
      ],
    };
  },
  'POST /v1/tenants/{id}/signing-secrets': async () => {
    const tenantId = await createTenant();
    return {
      action: 'signing-secret.create',
      url: `/v1/tenants/${tenantId}/signing-secrets`,
      body: { overlapSeconds: 60 },
      targets: ofAnswer,
      tenantId,
      details: { overlapSeconds: 60 },
      idle: [
        { url: `/v1/tenants/${UNKNOWN_ID}/signing-secrets`, status: 404 },
        { body: { overlapSeconds: -1 }, status: 400 },
      ],
    };
  },
  'DELETE /v1/tenants/{id}/signing-secrets/{secretId}': async () => {
    const tenantId = await createTenant();
    const url = `/v1/tenants/${tenantId}/signing-secrets`;
    const { body } = await api.request('POST', url, {});
    return {
      action: 'signing-secret.delete',
      url: `${url}/${body.id}`,
      targets: [body.id],
      tenantId,
      idle: [{ status: 404 }],
    };
  },
  'POST /v1/api-keys': async () => {
    const tenantId = await createTenant();
    return {
      action: 'api-key.create',
      url: '/v1/api-keys',
      body: { name: 'k', scope: 'read', tenantId },
      targets: ofAnswer,
      tenantId,
      details: { scope: 'read', prefix: expect.stringMatching(/^pk_.{8}$/) },
      idle: [{ body: { name: 'k', scope: 'read', tenantId: UNKNOWN_ID }, status: 404 }],
    };
  },
  'DELETE /v1/api-keys/{id}': async () => {
    const tenantId = await createTenant();
    const { body } = await api.request('POST', '/v1/api-keys', { name: 'k', scope: 'read', tenantId });
    const idle = [{ status: 200 }, { url: `/v1/api-keys/${UNKNOWN_ID}`, status: 404 }];
    return { action: 'api-key.revoke', url: `/v1/api-keys/${body.id}`, targets: [body.id], tenantId, idle };
  },
};

test('every route that changes something is in this file', async () => {
  const { body } = await api.request('GET', '/v1/openapi.json');
  const routes = Object.entries(body.paths as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  // A preview stores nothing.
  const changing = routes.filter((route) => !route.startsWith('GET ') && route !== 'POST /v1/delays/preview');
  expect(Object.keys(CHANGES).toSorted()).toEqual(changing.toSorted());
});

describe.each(Object.keys(CHANGES))('%s', (route) => {
  const method = route.split(' ')[0]!;

  test('leaves exactly one entry, which says who changed what and in which request', async () => {
    const change = await CHANGES[route]!();
    const requestId = createId();
    const headers = { ...key, 'x-request-id': requestId };
    const beganAt = Date.now();
    const { result: answer, entries } = await findNew(() => api.request(method, change.url, change.body, headers));
    expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
    expect(entries).toEqual([
      {
        id: expect.any(String),
        tenantId: change.tenantId ?? DEFAULT_TENANT_ID,
        actor: 'key',
        keyId,
        action: change.action,
        targetIds: expect.any(Array),
        requestIds: [requestId],
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
    const change = await CHANGES[route]!();
    const stranger = await createStranger(api, 'read');
    const refused = await findNew(async () => [
      await api.request(method, change.url, change.body, { authorization: '' }),
      await api.request(method, change.url, change.body, { authorization: 'Bearer pk_unknown' }),
      await api.request(method, change.url, change.body, stranger),
    ]);
    expect(refused.result.map(({ status }) => status)).toEqual([401, 401, 403]);
    expect(refused.entries).toEqual([]);
    await api.request(method, change.url, change.body, key);
    const idle = await findNew(async () => {
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
    const change = await CHANGES[route]!();
    const headers = { ...key, 'idempotency-key': createId() };
    const { result, entries } = await findNew(async () => {
      const first = await api.request(method, change.url, change.body, headers);
      return [first, await api.request(method, change.url, change.body, headers)];
    });
    expect(result[0]!.status, JSON.stringify(result[0]!.body)).toBeLessThan(300);
    expect(result[1]!.status).toBe(result[0]!.status);
    expect(entries.map(({ action }) => action)).toEqual([change.action]);
  });
});

test('what many requests did in one statement stands in one entry, with the request of each', async () => {
  const { result, entries } = await findNew(() =>
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

test('the bootstrap key is named as such, and so is nobody', async () => {
  const byBootstrap = await findNew(() => createTimer());
  expect(byBootstrap.entries).toMatchObject([{ actor: 'bootstrap', keyId: null }]);
  const open = await openTestApi({ AUTH: 'off', HOST: '127.0.0.1' }, api);
  try {
    const byNobody = await findNew(() => open.request('POST', '/v1/timers', { action: NOOP, delay: HOUR }));
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
    const tenantId = await createTenant();
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
