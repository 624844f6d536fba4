import { IdParams, TaskAddRequest, WorkflowWithOperation } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import { TOO_MANY_OPERATIONS } from '../../bulk-operations/begin-bulk-operation.ts';
import type { ApiContext } from '../../context.ts';
import { refuse, withHeaders } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { answerWorkflow } from '../../workflows/render-workflow.ts';
import { addTask } from '../../workflows/save-workflow.ts';

const schema = {
  tags: ['workflows'],
  summary: 'Add a task to a workflow by a new version',
  description: 'With `If-Match` only while it has that version. Answers the whole workflow.',
  params: IdParams,
  body: TaskAddRequest,
  response: {
    201: withHeaders(WorkflowWithOperation, 'etag'),
    ...refuse({ 404: ['workflow_not_found'], 409: ['workflow_archived'], ...TOO_MANY_OPERATIONS }),
  },
};

export function registerAddTask(app: ApiServer, context: ApiContext): void {
  app.post('/v1/workflows/:id/tasks', { schema, config: { hasIfMatch: true } }, async (request, reply) => {
    const { runs, ...task } = request.body;
    const target = {
      tenantId: request.tenantId,
      id: request.params.id,
      ifMatch: request.headers['if-match'],
      runs,
      origin: describeOrigin(request, 'workflow.add-task'),
    };
    const answer = await runIdempotently(context, request, async (client) => {
      return answerWorkflow(201, await addTask(context, client, target, task));
    });
    return sendAnswer(reply, answer);
  });
}
