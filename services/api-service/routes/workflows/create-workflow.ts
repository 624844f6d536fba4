import { Workflow, WorkflowRequest } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { withHeaders } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { answerWorkflow } from '../../workflows/render-workflow.ts';
import { addWorkflow } from '../../workflows/save-workflow.ts';

const schema = {
  tags: ['workflows'],
  summary: 'Create a workflow',
  body: WorkflowRequest,
  response: { 201: withHeaders(Workflow, 'etag') },
};

export function registerCreateWorkflow(app: ApiServer, context: ApiContext): void {
  app.post('/v1/workflows', { schema }, async (request, reply) => {
    const origin = describeOrigin(request, 'workflow.create');
    const answer = await runIdempotently(context, request, async (client) => {
      const workflow = await addWorkflow(context, client, request.tenantId, request.body, origin);
      return answerWorkflow(201, workflow);
    });
    return sendAnswer(reply, answer);
  });
}
