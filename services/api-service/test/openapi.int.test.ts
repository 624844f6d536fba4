import { addErasure, type DrainableRole, inTransaction, tryLockIdempotencyKeys } from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { fillPath, SENSIBLE_BODIES, SENSIBLE_QUERIES } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { beat } from './audited-steering.ts';
import { openTestApi, type TestAnswer, type TestApi } from './open-test-api.ts';
import { createStranger } from './stranger.ts';
import { createDeadLetter, createRunByHand, endTimer, HOUR, NOOP, startDueTimer } from './timer-steps.ts';

/** Small, so that a body which is too large is quickly sent (bytes). */
const BODY_BYTES_MAX = 2_048;
/** Some thousand requests, one after the other: seconds, or minutes on a machine that does much else (ms). */
const PROVOKE_LIMIT_MS = 240_000;
/** Longer than any part of a path may be. */
const LONG_ID = 'x'.repeat(300);

let api: TestApi;
let keys: Record<'reader' | 'stranger', Record<string, string>>;
beforeAll(async () => {
  api = await openTestApi({
    API_BODY_BYTES_MAX: String(BODY_BYTES_MAX),
    API_BATCH_BODY_BYTES_MAX: String(2 * BODY_BYTES_MAX),
  });
  const { body } = await api.request('POST', '/v1/api-keys', { name: 'reader', scope: 'read' });
  keys = { reader: { authorization: `Bearer ${body.key}` }, stranger: await createStranger(api, 'admin') };
});
afterAll(async () => {
  await api.close();
});

interface Operation {
  name: string;
  method: string;
  path: string;
  scope: string | undefined;
  hasBody: boolean;
}

/** Sends what is sensible for the operation, but for what is said otherwise. */
function send(
  { name, method, path, hasBody }: Operation,
  { url, body, headers }: { url?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<TestAnswer> {
  const sensible = hasBody ? (SENSIBLE_BODIES[name] ?? {}) : undefined;
  return api.request(method, url ?? fillPath(path) + (SENSIBLE_QUERIES[name] ?? ''), body ?? sensible, headers);
}

let count = 0;
const newKey = () => {
  count += 1;
  return `key-${count}`;
};

/** How to get an answer of a status from whatever operation may give it. */
const BY_STATUS: Readonly<Record<number, (operation: Operation) => Promise<TestAnswer>>> = {
  200: (operation) => send(operation),
  201: (operation) => send(operation),
  202: (operation) => send(operation),
  207: (operation) => send(operation),
  400: (operation) => send(operation, { url: `${fillPath(operation.path)}?x=%00` }),
  401: (operation) => send(operation, { headers: { authorization: 'Bearer nobody' } }),
  403: (operation) => send(operation, { headers: operation.scope === 'operator' ? keys.stranger : keys.reader }),
  404: (operation) => send(operation),
  409: async (operation) => {
    const key = newKey();
    return inTransaction(api.testDatabase.database.hot, async (client) => {
      await tryLockIdempotencyKeys(client, [{ tenantId: DEFAULT_TENANT_ID, key }]);
      return send(operation, { headers: { 'idempotency-key': key } });
    });
  },
  413: (operation) =>
    send(operation, {
      body: JSON.stringify('x'.repeat(3 * BODY_BYTES_MAX)),
      headers: { 'content-type': 'application/json' },
    }),
  414: (operation) => send(operation, { url: fillPath(operation.path, LONG_ID) }),
  415: (operation) => send(operation, { body: 'a=1', headers: { 'content-type': 'text/plain' } }),
  410: async (operation) => {
    const key = newKey();
    const body = { action: NOOP, delay: HOUR, externalId: key };
    const timer = await api.request('POST', '/v1/timers', body, { 'idempotency-key': key });
    await addErasure(api.testDatabase.database.hot, DEFAULT_TENANT_ID, timer.body.id);
    return send(operation, { headers: { 'idempotency-key': key } });
  },
  422: async (operation) => {
    const headers = { 'idempotency-key': newKey() };
    await api.request(
      'POST',
      '/v1/timers',
      { action: NOOP, delay: HOUR, externalId: headers['idempotency-key'] },
      headers,
    );
    return send(operation, { headers });
  },
  429: async (operation) => {
    const headers = await createHurriedKey();
    // Its first request uses up the second.
    await send(operation, { headers });
    return send(operation, { headers });
  },
};

/** A key of a tenant that may send one request a second. */
async function createHurriedKey(): Promise<Record<string, string>> {
  const tenant = await api.request('POST', '/v1/tenants', { name: 'hurried', requestsPerSecondMax: 1 });
  const { body } = await api.request('POST', '/v1/api-keys', { name: 'k', scope: 'admin', tenantId: tenant.body.id });
  return { authorization: `Bearer ${body.key}` };
}

/** Not provoked here. */
const ELSEWHERE: Readonly<Record<number, string>> = {
  500: 'only a defect gives it: no test can ask for one',
  503: 'tests/e2e/outages.test.ts has every route give it while Postgres is away, and health, too',
};

const createTimer = async (fields: object = {}) =>
  (await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR, ...fields })).body.id as string;
