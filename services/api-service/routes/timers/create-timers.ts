import { TimerBatchAnswer, TimerBatchRequest } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { countItemsOf } from '../../plugins/request-limits.ts';
import { createBatch } from '../../timers/create-timers.ts';
import { createBatchAnswer } from '../../timers/item-results.ts';

/** `POST /v1/timers/batch`: up to 1000 new timers by one insert, 207. */
export function registerCreateTimers(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/timers/batch',
    {
      bodyLimit: context.config.API_BATCH_BODY_BYTES_MAX,
      config: { countItems: countItemsOf('timers') },
      schema: {
        tags: ['timers'],
        summary: 'Create up to 1000 timers; a bad one does not spoil the others',
        body: TimerBatchRequest,
        response: { 207: TimerBatchAnswer, ...refuse({ 429: ['quota_exceeded'] }) },
      },
    },
    async (request, reply) => {
      const { tenantId, body, id } = request;
      const origin = describeOrigin(request, 'timers.batch.create');
      const answer = await runIdempotently(context, request, async (client) =>
        createBatchAnswer(await createBatch(context, tenantId, body.timers, origin, client), id),
      );
      return sendAnswer(reply, answer);
    },
  );
}
