import { listOf, Page, WITH_LABELS, WORKFLOW_STATUSES, Workflow } from '@punctual/contracts';
import { asTenant, listWorkflows } from '@punctual/database';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { readCreatedPage, readLabels, readStatuses, renderCreatedPage, StatusQuery } from '../../created-list.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { renderWorkflow } from '../../workflows/render-workflow.ts';

const schema = {
  tags: ['workflows'],
  summary: 'List workflows',
  description: 'In the order (createdAt, id). A page ends early when its tasks exceed 4 MiB.',
  querystring: Type.Object(
    {
      ...Page,
      status: StatusQuery,
    },
    WITH_LABELS,
  ),
  response: { 200: listOf(Workflow) },
};

export function registerListWorkflows(app: ApiServer, context: ApiContext): void {
  app.get('/v1/workflows', { schema }, async (request, reply) => {
    const { query, tenantId } = request;
    const page = await listWorkflows(asTenant(context.database, tenantId).ordinary, {
      ...readCreatedPage(query),
      tenantId,
      status: readStatuses(query.status, WORKFLOW_STATUSES),
      labels: readLabels(query),
    });
    return sendAnswer(reply, { status: 200, body: renderCreatedPage(page, renderWorkflow) });
  });
}