async function createCancelledTimer(): Promise<string> {
  const id = await createTimer();
  await api.request('DELETE', `/v1/timers/${id}`);
  return id;
}
async function createStartedTimer(): Promise<string> {
  const id = await createTimer({ delay: undefined });
  await startDueTimer(api, id, 1);
  return id;
}
const createWorkflow = async () =>
  (await api.request('POST', '/v1/workflows', { name: 'w', tasks: [] })).body.id as string;
async function createArchivedWorkflow(): Promise<string> {
  const id = await createWorkflow();
  await api.request('DELETE', `/v1/workflows/${id}`);
  return id;
}
const createRun = async () => (await createRunByHand(api, [{ key: 'a' }])).runId;
async function createFinishedRun(): Promise<string> {
  const id = await createRun();
  await api.testDatabase.database.ordinary.query(
    "UPDATE runs SET status = 'succeeded', finished_at = clock_timestamp() WHERE id = $1",
    [id],
  );
  return id;
}
async function createCancelledRun(): Promise<string> {
  const id = await createRun();
  await api.request('POST', `/v1/runs/${id}/cancel`);
  return id;
}
async function createRunWithDeadTask(): Promise<string> {
  const { runId, timerIds } = await createRunByHand(api, [{ key: 'a' }]);
  await api.request('POST', `/v1/timers/${timerIds.a}/fire`);
  await endTimer(api, await startDueTimer(api, timerIds.a!, 2), 'dead');
  return runId;
}
const createApiKey = async () =>
  (await api.request('POST', '/v1/api-keys', { name: 'k', scope: 'read' })).body.id as string;

const createSchedule = async (fields: object = {}) =>
  (
    await api.request('POST', '/v1/schedules', {
      rule: { type: 'interval', value: 1, unit: 'days' },
      timer: { action: NOOP },
      ...fields,
    })
  ).body.id as string;
async function createEndedSchedule(): Promise<string> {
  const id = await createSchedule();
  await api.testDatabase.database.ordinary.query(
    "UPDATE schedules SET status = 'ended', timer_id = NULL WHERE id = $1",
    [id],
  );
  return id;
}
const createBulkOperation = async (fields: object = {}) =>
  (await api.request('POST', '/v1/bulk-operations', { action: 'fire', ids: [DEFAULT_TENANT_ID], ...fields })).body
    .id as string;
const createEndedBulkOperation = () => createBulkOperation({ dryRun: true });

async function beatTwo(role: DrainableRole): Promise<string> {
  await beat(api, role);
  return beat(api, role);
}
async function beatLast(role: DrainableRole): Promise<string> {
  await api.testDatabase.database.ordinary.query('DELETE FROM service_instances');
  return beat(api, role);
}

