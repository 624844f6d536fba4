import type { Change } from './audited-changes.ts';
import { ofAnswer } from './audited-changes.ts';
import type { TestApi } from './open-test-api.ts';
import { NOOP, UNKNOWN_ID } from './timer-steps.ts';

const REQUEST = { rule: { type: 'interval', value: 1, unit: 'days' }, timer: { action: NOOP } };
const createSchedule = async (api: TestApi) => (await api.request('POST', '/v1/schedules', REQUEST)).body.id as string;

/** The routes of recurring schedules. */
export const SCHEDULES: Record<string, (api: TestApi) => Promise<Change>> = {
  'POST /v1/schedules': async () => ({
    action: 'schedule.create',
    url: '/v1/schedules',
    body: REQUEST,
    targets: ofAnswer,
    idle: [{ body: { ...REQUEST, timer: undefined }, status: 400 }],
  }),
  'PATCH /v1/schedules/{id}': async (api) => {
    const id = await createSchedule(api);
    return {
      action: 'schedule.change',
      url: `/v1/schedules/${id}`,
      body: { overlap: 'skip', jitterMs: 5 },
      targets: [id],
      details: { fields: ['jitterMs', 'overlap'] },
      idle: [
        { url: `/v1/schedules/${UNKNOWN_ID}`, status: 404 },
        { body: {}, status: 400 },
      ],
    };
  },
  'DELETE /v1/schedules/{id}': async (api) => {
    const id = await createSchedule(api);
    return { action: 'schedule.delete', url: `/v1/schedules/${id}`, targets: [id], idle: [{ status: 404 }] };
  },
  'POST /v1/schedules/{id}/pause': async (api) => {
    const id = await createSchedule(api);
    const idle = [{ status: 200 }, { url: `/v1/schedules/${UNKNOWN_ID}/pause`, status: 404 }];
    return { action: 'schedule.pause', url: `/v1/schedules/${id}/pause`, targets: [id], idle };
  },
  'POST /v1/schedules/{id}/resume': async (api) => {
    const id = await createSchedule(api);
    await api.request('POST', `/v1/schedules/${id}/pause`);
    const idle = [{ status: 200 }, { url: `/v1/schedules/${UNKNOWN_ID}/resume`, status: 404 }];
    return { action: 'schedule.resume', url: `/v1/schedules/${id}/resume`, targets: [id], idle };
  },
  'POST /v1/schedules/{id}/trigger': async (api) => {
    const id = await createSchedule(api);
    return {
      action: 'schedule.trigger',
      url: `/v1/schedules/${id}/trigger`,
      targets: ({ body }) => [body.timerId as string],
      details: { scheduleId: id },
      idle: [{ url: `/v1/schedules/${UNKNOWN_ID}/trigger`, status: 404 }],
    };
  },
};
