import { IdParams, NoBody, Problem, Timer, TimerBatchAnswer, TimerIdsRequest } from '@punctual/contracts';
import type { Transaction } from '@punctual/database';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { cancelEach } from '../../timers/cancel-timers.ts';
import { createEditBatcher } from '../../timers/edit-batcher.ts';
import { createBatchAnswer, createSingleAnswer } from '../../timers/item-results.ts';

const RESPONSE = { 200: Timer, default: Problem };

/** `POST /v1/timers/{id}/cancel` and `DELETE /v1/timers/{id}`: 200, again when repeated, or 409 when it is too late. */
export function registerCancelTimer(app: ApiServer, context: ApiContext): void {
  const batcher = createEditBatcher<{ id: string }>(context, (tenantId, requests) =>
    cancelEach(
      context,
      tenantId,
      requests.map(({ id }) => id),
    ),
  );
  const cancelOne = async (tenantId: string, id: string, client?: Transaction) => {
    // What has an idempotency key has a transaction of its own.
    const result = client
      ? (await cancelEach(context, tenantId, [id], client))[0]!
      : await batcher.write({ tenantId, request: { id } });
    return createSingleAnswer(result);
  };
  app.post(
    '/v1/timers/:id/cancel',
    { schema: { tags: ['timers'], summary: 'Cancel a timer', params: IdParams, body: NoBody, response: RESPONSE } },
    async (request, reply) => {
      const { tenantId, params } = request;
      return sendAnswer(
        reply,
        await runIdempotently(context, request, (client) => cancelOne(tenantId, params.id, client)),
      );
    },
  );
  app.delete(
    '/v1/timers/:id',
    { schema: { tags: ['timers'], summary: 'Cancel a timer', params: IdParams, response: RESPONSE } },
    async (request, reply) => sendAnswer(reply, await cancelOne(request.tenantId, request.params.id)),
  );
}

/** `POST /v1/timers/batch/cancel`: each by itself, 207. */
export function registerCancelTimers(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/timers/batch/cancel',
    {
      schema: {
        tags: ['timers'],
        summary: 'Cancel up to 1000 timers, each by itself',
        body: TimerIdsRequest,
        response: { 207: TimerBatchAnswer, default: Problem },
      },
    },
    async (request, reply) => {
      const { tenantId, body } = request;
      const answer = await runIdempotently(context, request, async (client) =>
        createBatchAnswer(await cancelEach(context, tenantId, body.ids, client), request.id),
      );
      return sendAnswer(reply, answer);
    },
  );
}
