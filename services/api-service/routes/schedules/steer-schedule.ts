import { IdParams, NoBody, Schedule } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse, withHeaders } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { steerSchedule } from '../../schedules/change-schedule.ts';
import { answerSchedule } from '../../schedules/render-schedule.ts';

const VERBS = {
  pause: { wanted: 'paused', summary: 'Pause a schedule', description: 'What it has begun goes on.' },
  resume: {
    wanted: 'active',
    summary: 'Resume a schedule',
    description: 'What would have occurred during the pause does not.',
  },
} as const;

/** `POST /v1/schedules/{id}/pause` and `resume`. */
export function registerSteerSchedule(app: ApiServer, context: ApiContext): void {
  for (const verb of ['pause', 'resume'] as const) {
    const { wanted, summary, description } = VERBS[verb];
    app.post(
      `/v1/schedules/:id/${verb}`,
      {
        schema: {
          tags: ['schedules'],
          summary,
          description,
          params: IdParams,
          body: NoBody,
          response: {
            200: withHeaders(Schedule, 'etag'),
            ...refuse({ 404: ['schedule_not_found'], 409: ['schedule_ended'] }),
          },
        },
      },
      async (request, reply) => {
        const origin = describeOrigin(request, `schedule.${verb}`);
        const target = { tenantId: request.tenantId, id: request.params.id, ifMatch: undefined, origin };
        const answer = await runIdempotently(context, request, async (client) =>
          answerSchedule(200, await steerSchedule(context, client, target, wanted)),
        );
        return sendAnswer(reply, answer);
      },
    );
  }
}
