import { IdParams, NoBody } from '@punctual/contracts';
import { Type } from 'typebox';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { eraseTimer } from '../../timers/erase-timer.ts';

/** `POST /v1/timers/{id}/erase`: `DELETE` cancels. */
export function registerEraseTimer(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/timers/:id/erase',
    {
      schema: {
        tags: ['timers'],
        summary: 'Erase a timer that has ended, and all that it left',
        description:
          'Its payload, labels and external id, its attempts and answers, its dead letter, and what keyed requests about it were answered. It can not be undone. 409 while it is live: cancel it first. A task of a run is erased with the run.',
        params: IdParams,
        body: NoBody,
        response: {
          204: Type.Null(),
          ...refuse({ 404: ['not_found'], 409: ['timer_not_finished', 'timer_of_run', 'timer_changing'] }),
        },
      },
    },
    async (request, reply) => {
      const { tenantId, params } = request;
      const origin = describeOrigin(request, 'timer.erase');
      const answer = await runIdempotently(context, request, async (client) => {
        await eraseTimer(context, client, tenantId, params.id, origin);
        return { status: 204 };
      });
      return sendAnswer(reply, answer);
    },
  );
}
