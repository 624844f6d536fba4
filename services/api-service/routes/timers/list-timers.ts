import { listOf, Page, Timer, TimerFilterQuery, WITH_LABELS } from '@punctual/contracts';
import { listTimers } from '@punctual/database';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { listPage } from '../../timers/list-timers.ts';
import { readFilterQuery } from '../../timers/timer-filter.ts';

const Query = Type.Object({ ...TimerFilterQuery, ...Page }, WITH_LABELS);

/** `GET /v1/timers`: live and ended ones in the order `(dueAt, id)`. */
export function registerListTimers(app: ApiServer, context: ApiContext): void {
  app.get(
    '/v1/timers',
    {
      schema: {
        tags: ['timers'],
        summary: 'List timers by due time',
        description: 'Labels are filtered by `label.<key>=<value>`.',
        querystring: Query,
        response: { 200: listOf(Timer) },
      },
    },
    async (request, reply) => {
      const condition = readFilterQuery(request.tenantId, request.query);
      return sendAnswer(reply, { status: 200, body: await listPage(context, listTimers, condition, request.query) });
    },
  );
}
