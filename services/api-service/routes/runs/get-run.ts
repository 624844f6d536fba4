import { IdParams, Run } from '@punctual/contracts';
import { asTenant } from '@punctual/database';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { showRun } from '../../runs/show-runs.ts';

const schema = {
  tags: ['runs'],
  summary: 'Read a run with its tasks',
  params: IdParams,
  response: { 200: Run, ...refuse({ 404: ['run_not_found'] }) },
};

export function registerGetRun(app: ApiServer, context: ApiContext): void {
  app.get('/v1/runs/:id', { schema }, async (request, reply) => {
    const { ordinary } = asTenant(context.database, request.tenantId);
    const run = await showRun(context, ordinary, request.tenantId, request.params.id);
    return sendAnswer(reply, { status: 200, body: run });
  });
}
