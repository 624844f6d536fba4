import { IdParams, NoBody, Run } from '@punctual/contracts';
import { asTenant } from '@punctual/database';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { cancelRun } from '../../runs/cancel-run.ts';
import { showRun } from '../../runs/show-runs.ts';

const schema = {
  tags: ['runs'],
  summary: 'Cancel a run',
  description:
    'What has not started never will; attempts under way finish, but nothing follows them. 409 when it has ended.',
  params: IdParams,
  body: NoBody,
  response: { 200: Run, ...refuse({ 404: ['run_not_found'], 409: ['run_finished'] }) },
};

export function registerCancelRun(app: ApiServer, context: ApiContext): void {
  app.post('/v1/runs/:id/cancel', { schema }, async (request, reply) => {
    const { tenantId, params } = request;
    const origin = describeOrigin(request, 'run.cancel');
    const answer = await runIdempotently(context, request, async (client) => {
      await cancelRun(context, client, tenantId, params.id, origin);
      const database = client ?? asTenant(context.database, tenantId).ordinary;
      return { status: 200, body: await showRun(context, database, tenantId, params.id) };
    });
    return sendAnswer(reply, answer);
  });
}
