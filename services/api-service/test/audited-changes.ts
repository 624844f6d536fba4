import { createId } from '@punctual/domain';
import { expect } from 'vitest';
import type { TestAnswer, TestApi } from './open-test-api.ts';
import { createDeadLetter, createRunByHand, endTimer, HOUR, NOOP, startDueTimer, UNKNOWN_ID } from './timer-steps.ts';

export const createTimer = async (api: TestApi) =>
  (await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR })).body.id as string;
export const createWorkflow = async (api: TestApi) =>
  (await api.request('POST', '/v1/workflows', { name: 'w', tasks: [{ key: 'a', action: NOOP, delay: HOUR }] })).body
    .id as string;
const createTenant = async (api: TestApi) =>
  (await api.request('POST', '/v1/tenants', { name: 't' })).body.id as string;

async function createDeadRun(api: TestApi): Promise<{ id: string; timerId: string }> {
  const { body: workflow } = await api.request('POST', '/v1/workflows', {
    name: 'd',
    tasks: [{ key: 'a', action: NOOP }],
  });
  const { body: run } = await api.request('POST', '/v1/runs', { workflowId: workflow.id });
  const { timerId } = run.tasks[0];
  await endTimer(api, await startDueTimer(api, timerId, 1), 'dead');
  return { id: run.id, timerId };
}

