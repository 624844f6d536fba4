import { IdParams, Workflow } from '@punctual/contracts';
import { archiveWorkflow, asTenant, readWorkflow, recordChanges } from '@punctual/database';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import { type ApiContext, readAnchorAt } from '../../context.ts';
import { refuse, withHeaders } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { withTransaction } from '../../transaction.ts';
import { answerWorkflow } from '../../workflows/render-workflow.ts';
import { createWorkflowNotFound } from '../../workflows/workflow-problems.ts';

const schema = {
  tags: ['workflows'],
  summary: 'Archive a workflow',
  description: 'It begins no more runs; those under way go on. Archived workflows stay readable.',
  params: IdParams,
  response: { 200: withHeaders(Workflow, 'etag'), ...refuse({ 404: ['workflow_not_found'] }) },
};

export function registerArchiveWorkflow(app: ApiServer, context: ApiContext): void {
  app.delete('/v1/workflows/:id', { schema }, async (request, reply) => {
    const { tenantId } = request;
    const { id } = request.params;
    const { ordinary } = asTenant(context.database, tenantId);
    const origin = describeOrigin(request, 'workflow.archive');
    const answer = await runIdempotently(context, request, async (client) => {
      const workflow = await withTransaction(ordinary, client, async (transaction) => {
        if (await archiveWorkflow(transaction, tenantId, id, readAnchorAt(context))) {
          await recordChanges(transaction, [{ targetId: id, tenantId, origin }]);
        }
        return readWorkflow(transaction, tenantId, id);
      });
      if (!workflow) throw createWorkflowNotFound();
      return answerWorkflow(200, workflow);
    });
    return sendAnswer(reply, answer);
  });
}
