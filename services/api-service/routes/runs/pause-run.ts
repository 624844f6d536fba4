import { IdParams, NoBody, ResumeRequest, Run } from '@punctual/contracts';
import { asTenant, type Transaction } from '@punctual/database';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { readManner } from '../../gates/resume-manner.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { pauseRun, resumeRun } from '../../runs/pause-run.ts';
import { showRun } from '../../runs/show-runs.ts';

const response = { 200: Run, ...refuse({ 404: ['run_not_found'], 409: ['run_finished'] }) };

/** `POST /v1/runs/{id}/pause` and `…/resume`: 200, again when repeated, or 409 when it has ended. */
export function registerPauseRun(app: ApiServer, context: ApiContext): void {
  const answer = async (client: Transaction | undefined, tenantId: string, id: string) => {
    const database = client ?? asTenant(context.database, tenantId).ordinary;
    return { status: 200, body: await showRun(context, database, tenantId, id) };
  };
  app.post(
    '/v1/runs/:id/pause',
    {
      schema: {
        tags: ['runs'],
        summary: 'Pause a run',
        description: 'What waits is paused, and what begins to wait, too. Attempts under way finish.',
        params: IdParams,
        body: NoBody,
        response,
      },
    },
    async (request, reply) => {
      const { tenantId, params } = request;
      const origin = describeOrigin(request, 'run.pause');
      const result = await runIdempotently(context, request, async (client) => {
        await pauseRun(context, client, tenantId, params.id, origin);
        return answer(client, tenantId, params.id);
      });
      return sendAnswer(reply, result);
    },
  );
  app.post(
    '/v1/runs/:id/resume',
    {
      schema: {
        tags: ['runs'],
        summary: 'Resume a run',
        description: 'Also one that was begun paused.',
        params: IdParams,
        body: ResumeRequest,
        response,
      },
    },
    async (request, reply) => {
      const { tenantId, params, body } = request;
      const manner = readManner(body);
      const origin = describeOrigin(request, 'run.resume', { dueTimes: manner.dueTimes });
      const result = await runIdempotently(context, request, async (client) => {
        await resumeRun(context, client, tenantId, params.id, manner, origin);
        return answer(client, tenantId, params.id);
      });
      return sendAnswer(reply, result);
    },
  );
}
