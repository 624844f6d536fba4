import { IdParams, NoBody, TriggeredSchedule } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse, withHeaders } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { triggerSchedule } from '../../schedules/trigger-schedule.ts';

const schema = {
  tags: ['schedules'],
  summary: 'Begin an occurrence now',
  description: 'Whatever the status of the schedule and its policy for overlaps; its row of occurrences stays.',
  params: IdParams,
  body: NoBody,
  response: {
    201: withHeaders(TriggeredSchedule, 'location'),
    ...refuse({
      404: ['schedule_not_found', 'workflow_not_found'],
      409: ['workflow_paused', 'workflow_archived'],
      429: ['quota_exceeded'],
    }),
  },
};

/** `POST /v1/schedules/{id}/trigger`. */
export function registerTriggerSchedule(app: ApiServer, context: ApiContext): void {
  app.post('/v1/schedules/:id/trigger', { schema }, async (request, reply) => {
    const { tenantId, params } = request;
    const scheduleId = params.id.toLowerCase();
    const origin = describeOrigin(request, 'schedule.trigger', { scheduleId });
    const answer = await runIdempotently(context, request, async (client) => {
      const triggered = await triggerSchedule(context, client, { tenantId, id: scheduleId, origin });
      const location = 'runId' in triggered ? `/v1/runs/${triggered.runId}` : `/v1/timers/${triggered.timerId}`;
      return { status: 201, headers: { location }, body: { scheduleId, ...triggered } };
    });
    return sendAnswer(reply, answer);
  });
}
