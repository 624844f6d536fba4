import { IdParams, NoBody, Timer, TimerBatchAnswer, TimerIdsRequest } from '@punctual/contracts';
import type { CancelRequest, Transaction } from '@punctual/database';
import type { FastifyRequest } from 'fastify';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { countItemsOf } from '../../plugins/request-limits.ts';
import { cancelEach } from '../../timers/cancel-timers.ts';
import { createEditBatcher } from '../../timers/edit-batcher.ts';
import { createBatchAnswer, createSingleAnswer } from '../../timers/item-results.ts';

const RESPONSE = {
  200: Timer,
  ...refuse({ 404: ['not_found'], 409: ['timer_already_started', 'timer_finished', 'timer_changing'] }),
};

/** `POST /v1/timers/{id}/cancel` and `DELETE /v1/timers/{id}`: 200, again when repeated, or 409 when it is too late. */
export function registerCancelTimer(app: ApiServer, context: ApiContext): void {
  const batcher = createEditBatcher<CancelRequest>(context, (tenantId, requests) =>
    cancelEach(context, tenantId, requests),
  );
  const cancelOne = async (tenantId: string, request: CancelRequest, client?: Transaction) => {
    // What has an idempotency key has a transaction of its own.
    const result = client
      ? (await cancelEach(context, tenantId, [request], client))[0]!
      : await batcher.write({ tenantId, request });
    return createSingleAnswer(result);
  };
  const answerCancel = (request: FastifyRequest, id: string) => {
    const cancel = { id, origin: describeOrigin(request, 'timer.cancel') };
    return runIdempotently(context, request, (client) => cancelOne(request.tenantId, cancel, client));
  };
  app.post(
    '/v1/timers/:id/cancel',
    { schema: { tags: ['timers'], summary: 'Cancel a timer', params: IdParams, body: NoBody, response: RESPONSE } },
    async (request, reply) => sendAnswer(reply, await answerCancel(request, request.params.id)),
  );
  app.delete(
    '/v1/timers/:id',
    { schema: { tags: ['timers'], summary: 'Cancel a timer', params: IdParams, response: RESPONSE } },
    async (request, reply) => sendAnswer(reply, await answerCancel(request, request.params.id)),
  );
}

/** `POST /v1/timers/batch/cancel`: each by itself, 207. */
export function registerCancelTimers(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/timers/batch/cancel',
    {
      config: { countItems: countItemsOf('ids') },
      schema: {
        tags: ['timers'],
        summary: 'Cancel up to 1000 timers, each by itself',
        body: TimerIdsRequest,
        response: { 207: TimerBatchAnswer },
      },
    },
    async (request, reply) => {
      const { tenantId, body } = request;
      const origin = describeOrigin(request, 'timers.batch.cancel');
      const cancels = body.ids.map((id) => ({ id, origin }));
      const answer = await runIdempotently(context, request, async (client) =>
        createBatchAnswer(await cancelEach(context, tenantId, cancels, client), request.id),
      );
      return sendAnswer(reply, answer);
    },
  );
}
