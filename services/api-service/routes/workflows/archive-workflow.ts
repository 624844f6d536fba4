import { IdParams, Problem, Workflow } from '@punctual/contracts';
import { archiveWorkflow, readWorkflow } from '@punctual/database';
import type { ApiServer } from '../../api-server.ts';
import { type ApiContext, readAnchorAt } from '../../context.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { formatETag } from '../../workflows/etag.ts';
import { renderWorkflow } from '../../workflows/render-workflow.ts';
import { createWorkflowNotFound } from '../../workflows/workflow-problems.ts';

const schema = {
  tags: ['workflows'],
  summary: 'Archive a workflow',
  description: 'It begins no more runs; those under way go on. Archived workflows stay readable.',
  params: IdParams,
  response: { 200: Workflow, default: Problem },
};

export function registerArchiveWorkflow(app: ApiServer, context: ApiContext): void {
  app.delete('/v1/workflows/:id', { schema }, async (request, reply) => {
    const { ordinary } = context.database;
    const { id } = request.params;
    const isArchived = await archiveWorkflow(ordinary, request.tenantId, id, readAnchorAt(context));
    const workflow = isArchived ? await readWorkflow(ordinary, request.tenantId, id) : undefined;
    if (!workflow) throw createWorkflowNotFound();
    return sendAnswer(reply, {
      status: 200,
      headers: { etag: formatETag(workflow.version) },
      body: renderWorkflow(workflow),
    });
  });
}
