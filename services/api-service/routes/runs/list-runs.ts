import { Id, Instant, listOf, Page, RUN_STATUSES, RunSummary, WITH_LABELS } from '@punctual/contracts';
import { asTenant, listRuns } from '@punctual/database';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import {
  readCreatedPage,
  readLabels,
  readQueryInstant,
  readStatuses,
  renderCreatedPage,
  StatusQuery,
} from '../../created-list.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { renderRunSummary } from '../../runs/render-run.ts';

const schema = {
  tags: ['runs'],
  summary: 'List runs',
  description: 'In the order (createdAt, id), without their tasks. `createdAfter` is included, `createdBefore` is not.',
  querystring: Type.Object(
    {
      ...Page,
      workflowId: Type.Optional(Id),
      status: StatusQuery,
      createdAfter: Type.Optional(Instant),
      createdBefore: Type.Optional(Instant),
    },
    WITH_LABELS,
  ),
  response: { 200: listOf(RunSummary) },
};

export function registerListRuns(app: ApiServer, context: ApiContext): void {
  app.get('/v1/runs', { schema }, async (request, reply) => {
    const { query } = request;
    const filter = {
      tenantId: request.tenantId,
      workflowId: query.workflowId,
      status: readStatuses(query.status, RUN_STATUSES),
      labels: readLabels(query),
      createdAfter: readQueryInstant('createdAfter', query.createdAfter),
      createdBefore: readQueryInstant('createdBefore', query.createdBefore),
    };
    const { ordinary } = asTenant(context.database, request.tenantId);
    const page = await listRuns(ordinary, filter, readCreatedPage(query));
    return sendAnswer(reply, { status: 200, body: renderCreatedPage(page, renderRunSummary) });
  });
}
