import { DeadLetterParams, NoBody, RedriveAnswer, RedriveRequest, Timer } from '@punctual/contracts';
import { asTenant, DEAD_LETTERS_PER_REDRIVE_MAX, listDeadLetters } from '@punctual/database';
import type { Static } from 'typebox';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { redriveEach } from '../../dead-letters/redrive.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { createInvalidRequest } from '../../plugins/problems.ts';
import { countItemsOf } from '../../plugins/request-limits.ts';
import { createSingleAnswer, renderResults } from '../../timers/item-results.ts';
import { toCondition } from '../../timers/timer-filter.ts';

/** `POST /v1/dead-letters/{timerId}/redrive`: live again, due now. */
export function registerRedriveDeadLetter(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/dead-letters/:timerId/redrive',
    {
      schema: {
        tags: ['dead letters'],
        summary: 'Send a dead letter again',
        params: DeadLetterParams,
        body: NoBody,
        response: {
          200: Timer,
          ...refuse({ 404: ['not_found'], 409: ['not_a_dead_letter', 'run_cancelled'], 429: ['quota_exceeded'] }),
        },
      },
    },
    async (request, reply) => {
      const { tenantId, params } = request;
      const origin = describeOrigin(request, 'dead-letter.redrive');
      const answer = await runIdempotently(context, request, async (client) => {
        const [result] = await redriveEach(context, tenantId, [params.timerId], origin, client);
        return createSingleAnswer(result!);
      });
      return sendAnswer(reply, answer);
    },
  );
}

/** `POST /v1/dead-letters/redrive`: those named, or the first thousand that match. */
export function registerRedriveDeadLetters(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/dead-letters/redrive',
    {
      config: { countItems: countItemsOf('ids') },
      schema: {
        tags: ['dead letters'],
        summary: 'Send up to 1000 dead letters again',
        body: RedriveRequest,
        response: { 200: RedriveAnswer, ...refuse({ 429: ['quota_exceeded'] }) },
      },
    },
    async (request, reply) => {
      const { tenantId, body, id } = request;
      const origin = describeOrigin(request, 'dead-letters.redrive');
      const answer = await runIdempotently(context, request, async (client) => {
        const { ids, hasMore } = await chooseIds(context, tenantId, body);
        const results = await redriveEach(context, tenantId, ids, origin, client);
        const redriven = results.filter((result) => !('error' in result)).length;
        return {
          status: 200,
          body: `{"redriven":${redriven},"hasMore":${hasMore},"results":${renderResults(results, id)}}`,
        };
      });
      return sendAnswer(reply, answer);
    },
  );
}

async function chooseIds(context: ApiContext, tenantId: string, { ids, filter }: Static<typeof RedriveRequest>) {
  if ((ids === undefined) === (filter === undefined)) {
    throw createInvalidRequest([{ pointer: '', detail: 'Give either ids or filter.' }]);
  }
  if (ids !== undefined) return { ids: [...new Set(ids)], hasMore: false };
  const condition = toCondition(tenantId, filter!, '/filter');
  const { ordinary } = asTenant(context.database, tenantId);
  const found = await listDeadLetters(ordinary, condition, { limit: DEAD_LETTERS_PER_REDRIVE_MAX + 1 });
  context.requestRates.countFound(tenantId, Math.min(found.length, DEAD_LETTERS_PER_REDRIVE_MAX));
  return {
    ids: found.slice(0, DEAD_LETTERS_PER_REDRIVE_MAX).map((record) => record.id),
    hasMore: found.length > DEAD_LETTERS_PER_REDRIVE_MAX,
  };
}
