import { Timer, TimerRequest } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse, withHeaders } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { createTimer } from '../../timers/create-timer.ts';

/** `POST /v1/timers`: one new timer; the answer waits for the commit. */
export function registerCreateTimer(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/timers',
    {
      schema: {
        tags: ['timers'],
        summary: 'Create a timer',
        body: TimerRequest,
        response: {
          201: withHeaders(Timer, 'location'),
          200: Timer,
          ...refuse({ 409: ['external_id_taken'], 429: ['quota_exceeded'] }),
        },
      },
    },
    async (request, reply) => {
      const { tenantId, body } = request;
      const origin = describeOrigin(request, 'timer.create');
      const answer = await runIdempotently(
        context,
        request,
        (client) => createTimer(context, tenantId, body, origin, client),
        { together: (keyed) => context.keyedTimerBatcher.write({ ...keyed, timer: body, origin }) },
      );
      return sendAnswer(reply, answer);
    },
  );
}
