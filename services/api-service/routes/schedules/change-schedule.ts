import { IdParams, Schedule, ScheduleChange } from '@punctual/contracts';
import { Type } from 'typebox';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse, withHeaders } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { changeSchedule, removeSchedule } from '../../schedules/change-schedule.ts';
import { answerSchedule } from '../../schedules/render-schedule.ts';

const tags = ['schedules'];

/** `PATCH` and `DELETE /v1/schedules/{id}`. */
export function registerChangeSchedule(app: ApiServer, context: ApiContext): void {
  app.patch(
    '/v1/schedules/:id',
    {
      config: { hasIfMatch: true },
      schema: {
        tags,
        summary: 'Change a schedule',
        description:
          'With `If-Match` only while it has that version. A new rule, zone, start or end counts from now. One that has ended goes on.',
        params: IdParams,
        body: ScheduleChange,
        response: {
          200: withHeaders(Schedule, 'etag'),
          ...refuse({ 404: ['schedule_not_found', 'workflow_not_found'], 409: ['workflow_archived'] }),
        },
      },
    },
    async (request, reply) => {
      const { tenantId, body, headers, params } = request;
      const target = {
        tenantId,
        id: params.id,
        ifMatch: headers['if-match'],
        // Which fields, not what they hold.
        origin: describeOrigin(request, 'schedule.change', { fields: Object.keys(body).toSorted() }),
      };
      const answer = await runIdempotently(context, request, async (client) =>
        answerSchedule(200, await changeSchedule(context, client, target, body)),
      );
      return sendAnswer(reply, answer);
    },
  );
  app.delete(
    '/v1/schedules/:id',
    {
      config: { hasIfMatch: true },
      schema: {
        tags,
        summary: 'Delete a schedule',
        description: 'What it has begun goes on.',
        params: IdParams,
        response: { 204: Type.Null(), ...refuse({ 404: ['schedule_not_found'] }) },
      },
    },
    async (request, reply) => {
      const { tenantId, headers, params } = request;
      const origin = describeOrigin(request, 'schedule.delete');
      const target = { tenantId, id: params.id, ifMatch: headers['if-match'], origin };
      const answer = await runIdempotently(context, request, async (client) => {
        await removeSchedule(context, client, target);
        return { status: 204 };
      });
      return sendAnswer(reply, answer);
    },
  );
}
