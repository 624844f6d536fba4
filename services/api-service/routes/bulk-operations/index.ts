import {
  BULK_STATUSES,
  BulkFailure,
  BulkOperation,
  BulkOperationRequest,
  IdParams,
  listOf,
  NoBody,
  PAGE_ITEMS_DEFAULT,
  Page,
} from '@punctual/contracts';
import { asTenant, listBulkFailures, listBulkOperations, readBulkOperation } from '@punctual/database';
import { Type } from 'typebox';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import { TOO_MANY_OPERATIONS } from '../../bulk-operations/begin-bulk-operation.ts';
import { mayCancelWorkflow, startBulkOperation } from '../../bulk-operations/create-bulk-operation.ts';
import { renderBulkOperation } from '../../bulk-operations/render-bulk-operation.ts';
import {
  type BulkVerb,
  createOperationNotFound,
  steerBulkOperation,
} from '../../bulk-operations/steer-bulk-operation.ts';
import type { ApiContext } from '../../context.ts';
import { readCreatedPage, readStatuses, renderCreatedPage, StatusQuery } from '../../created-list.ts';
import { decodeCursor, encodeCursor } from '../../cursor.ts';
import { waitUntilHeeded } from '../../gates/wait-until-heeded.ts';
import { refuse, withHeaders } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { countItemsOf } from '../../plugins/request-limits.ts';

const tags = ['bulk operations'];
const NOT_FOUND = { 404: ['bulk_operation_not_found'] };

/** Everything under `/v1/bulk-operations`. */
export function registerBulkOperationRoutes(app: ApiServer, context: ApiContext): void {
  registerCreate(app, context);
  registerRead(app, context);
  registerSteer(app, context);
}

function registerCreate(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/bulk-operations',
    {
      config: { countItems: countItemsOf('ids') },
      schema: {
        tags,
        summary: 'Change any number of timers',
        description:
          'Those that match when it begins, each by itself; with `dryRun` it only counts them. A cancel with a filter of `workflowId` alone cancels all runs of the workflow, at once.',
        body: BulkOperationRequest,
        response: { 202: withHeaders(BulkOperation, 'location'), ...refuse(TOO_MANY_OPERATIONS) },
      },
    },
    async (request, reply) => {
      const { tenantId, body } = request;
      const { action, dryRun = false } = body;
      const origin = describeOrigin(request, 'bulk-operation.create', { action, dryRun });
      const answer = await runIdempotently(context, request, async (client) => {
        const operation = await startBulkOperation(context, client, tenantId, body, origin);
        return {
          status: 202,
          headers: { location: `/v1/bulk-operations/${operation.id}` },
          body: renderBulkOperation(operation),
        };
      });
      // By the request, not by what was done: whoever repeats it with its key may never have got the first answer.
      if (mayCancelWorkflow(body)) await waitUntilHeeded(context);
      return sendAnswer(reply, answer);
    },
  );
}

function registerRead(app: ApiServer, context: ApiContext): void {
  app.get(
    '/v1/bulk-operations',
    {
      schema: {
        tags,
        summary: 'List bulk operations',
        querystring: Type.Object({ ...Page, status: StatusQuery }, { additionalProperties: false }),
        response: { 200: listOf(BulkOperation) },
      },
    },
    async (request) => {
      const { tenantId, query } = request;
      const filter = { tenantId, status: readStatuses(query.status, BULK_STATUSES) };
      const { ordinary } = asTenant(context.database, tenantId);
      return renderCreatedPage(await listBulkOperations(ordinary, filter, readCreatedPage(query)), renderBulkOperation);
    },
  );
  app.get(
    '/v1/bulk-operations/:id',
    {
      schema: {
        tags,
        summary: 'Read a bulk operation',
        params: IdParams,
        response: { 200: BulkOperation, ...refuse(NOT_FOUND) },
      },
    },
    async (request) => {
      const { tenantId, params } = request;
      const operation = await readBulkOperation(asTenant(context.database, tenantId).hot, params.id, tenantId);
      if (!operation) throw createOperationNotFound();
      return renderBulkOperation(operation);
    },
  );
  app.get(
    '/v1/bulk-operations/:id/failures',
    {
      schema: {
        tags,
        summary: 'List what a bulk operation could not change',
        description: 'In the order of the ids; 10,000 are kept.',
        params: IdParams,
        querystring: Type.Object(Page, { additionalProperties: false }),
        response: { 200: listOf(BulkFailure), ...refuse(NOT_FOUND) },
      },
    },
    async (request) => {
      const { tenantId, params, query } = request;
      const limit = query.limit ?? PAGE_ITEMS_DEFAULT;
      const after = decodeCursor(query.cursor)?.id;
      const { ordinary } = asTenant(context.database, tenantId);
      if (!(await readBulkOperation(ordinary, params.id, tenantId))) throw createOperationNotFound();
      const rows = await listBulkFailures(ordinary, params.id, { after, limit: limit + 1 });
      const page = rows.slice(0, limit);
      const last = page.at(-1);
      return {
        data: page.map(({ target_id: id, code, detail }) => ({ id, code, detail })),
        // The order is that of the ids: such a cursor holds no instant.
        nextCursor: rows.length > limit && last ? encodeCursor({ at: 0, id: last.target_id }) : null,
      };
    },
  );
}

function registerSteer(app: ApiServer, context: ApiContext): void {
  const refusals = { 409: ['bulk_operation_finished'] };
  const abortRefusals = { 409: ['bulk_operation_finished', 'bulk_operation_not_abortable'] };
  const summaries: Record<BulkVerb, string> = {
    pause: 'Pause a bulk operation',
    resume: 'Resume a bulk operation',
    abort: 'End a bulk operation before all is done',
  };
  for (const [verb, summary] of Object.entries(summaries) as [BulkVerb, string][]) {
    app.post(
      `/v1/bulk-operations/:id/${verb}`,
      {
        schema: {
          tags,
          summary,
          params: IdParams,
          body: NoBody,
          response: {
            200: BulkOperation,
            ...refuse({ ...NOT_FOUND, ...(verb === 'abort' ? abortRefusals : refusals) }),
          },
        },
      },
      async (request, reply) => {
        const { tenantId, params } = request;
        const origin = describeOrigin(request, `bulk-operation.${verb}`);
        const answer = await runIdempotently(context, request, async (client) => ({
          status: 200,
          body: renderBulkOperation(
            await steerBulkOperation(context, client, { tenantId, id: params.id, verb, origin }),
          ),
        }));
        return sendAnswer(reply, answer);
      },
    );
  }
}
