import { IdParams, Workflow } from '@punctual/contracts';
import { asTenant, readWorkflow } from '@punctual/database';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse, withHeaders } from '../../openapi/refusals.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { answerWorkflow } from '../../workflows/render-workflow.ts';
import { createWorkflowNotFound } from '../../workflows/workflow-problems.ts';

const schema = {
  tags: ['workflows'],
  summary: 'Read a workflow',
  params: IdParams,
  response: { 200: withHeaders(Workflow, 'etag'), ...refuse({ 404: ['workflow_not_found'] }) },
};

export function registerGetWorkflow(app: ApiServer, context: ApiContext): void {
  app.get('/v1/workflows/:id', { schema }, async (request, reply) => {
    const { ordinary } = asTenant(context.database, request.tenantId);
    const workflow = await readWorkflow(ordinary, request.tenantId, request.params.id);
    if (!workflow) throw createWorkflowNotFound();
    return sendAnswer(reply, answerWorkflow(200, workflow));
  });
}
