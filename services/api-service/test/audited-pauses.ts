import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { type Change, createTimer, createWorkflow, ofAnswer } from './audited-changes.ts';
import type { TestApi } from './open-test-api.ts';
import { createRunByHand, UNKNOWN_ID } from './timer-steps.ts';

const createBulkOperation = async (api: TestApi) =>
  (await api.request('POST', '/v1/bulk-operations', { action: 'fire', ids: [UNKNOWN_ID] })).body.id as string;

/** The routes that pause and resume, and those of bulk operations. */
export const PAUSES: Record<string, (api: TestApi) => Promise<Change>> = {
  'POST /v1/timers/{id}/pause': async (api) => {
    const id = await createTimer(api);
    const idle = [{ status: 200 }, { url: `/v1/timers/${UNKNOWN_ID}/pause`, status: 404 }];
    return { action: 'timer.pause', url: `/v1/timers/${id}/pause`, targets: [id], idle };
  },
  'POST /v1/timers/{id}/resume': async (api) => {
    const id = await createTimer(api);
    await api.request('POST', `/v1/timers/${id}/pause`);
    return {
      action: 'timer.resume',
      url: `/v1/timers/${id}/resume`,
      body: { dueTimes: 'shift' },
      targets: [id],
      details: { dueTimes: 'shift' },
      idle: [{ status: 200 }, { url: `/v1/timers/${UNKNOWN_ID}/resume`, status: 404 }],
    };
  },
  'POST /v1/runs/{id}/pause': async (api) => {
    const { runId } = await createRunByHand(api, [{ key: 'a' }]);
    const idle = [{ status: 200 }, { url: `/v1/runs/${UNKNOWN_ID}/pause`, status: 404 }];
    return { action: 'run.pause', url: `/v1/runs/${runId}/pause`, targets: [runId], idle };
  },
  'POST /v1/runs/{id}/resume': async (api) => {
    const { runId } = await createRunByHand(api, [{ key: 'a' }]);
    await api.request('POST', `/v1/runs/${runId}/pause`);
    return {
      action: 'run.resume',
      url: `/v1/runs/${runId}/resume`,
      body: {},
      targets: [runId],
      details: { dueTimes: 'keep' },
      idle: [{ status: 200 }, { url: `/v1/runs/${UNKNOWN_ID}/resume`, status: 404 }],
    };
  },
  'POST /v1/workflows/{id}/pause': async (api) => {
    const id = await createWorkflow(api);
    const idle = [{ status: 200 }, { url: `/v1/workflows/${UNKNOWN_ID}/pause`, status: 404 }];
    return { action: 'workflow.pause', url: `/v1/workflows/${id}/pause`, targets: [id], idle };
  },
  'POST /v1/workflows/{id}/resume': async (api) => {
    const id = await createWorkflow(api);
    await api.request('POST', `/v1/workflows/${id}/pause`);
    return {
      action: 'workflow.resume',
      url: `/v1/workflows/${id}/resume`,
      body: {},
      targets: [id],
      details: { dueTimes: 'keep' },
      idle: [{ status: 200 }, { url: `/v1/workflows/${UNKNOWN_ID}/resume`, status: 404 }],
    };
  },
  'POST /v1/workflows/{id}/cancel': async (api) => {
    const id = await createWorkflow(api);
    const idle = [{ url: `/v1/workflows/${UNKNOWN_ID}/cancel`, status: 404 }];
    return { action: 'workflow.cancel', url: `/v1/workflows/${id}/cancel`, targets: [id], idle };
  },
  'POST /v1/task-queues/{queue}/pause': async () => {
    const queue = createId();
    return {
      action: 'gate.pause',
      url: `/v1/task-queues/${queue}/pause`,
      targets: [DEFAULT_TENANT_ID],
      details: { queue },
      idle: [{ status: 200 }, { url: '/v1/task-queues/-/pause', status: 400 }],
    };
  },
  'POST /v1/task-queues/{queue}/resume': async (api) => {
    await api.request('POST', '/v1/task-queues/audited/pause');
    return {
      action: 'gate.resume',
      url: '/v1/task-queues/audited/resume',
      body: {},
      targets: [DEFAULT_TENANT_ID],
      details: { queue: 'audited' },
      idle: [{ status: 200 }, { url: '/v1/task-queues/-/resume', status: 400 }],
    };
  },
  'POST /v1/origins/pause': async () => {
    const body = { origin: `https://${createId()}.example` };
    return {
      action: 'gate.pause',
      url: '/v1/origins/pause',
      body,
      targets: [DEFAULT_TENANT_ID],
      details: body,
      idle: [{ status: 200 }, { body: { origin: 'nonsense' }, status: 400 }],
    };
  },
  'POST /v1/origins/resume': async (api) => {
    const body = { origin: 'https://example.com' };
    await api.request('POST', '/v1/origins/pause', body);
    return {
      action: 'gate.resume',
      url: '/v1/origins/resume',
      body,
      targets: [DEFAULT_TENANT_ID],
      details: body,
      idle: [{ status: 200 }, { body: { origin: 'nonsense' }, status: 400 }],
    };
  },
  'PUT /v1/limits': async () => ({
    action: 'limit.set',
    url: '/v1/limits',
    body: { kind: 'queue', name: 'q', limit: 3 },
    targets: [DEFAULT_TENANT_ID],
    details: { kind: 'queue', name: 'q' },
    idle: [{ body: { kind: 'queue', name: 'q' }, status: 400 }],
  }),
  'DELETE /v1/limits': async (api) => {
    await api.request('PUT', '/v1/limits', { kind: 'queue', name: 'q', limit: 3 });
    return {
      action: 'limit.remove',
      url: '/v1/limits?kind=queue&name=q',
      targets: [DEFAULT_TENANT_ID],
      details: { kind: 'queue', name: 'q' },
      idle: [{ status: 204 }],
    };
  },
  'POST /v1/bulk-operations': async () => ({
    action: 'bulk-operation.create',
    url: '/v1/bulk-operations',
    body: { action: 'cancel', ids: [UNKNOWN_ID] },
    targets: ofAnswer,
    details: { action: 'cancel', dryRun: false },
    idle: [{ body: { action: 'cancel' }, status: 400 }],
  }),
  'POST /v1/bulk-operations/{id}/pause': async (api) => {
    const id = await createBulkOperation(api);
    const idle = [{ status: 200 }, { url: `/v1/bulk-operations/${UNKNOWN_ID}/pause`, status: 404 }];
    return { action: 'bulk-operation.pause', url: `/v1/bulk-operations/${id}/pause`, targets: [id], idle };
  },
  'POST /v1/bulk-operations/{id}/resume': async (api) => {
    const id = await createBulkOperation(api);
    await api.request('POST', `/v1/bulk-operations/${id}/pause`);
    const idle = [{ status: 200 }, { url: `/v1/bulk-operations/${UNKNOWN_ID}/resume`, status: 404 }];
    return { action: 'bulk-operation.resume', url: `/v1/bulk-operations/${id}/resume`, targets: [id], idle };
  },
  'POST /v1/bulk-operations/{id}/abort': async (api) => {
    const id = await createBulkOperation(api);
    const idle = [{ status: 200 }, { url: `/v1/bulk-operations/${UNKNOWN_ID}/abort`, status: 404 }];
    return { action: 'bulk-operation.abort', url: `/v1/bulk-operations/${id}/abort`, targets: [id], idle };
  },
};
