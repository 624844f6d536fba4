import { IdParams, Workflow, WorkflowTask } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
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
  body: WorkflowTask,
  response: {
    201: withHeaders(Workflow, 'etag'),
    ...refuse({ 404: ['workflow_not_found'], 409: ['workflow_archived'] }),
  },
};

export function registerAddTask(app: ApiServer, context: ApiContext): void {
  app.post('/v1/workflows/:id/tasks', { schema, config: { hasIfMatch: true } }, async (request, reply) => {
    const target = {
      tenantId: request.tenantId,
      id: request.params.id,
      ifMatch: request.headers['if-match'],
      origin: describeOrigin(request, 'workflow.add-task'),
    };
    const answer = await runIdempotently(context, request, async (client) => {
      const workflow = await addTask(context, client, target, request.body);
      return answerWorkflow(201, workflow);
    });
    return sendAnswer(reply, answer);
  });
}
