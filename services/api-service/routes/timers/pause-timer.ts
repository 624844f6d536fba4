import { IdParams, NoBody, Timer, TimerResumeRequest } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { createSingleAnswer } from '../../timers/item-results.ts';
import { pauseTimer, resumeTimer } from '../../timers/pause-timer.ts';

const TOO_LATE = ['timer_already_started', 'timer_finished', 'timer_changing'];

/** `POST /v1/timers/{id}/pause` and `…/resume`: 200, again when repeated, or 409 when it is too late. */
export function registerPauseTimer(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/timers/:id/pause',
    {
      schema: {
        tags: ['timers'],
        summary: 'Pause a timer',
        description: 'It stays so whatever becomes of its run and workflow, until it is resumed or cancelled.',
        params: IdParams,
        body: NoBody,
        response: { 200: Timer, ...refuse({ 404: ['not_found'], 409: TOO_LATE }) },
      },
    },
    async (request, reply) => {
      const { tenantId, params } = request;
      const origin = describeOrigin(request, 'timer.pause');
      const answer = await runIdempotently(context, request, async (client) =>
        createSingleAnswer(await pauseTimer(context, tenantId, params.id, origin, client)),
      );
      return sendAnswer(reply, answer);
    },
  );
  app.post(
    '/v1/timers/:id/resume',
    {
      schema: {
        tags: ['timers'],
        summary: 'Resume a timer',
        params: IdParams,
        body: TimerResumeRequest,
        response: { 200: Timer, ...refuse({ 404: ['not_found'], 409: [...TOO_LATE, 'timer_held'] }) },
      },
    },
    async (request, reply) => {
      const { tenantId, params, body } = request;
      const dueTimes = body?.dueTimes ?? 'keep';
      const origin = describeOrigin(request, 'timer.resume', { dueTimes });
      const answer = await runIdempotently(context, request, async (client) =>
        createSingleAnswer(await resumeTimer(context, tenantId, params.id, dueTimes, origin, client)),
      );
      return sendAnswer(reply, answer);
    },
  );
}
