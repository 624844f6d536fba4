import { IdParams, NoBody, Run } from '@punctual/contracts';
import { asTenant } from '@punctual/database';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { retryRun } from '../../runs/retry-run.ts';
import { showRun } from '../../runs/show-runs.ts';

const schema = {
  tags: ['runs'],
  summary: 'Send the dead tasks of a run again',
  description: 'Due now, with all their attempts before them. 409 when the run was cancelled or no task of it is dead.',
  params: IdParams,
  body: NoBody,
  response: {
    200: Run,
    ...refuse({ 404: ['run_not_found'], 409: ['run_cancelled', 'nothing_to_retry'], 429: ['quota_exceeded'] }),
  },
};

export function registerRetryRun(app: ApiServer, context: ApiContext): void {
  app.post('/v1/runs/:id/retry', { schema }, async (request, reply) => {
    const { tenantId, params } = request;
    const origin = describeOrigin(request, 'run.retry');
    const answer = await runIdempotently(context, request, async (client) => {
      await retryRun(context, client, tenantId, params.id, origin);
      const database = client ?? asTenant(context.database, tenantId).ordinary;
      return { status: 200, body: await showRun(context, database, tenantId, params.id) };
    });
    return sendAnswer(reply, answer);
  });
}
