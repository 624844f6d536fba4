import { IdParams, Workflow, WorkflowRequest } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse, withHeaders } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { answerWorkflow } from '../../workflows/render-workflow.ts';
import { replaceWorkflow } from '../../workflows/save-workflow.ts';

const schema = {
  tags: ['workflows'],
  summary: 'Replace a workflow by a new version',
  description: 'With `If-Match` only while it has that version. Runs keep the version with which they began.',
  params: IdParams,
  body: WorkflowRequest,
  response: {
    200: withHeaders(Workflow, 'etag'),
    ...refuse({ 404: ['workflow_not_found'], 409: ['workflow_archived'] }),
  },
};

export function registerReplaceWorkflow(app: ApiServer, context: ApiContext): void {
  app.put('/v1/workflows/:id', { schema, config: { hasIfMatch: true } }, async (request, reply) => {
    const target = {
      tenantId: request.tenantId,
      id: request.params.id,
      ifMatch: request.headers['if-match'],
      origin: describeOrigin(request, 'workflow.replace'),
    };
    const answer = await runIdempotently(context, request, async (client) => {
      const workflow = await replaceWorkflow(context, client, target, request.body);
      return answerWorkflow(200, workflow);
    });
    return sendAnswer(reply, answer);
  });
}
