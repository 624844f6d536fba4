import { Schedule, ScheduleRequest } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse, withHeaders } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { addSchedule } from '../../schedules/change-schedule.ts';
import { answerSchedule } from '../../schedules/render-schedule.ts';

const schema = {
  tags: ['schedules'],
  summary: 'Create a recurring schedule',
  description: 'Each occurrence begins a run or a timer, exactly one.',
  body: ScheduleRequest,
  response: {
    201: withHeaders(Schedule, 'location', 'etag'),
    ...refuse({ 404: ['workflow_not_found'], 409: ['workflow_archived'], 429: ['too_many_schedules'] }),
  },
};

export function registerCreateSchedule(app: ApiServer, context: ApiContext): void {
  app.post('/v1/schedules', { schema }, async (request, reply) => {
    const { tenantId, body } = request;
    const origin = describeOrigin(request, 'schedule.create');
    const answer = await runIdempotently(context, request, async (client) => {
      const row = await addSchedule(context, client, tenantId, body, origin);
      const { headers, ...rest } = answerSchedule(201, row);
      return { ...rest, headers: { ...headers, location: `/v1/schedules/${row.id}` } };
    });
    return sendAnswer(reply, answer);
  });
}
