import { IdParams, WorkflowChangeRequest, WorkflowWithOperation } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import { TOO_MANY_OPERATIONS } from '../../bulk-operations/begin-bulk-operation.ts';
import type { ApiContext } from '../../context.ts';
import { refuse, withHeaders } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { answerWorkflow } from '../../workflows/render-workflow.ts';
import { replaceWorkflow } from '../../workflows/save-workflow.ts';

const schema = {
  tags: ['workflows'],
  summary: 'Replace a workflow by a new version',
  description:
    'With `If-Match` only while it has that version. Runs keep the version with which they began, unless `runs` says that they move.',
  params: IdParams,
  body: WorkflowChangeRequest,
  response: {
    200: withHeaders(WorkflowWithOperation, 'etag'),
    ...refuse({ 404: ['workflow_not_found'], 409: ['workflow_archived'], ...TOO_MANY_OPERATIONS }),
  },
};

export function registerReplaceWorkflow(app: ApiServer, context: ApiContext): void {
  app.put('/v1/workflows/:id', { schema, config: { hasIfMatch: true } }, async (request, reply) => {
    const { runs, ...content } = request.body;
    const target = {
      tenantId: request.tenantId,
      id: request.params.id,
      ifMatch: request.headers['if-match'],
      runs,
      origin: describeOrigin(request, 'workflow.replace'),
    };
    const answer = await runIdempotently(context, request, async (client) => {
      return answerWorkflow(200, await replaceWorkflow(context, client, target, content));
    });
    return sendAnswer(reply, answer);
  });
}
