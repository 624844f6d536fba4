import { DeadLetter, listOf, Page, TimerFilterQuery, WITH_LABELS } from '@punctual/contracts';
import { listDeadLetters, type Queryable, type TimerRecord } from '@punctual/database';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { listPage } from '../../timers/list-timers.ts';
import { renderRecord } from '../../timers/read-timers.ts';
import { toAttempt } from '../../timers/render-timer.ts';
import { readFilterQuery } from '../../timers/timer-filter.ts';

const Query = Type.Object({ ...TimerFilterQuery, ...Page }, WITH_LABELS);

/** `GET /v1/dead-letters`: timers with no attempts left, and how the last one went. */
export function registerListDeadLetters(app: ApiServer, context: ApiContext): void {
  const render = async (_context: ApiContext, record: TimerRecord, database: Queryable) => {
    const text = await renderRecord(context, record, database);
    const { startedAt, finishedAt, outcome } = record;
    if (startedAt === null || finishedAt === null || outcome === null) return text;
    const lastAttempt = toAttempt({ ...record, startedAt, finishedAt, outcome });
    return `${text.slice(0, -1)},"lastAttempt":${JSON.stringify(lastAttempt)}}`;
  };
  app.get(
    '/v1/dead-letters',
    {
      schema: {
        tags: ['dead letters'],
        summary: 'List dead letters by due time',
        querystring: Query,
        response: { 200: listOf(DeadLetter) },
      },
    },
    async (request, reply) => {
      const condition = readFilterQuery(request.tenantId, request.query);
      return sendAnswer(reply, {
        status: 200,
        body: await listPage(context, listDeadLetters, condition, request.query, render),
      });
    },
  );
}
