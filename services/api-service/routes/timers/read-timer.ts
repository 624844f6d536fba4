import { IdParams, Timer } from '@punctual/contracts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { readTimerText } from '../../timers/read-timers.ts';

/** `GET /v1/timers/{id}`: a timer, live or ended. */
export function registerReadTimer(app: ApiServer, context: ApiContext): void {
  app.get(
    '/v1/timers/:id',
    {
      schema: {
        tags: ['timers'],
        summary: 'Read a timer',
        params: IdParams,
        response: { 200: Timer, ...refuse({ 404: ['not_found'] }) },
      },
    },
    async (request, reply) =>
      sendAnswer(reply, { status: 200, body: await readTimerText(context, request.tenantId, request.params.id) }),
  );
}