/** A good request, which refused variants of it follow, and what the log must say of it. */
export interface Change {
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

export const ofAnswer = ({ body }: TestAnswer) => [body.id as string];
const ofResults = ({ body }: TestAnswer) =>
  body.results.flatMap(
    ({ timer, run }: { timer?: { id: string }; run?: { id: string } }) => timer?.id ?? run?.id ?? [],
  );

/** The routes that change timers, workflows, runs and tenants. */
export const CHANGES: Record<string, (api: TestApi) => Promise<Change>> = {
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
  'PATCH /v1/timers/{id}': async (api) => {
    const id = await createTimer(api);
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
  'PATCH /v1/timers/batch': async (api) => {
    const ids = [await createTimer(api), await createTimer(api)];
    return {
      action: 'timers.batch.change',
      url: '/v1/timers/batch',
      body: { timers: [...ids.map((id) => ({ id, payload: 1, version: 1 })), { id: UNKNOWN_ID, payload: 1 }] },
      targets: ids,
      idle: [{ status: 207 }, { body: {}, status: 400 }],
    };
  },
  'DELETE /v1/timers/{id}': async (api) => {
    const id = await createTimer(api);
    const idle = [{ status: 200 }, { url: `/v1/timers/${UNKNOWN_ID}`, status: 404 }];
    return { action: 'timer.cancel', url: `/v1/timers/${id}`, targets: [id], idle };
  },
  'POST /v1/timers/{id}/cancel': async (api) => {
    const id = await createTimer(api);
    const idle = [{ status: 200 }, { url: `/v1/timers/${UNKNOWN_ID}/cancel`, status: 404 }];
    return { action: 'timer.cancel', url: `/v1/timers/${id}/cancel`, targets: [id], idle };
  },
  'POST /v1/timers/batch/cancel': async (api) => {
    const ids = [await createTimer(api), await createTimer(api)];
    return {
      action: 'timers.batch.cancel',
      url: '/v1/timers/batch/cancel',
      body: { ids: [...ids, ids[0], UNKNOWN_ID] },
      targets: ids,
      idle: [{ status: 207 }, { body: { ids: [] }, status: 400 }],
    };
  },
  'POST /v1/timers/{id}/fire': async (api) => {
    const id = await createTimer(api);
    const gone = await createTimer(api);
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
  'POST /v1/timers/{id}/erase': async (api) => {
    const [id, live] = [await createDeadLetter(api), await createTimer(api)];
    const idle = [
      { status: 404 },
      { url: `/v1/timers/${live}/erase`, status: 409 },
      { url: `/v1/timers/${UNKNOWN_ID}/erase`, status: 404 },
    ];
    return { action: 'timer.erase', url: `/v1/timers/${id}/erase`, targets: [id], idle };
  },
  'POST /v1/dead-letters/{timerId}/redrive': async (api) => {
    const id = await createDeadLetter(api);
    const idle = [{ status: 409 }, { url: `/v1/dead-letters/${UNKNOWN_ID}/redrive`, status: 404 }];
    return { action: 'dead-letter.redrive', url: `/v1/dead-letters/${id}/redrive`, targets: [id], idle };
  },
  'POST /v1/dead-letters/redrive': async (api) => {
    const ids = [await createDeadLetter(api), await createDeadLetter(api)];
    return {
      action: 'dead-letters.redrive',
      url: '/v1/dead-letters/redrive',
      body: { ids: [...ids, UNKNOWN_ID] },
      targets: ids,
      idle: [{ status: 200 }, { body: {}, status: 400 }],
    };
  },
  'DELETE /v1/dead-letters/{timerId}': async (api) => {
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
  'PUT /v1/workflows/{id}': async (api) => {
    const id = await createWorkflow(api);
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
  'POST /v1/workflows/{id}/tasks': async (api) => {
    const id = await createWorkflow(api);
    return {
      action: 'workflow.add-task',
      url: `/v1/workflows/${id}/tasks`,
      body: { key: 'b', action: NOOP },
      targets: [id],
      details: { version: 2 },
      idle: [{ status: 400 }, { url: `/v1/workflows/${UNKNOWN_ID}/tasks`, status: 404 }],
    };
  },
  'DELETE /v1/workflows/{id}': async (api) => {
    const id = await createWorkflow(api);
    const idle = [{ status: 200 }, { url: `/v1/workflows/${UNKNOWN_ID}`, status: 404 }];
    return { action: 'workflow.archive', url: `/v1/workflows/${id}`, targets: [id], idle };
  },
  'POST /v1/runs': async (api) => {
    const workflowId = await createWorkflow(api);
    return {
      action: 'run.create',
      url: '/v1/runs',
      body: { workflowId, externalId: createId() },
      targets: ofAnswer,
      idle: [{ status: 200 }, { body: { workflowId: UNKNOWN_ID }, status: 404 }],
    };
  },
  'POST /v1/runs/batch': async (api) => {
    const workflowId = await createWorkflow(api);
    return {
      action: 'runs.batch.create',
      url: '/v1/runs/batch',
      body: { workflowId, runs: [{ externalId: createId() }, { externalId: createId() }, { nonsense: 1 }] },
      targets: ofResults,
      details: { workflowId },
      idle: [{ status: 207 }, { body: { workflowId: UNKNOWN_ID, runs: [{}] }, status: 404 }],
    };
  },
  'POST /v1/runs/{id}/signals/{name}': async (api) => {
    const delay = { type: 'signal', name: 'go' };
    const workflow = { name: 'w', tasks: [{ key: 'a', action: NOOP, delay }] };
    const { body: made } = await api.request('POST', '/v1/workflows', workflow);
    const { body: run } = await api.request('POST', '/v1/runs', { workflowId: made.id });
    return {
      action: 'run.signal',
      url: `/v1/runs/${run.id}/signals/go`,
      body: { payload: { canary: 1 } },
      targets: [run.id, run.tasks[0].timerId],
      details: { name: 'go' },
      idle: [{ status: 409 }, { url: `/v1/runs/${run.id}/signals/gone`, status: 404 }],
    };
  },
  'POST /v1/runs/{id}/cancel': async (api) => {
    const { runId, timerIds } = await createRunByHand(api, [{ key: 'a' }, { key: 'b' }]);
    const idle = [{ status: 200 }, { url: `/v1/runs/${UNKNOWN_ID}/cancel`, status: 404 }];
    const targets = [runId, ...Object.values(timerIds)];
    return { action: 'run.cancel', url: `/v1/runs/${runId}/cancel`, targets, idle };
  },
  'DELETE /v1/runs/{id}': async (api) => {
    const { runId } = await createRunByHand(api, [{ key: 'a' }]);
    await api.request('POST', `/v1/runs/${runId}/cancel`);
    const idle = [{ status: 404 }, { url: `/v1/runs/${UNKNOWN_ID}`, status: 404 }];
    return { action: 'run.erase', url: `/v1/runs/${runId}`, targets: [runId], idle };
  },
  'POST /v1/runs/{id}/retry': async (api) => {
    const { id, timerId } = await createDeadRun(api);
    const idle = [{ status: 409 }, { url: `/v1/runs/${UNKNOWN_ID}/retry`, status: 404 }];
    return { action: 'run.retry', url: `/v1/runs/${id}/retry`, targets: [id, timerId], idle };
  },
  'POST /v1/tenants': async () => ({
    action: 'tenant.create',
    url: '/v1/tenants',
    body: { name: 't', signingSecret: 'generate' },
    targets: ofAnswer,
    details: { isSigned: true },
    idle: [{ body: { name: 't', signingSecret: 'whsec_short' }, status: 400 }],
  }),
  'PATCH /v1/tenants/{id}': async (api) => {
    const id = await createTenant(api);
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
  'POST /v1/tenants/{id}/signing-secrets': async (api) => {
    const tenantId = await createTenant(api);
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
  'DELETE /v1/tenants/{id}/signing-secrets/{secretId}': async (api) => {
    const tenantId = await createTenant(api);
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
  'POST /v1/api-keys': async (api) => {
    const tenantId = await createTenant(api);
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
  'DELETE /v1/api-keys/{id}': async (api) => {
    const tenantId = await createTenant(api);
    const { body } = await api.request('POST', '/v1/api-keys', { name: 'k', scope: 'read', tenantId });
    const idle = [{ status: 200 }, { url: `/v1/api-keys/${UNKNOWN_ID}`, status: 404 }];
    return { action: 'api-key.revoke', url: `/v1/api-keys/${body.id}`, targets: [body.id], tenantId, idle };
  },
};