/** What must be there for an operation to answer a status: makes it, and gives its id. */
const BY_OPERATION: Readonly<Record<string, () => Promise<string>>> = {
  'GET /v1/timers/{id} 200': createTimer,
  'GET /v1/timers/{id}/attempts 200': createTimer,
  'PATCH /v1/timers/{id} 200': createTimer,
  'PATCH /v1/timers/{id} 409': createStartedTimer,
  'DELETE /v1/timers/{id} 200': createTimer,
  'DELETE /v1/timers/{id} 409': createStartedTimer,
  'POST /v1/timers/{id}/cancel 200': createTimer,
  'POST /v1/timers/{id}/cancel 409': createStartedTimer,
  'POST /v1/timers/{id}/erase 204': createCancelledTimer,
  'POST /v1/timers/{id}/erase 409': createTimer,
  'POST /v1/timers/{id}/fire 200': createTimer,
  'POST /v1/timers/{id}/fire 409': createStartedTimer,
  'POST /v1/timers/{id}/pause 200': createTimer,
  'POST /v1/timers/{id}/pause 409': createStartedTimer,
  'POST /v1/timers/{id}/resume 200': createTimer,
  'POST /v1/timers/{id}/resume 409': createStartedTimer,
  'POST /v1/runs/{id}/pause 200': createRun,
  'POST /v1/runs/{id}/pause 409': createFinishedRun,
  'POST /v1/runs/{id}/resume 200': createRun,
  'POST /v1/runs/{id}/resume 409': createFinishedRun,
  'POST /v1/workflows/{id}/pause 200': createWorkflow,
  'POST /v1/workflows/{id}/pause 409': createArchivedWorkflow,
  'POST /v1/workflows/{id}/resume 200': createWorkflow,
  'POST /v1/workflows/{id}/cancel 202': createWorkflow,
  'GET /v1/bulk-operations/{id} 200': createBulkOperation,
  'GET /v1/bulk-operations/{id}/failures 200': createBulkOperation,
  'POST /v1/bulk-operations/{id}/pause 200': createBulkOperation,
  'POST /v1/bulk-operations/{id}/pause 409': createEndedBulkOperation,
  'POST /v1/bulk-operations/{id}/resume 200': createBulkOperation,
  'POST /v1/bulk-operations/{id}/resume 409': createEndedBulkOperation,
  'POST /v1/bulk-operations/{id}/abort 200': createBulkOperation,
  'POST /v1/bulk-operations/{id}/abort 409': createEndedBulkOperation,
  'GET /v1/schedules/{id} 200': createSchedule,
  'GET /v1/schedules/{id}/next-runs 200': createSchedule,
  'PATCH /v1/schedules/{id} 200': createSchedule,
  'DELETE /v1/schedules/{id} 204': createSchedule,
  'POST /v1/schedules/{id}/pause 200': createSchedule,
  'POST /v1/schedules/{id}/pause 409': createEndedSchedule,
  'POST /v1/schedules/{id}/resume 200': createSchedule,
  'POST /v1/schedules/{id}/resume 409': createEndedSchedule,
  'POST /v1/schedules/{id}/trigger 201': createSchedule,
  'POST /v1/schedules/{id}/trigger 409': async () => {
    const workflowId = await createWorkflow();
    const id = await createSchedule({ timer: undefined, run: { workflowId } });
    await api.request('DELETE', `/v1/workflows/${workflowId}`);
    return id;
  },
  'POST /v1/dead-letters/{timerId}/redrive 200': () => createDeadLetter(api),
  'POST /v1/dead-letters/{timerId}/redrive 409': createTimer,
  'DELETE /v1/dead-letters/{timerId} 204': () => createDeadLetter(api),
  'DELETE /v1/dead-letters/{timerId} 409': createTimer,
  'GET /v1/workflows/{id} 200': createWorkflow,
  'GET /v1/workflows/{id}/versions 200': createWorkflow,
  'PUT /v1/workflows/{id} 200': createWorkflow,
  'PUT /v1/workflows/{id} 409': createArchivedWorkflow,
  'DELETE /v1/workflows/{id} 200': createWorkflow,
  'POST /v1/workflows/{id}/tasks 201': createWorkflow,
  'POST /v1/workflows/{id}/tasks 409': createArchivedWorkflow,
  'GET /v1/runs/{id} 200': createRun,
  'POST /v1/runs/{id}/cancel 200': createRun,
  'POST /v1/runs/{id}/cancel 409': createFinishedRun,
  'POST /v1/runs/{id}/retry 200': createRunWithDeadTask,
  'POST /v1/runs/{id}/retry 409': createRun,
  'DELETE /v1/runs/{id} 204': createCancelledRun,
  'DELETE /v1/runs/{id} 409': createRun,
  'DELETE /v1/api-keys/{id} 200': createApiKey,
  'PATCH /v1/tenants/{id} 200': async () => DEFAULT_TENANT_ID,
  'POST /v1/workers/{id}/drain 200': () => beatTwo('worker'),
  'POST /v1/workers/{id}/drain 409': () => beatLast('worker'),
  'POST /v1/workers/{id}/resume 200': () => beatTwo('worker'),
  'POST /v1/schedulers/{id}/drain 200': () => beatTwo('scheduler'),
  'POST /v1/schedulers/{id}/drain 409': () => beatLast('scheduler'),
  'POST /v1/schedulers/{id}/resume 200': () => beatTwo('scheduler'),
};

