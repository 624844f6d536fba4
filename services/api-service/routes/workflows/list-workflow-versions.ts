import { IdParams, listOf, PAGE_ITEMS_DEFAULT, Page, WorkflowVersion } from '@punctual/contracts';
import { asTenant, listWorkflowVersions, readWorkflow } from '@punctual/database';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { decodeCursor, encodeCursor } from '../../cursor.ts';
import { refuse } from '../../openapi/refusals.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { createInvalidRequest } from '../../plugins/problems.ts';
import { renderWorkflowVersion } from '../../workflows/render-workflow.ts';
import { createWorkflowNotFound } from '../../workflows/workflow-problems.ts';

const schema = {
  tags: ['workflows'],
  summary: 'List the versions of a workflow',
  description: 'From the first on. A page ends early when its tasks exceed 4 MiB.',
  params: IdParams,
  querystring: Type.Object(Page, { additionalProperties: false }),
  response: { 200: listOf(WorkflowVersion), ...refuse({ 404: ['workflow_not_found'] }) },
};

export function registerListWorkflowVersions(app: ApiServer, context: ApiContext): void {
  app.get('/v1/workflows/:id/versions', { schema }, async (request, reply) => {
    const { ordinary } = asTenant(context.database, request.tenantId);
    const workflow = await readWorkflow(ordinary, request.tenantId, request.params.id);
    if (!workflow) throw createWorkflowNotFound();
    const { rows, hasMore } = await listWorkflowVersions(ordinary, {
      workflowId: workflow.id,
      after: readVersionCursor(request.query.cursor, workflow.id),
      limit: request.query.limit ?? PAGE_ITEMS_DEFAULT,
    });
    const last = rows.at(-1);
    // The order is that of the numbers: such a cursor holds the number in place of an instant, and the workflow's id.
    const nextCursor = hasMore && last ? encodeCursor({ at: last.version, id: workflow.id }) : null;
    return sendAnswer(reply, { status: 200, body: { data: rows.map(renderWorkflowVersion), nextCursor } });
  });
}

function readVersionCursor(text: string | undefined, workflowId: string): number {
  const cursor = decodeCursor(text);
  if (cursor === undefined) return 0;
  if (cursor.id !== workflowId || cursor.at < 0 || cursor.at > VERSION_MAX) {
    throw createInvalidRequest([{ pointer: '/query/cursor', detail: 'It is the cursor of another list.' }]);
  }
  return cursor.at;
}

/** The column is a 32-bit integer. */
const VERSION_MAX = 2_147_483_647;
