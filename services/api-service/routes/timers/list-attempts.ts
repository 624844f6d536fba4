import { Attempt, IdParams, listOf, PAGE_ITEMS_DEFAULT, Page } from '@punctual/contracts';
import { asTenant, listAttempts, readTimers } from '@punctual/database';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { decodeCursor, encodeCursor } from '../../cursor.ts';
import { refuse } from '../../openapi/refusals.ts';
import { createTimerNotFound } from '../../timers/read-timers.ts';
import { toAttempt } from '../../timers/render-timer.ts';

/** `GET /v1/timers/{id}/attempts`: those that have ended, oldest first. */
export function registerListAttempts(app: ApiServer, context: ApiContext): void {
  app.get(
    '/v1/timers/:id/attempts',
    {
      schema: {
        tags: ['timers'],
        summary: 'List the attempts of a timer',
        params: IdParams,
        querystring: Type.Object(Page, { additionalProperties: false }),
        response: { 200: listOf(Attempt), ...refuse({ 404: ['not_found'] }) },
      },
    },
    async (request) => {
      const { tenantId, query } = request;
      const { id } = request.params;
      const limit = query.limit ?? PAGE_ITEMS_DEFAULT;
      // A timer has few attempts and they are only ever added at the end, so the place in the list is a position.
      const offset = decodeCursor(query.cursor)?.at ?? 0;
      const { hot, ordinary } = asTenant(context.database, tenantId);
      if (!(await readTimers(hot, tenantId, [id])).has(id)) throw createTimerNotFound();
      const rows = await listAttempts(ordinary, tenantId, id, { limit: limit + 1, offset: Math.max(0, offset) });
      return {
        data: rows.slice(0, limit).map(toAttempt),
        nextCursor: rows.length > limit ? encodeCursor({ at: offset + limit, id }) : null,
      };
    },
  );
}