async function createSignalPath(): Promise<string> {
  const tasks = [{ key: 'a', action: NOOP, delay: { type: 'signal', name: 'go' } }];
  const workflow = await api.request('POST', '/v1/workflows', { name: 'w', tasks });
  const run = await api.request('POST', '/v1/runs', { workflowId: workflow.body.id });
  return `/v1/runs/${run.body.id}/signals/go`;
}

const SECRETS = `/v1/tenants/${DEFAULT_TENANT_ID}/signing-secrets`;

/** URLs of what has more than an id of its own. */
const URLS: Readonly<Record<string, () => Promise<string>>> = {
  'GET /v1/tenants/{id}/signing-secrets 200': async () => SECRETS,
  'POST /v1/tenants/{id}/signing-secrets 201': async () => SECRETS,
  'DELETE /v1/limits 204': async () => '/v1/limits?kind=tenant',
  'POST /v1/runs/{id}/signals/{name} 200': createSignalPath,
  'DELETE /v1/tenants/{id}/signing-secrets/{secretId} 204': async () =>
    `${SECRETS}/${(await api.request('POST', SECRETS, {})).body.id}`,
};

/** Bodies by which an operation without an id answers a status. */
const BODIES: Readonly<Record<string, () => Promise<object>>> = {
  'POST /v1/timers 200': async () => {
    const externalId = newKey();
    await createTimer({ externalId });
    return { action: NOOP, externalId };
  },
  'POST /v1/runs 201': async () => ({ workflowId: await createWorkflow() }),
  'POST /v1/runs 200': async () => {
    const body = { workflowId: await createWorkflow(), externalId: newKey() };
    await api.request('POST', '/v1/runs', body);
    return body;
  },
  'POST /v1/runs 409': async () => ({ workflowId: await createArchivedWorkflow() }),
  'POST /v1/runs/batch 207': async () => ({ workflowId: await createWorkflow(), runs: [{}, { labels: 1 }] }),
  'POST /v1/schedules 404': async () => ({
    rule: { type: 'interval', value: 1, unit: 'days' },
    run: { workflowId: '01990000-0000-7000-8000-000000000000' },
  }),
  'POST /v1/api-keys 404': async () => ({ name: 'k', scope: 'read', tenantId: '01990000-0000-7000-8000-000000000000' }),
};

/** A task that somebody has leased, and what ends it in each way. */
async function leaseTask(fields: object): Promise<{ id: string; body: object }> {
  await createTimer({ delay: undefined, action: { type: 'pull', queue: 'q' } });
  const lease = { workerId: 'w', maxTasks: 1, leaseSeconds: 30 };
  const [task] = (await api.request('POST', '/v1/task-queues/q/leases', lease)).body.tasks;
  return { id: task.id, body: { leaseToken: task.leaseToken, ...fields } };
}
const TASKS: Readonly<Record<string, object>> = {
  'POST /v1/tasks/{id}/complete 200': {},
  'POST /v1/tasks/{id}/fail 200': { error: 'none' },
  'POST /v1/tasks/{id}/heartbeat 200': { leaseSeconds: 30 },
};

