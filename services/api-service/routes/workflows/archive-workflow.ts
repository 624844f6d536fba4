import { IdParams, Workflow } from '@punctual/contracts';
import { archiveWorkflow, asTenant, inTransaction, readWorkflow, recordChanges } from '@punctual/database';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import { type ApiContext, readAnchorAt } from '../../context.ts';
import { refuse, withHeaders } from '../../openapi/refusals.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { formatETag } from '../../workflows/etag.ts';
import { renderWorkflow } from '../../workflows/render-workflow.ts';
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
    const origin = describeOrigin(request, 'workflow.archive');
    const workflow = await inTransaction(asTenant(context.database, tenantId).ordinary, async (client) => {
      if (await archiveWorkflow(client, tenantId, id, readAnchorAt(context))) {
        await recordChanges(client, [{ targetId: id, tenantId, origin }]);
      }
      return readWorkflow(client, tenantId, id);
    });
    if (!workflow) throw createWorkflowNotFound();
    return sendAnswer(reply, {
      status: 200,
      headers: { etag: formatETag(workflow.version) },
      body: renderWorkflow(workflow),
    });
  });
}
