import { IdParams, NoBody, Timer } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { fireNow } from '../../timers/fire-timer.ts';
import { createSingleAnswer } from '../../timers/item-results.ts';

/** `POST /v1/timers/{id}/fire`: due now. */
export function registerFireTimer(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/timers/:id/fire',
    {
      schema: {
        tags: ['timers'],
        summary: 'Make a timer due now',
        params: IdParams,
        body: NoBody,
        response: {
          200: Timer,
          ...refuse({ 404: ['not_found'], 409: ['timer_already_started', 'timer_finished', 'timer_changing'] }),
        },
      },
    },
    async (request, reply) => {
      const { tenantId, params } = request;
      const origin = describeOrigin(request, 'timer.fire');
      const answer = await runIdempotently(context, request, async (client) =>
        createSingleAnswer(await fireNow(context, tenantId, params.id, origin, client)),
      );
      return sendAnswer(reply, answer);
    },
  );
}