async function provoke(operation: Operation, status: number): Promise<TestAnswer> {
  const name = `${operation.name} ${status}`;
  const makeId = BY_OPERATION[name];
  if (makeId) return send(operation, { url: fillPath(operation.path, await makeId()) });
  if (name in TASKS) {
    const { id, body } = await leaseTask(TASKS[name]!);
    return send(operation, { url: fillPath(operation.path, id), body });
  }
  const makeUrl = URLS[name];
  if (makeUrl) return send(operation, { url: await makeUrl() });
  const makeBody = BODIES[name];
  if (makeBody) return send(operation, { body: await makeBody() });
  if (status === 412) {
    const { path } = operation;
    const make = path.includes('timers') ? createTimer : path.includes('schedules') ? createSchedule : createWorkflow;
    const id = await make();
    return send(operation, { url: fillPath(operation.path, id), headers: { 'if-match': '"99"' } });
  }
  const sendSo = BY_STATUS[status];
  if (!sendSo) throw new Error(`nothing here makes ${name} happen`);
  return sendSo(operation);
}

function listOperations(): Operation[] {
  return Object.entries(api.document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security, requestBody }]) => ({
      name: `${method.toUpperCase()} ${path}`,
      method: method.toUpperCase(),
      path,
      scope: security[0]?.apiKey?.[0],
      hasBody: requestBody !== undefined,
    })),
  );
}

describe('the OpenAPI document', () => {
  test('has every route that is registered, and no other', () => {
    // A tree of paths: each line has four characters for each step down, then a piece of path and its methods.
    const steps: string[] = [];
    const registered = api.app
      .printRoutes({ commonPrefix: false })
      .split('\n')
      .flatMap((line) => {
        const found = /^([│├└─\s]*)(\S*?)(?: \(([A-Z, ]+)\))?$/.exec(line);
        if (!found || line === '') return [];
        const [, indent, piece, methods] = found;
        steps.splice(indent!.length / 4 - 1, steps.length, piece!);
        const path = steps.join('').replaceAll(/:(\w+)/g, '{$1}');
        return methods ? methods.split(', ').map((method) => `${method} ${path.replace(/(.)\/$/, '$1')}`) : [];
      });
    expect(registered.length).toBeGreaterThan(40);
    const listed = listOperations().map(({ name }) => name);
    expect([...new Set(registered)].toSorted()).toEqual(listed.toSorted());
  });

  test(
    'names no status that the operation does not give, each with the answer that it describes',
    async () => {
      const wrong: string[] = [];
      for (const operation of listOperations()) {
        const { responses } = api.document.paths[operation.path]![operation.method.toLowerCase()]!;
        for (const status of Object.keys(responses).map(Number)) {
          if (status in ELSEWHERE) continue;
          // Whether the answer is as described is looked at for every answer of every test.
          const answer = await provoke(operation, status);
          if (answer.status !== status) {
            wrong.push(
              `${operation.name}: ${answer.status} and not ${status} ${JSON.stringify(answer.body)?.slice(0, 200)}`,
            );
          }
        }
      }
      expect(wrong).toEqual([]);
      expect(api.logged).toEqual([]);
    },
    PROVOKE_LIMIT_MS,
  );

  test('says which headers an operation takes, and that a body may be absent where it may', () => {
    const parameters = (path: string, method: string) =>
      api.document.paths[path]![method]!.parameters?.map(({ in: place, name }) => `${place} ${name}`) ?? [];
    expect(parameters('/v1/timers', 'post')).toEqual(['header idempotency-key']);
    expect(parameters('/v1/timers/{id}', 'patch')).toEqual(['path id', 'header idempotency-key', 'header if-match']);
    for (const [path, method] of [
      ['/v1/timers/{id}', 'delete'],
      ['/v1/workflows/{id}', 'put'],
    ] as const) {
      expect(parameters(path, method)).toContain('header idempotency-key');
    }
    expect(parameters('/v1/delays/preview', 'post')).toEqual([]);
    expect(parameters('/v1/timers', 'get')).toContain('query labels');
    expect(api.document.paths['/v1/timers/{id}/cancel']!.post!.requestBody!.required).toBe(false);
    expect(api.document.paths['/v1/timers']!.post!.requestBody!.required).toBe(true);
  });
});
