import { BulkOperation, IdParams, NoBody, ResumeRequest, Workflow, WorkflowWithOperation } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import { TOO_MANY_OPERATIONS } from '../../bulk-operations/begin-bulk-operation.ts';
import { renderBulkOperation } from '../../bulk-operations/render-bulk-operation.ts';
import type { ApiContext } from '../../context.ts';
import { readManner } from '../../gates/resume-manner.ts';
import { waitUntilHeeded } from '../../gates/wait-until-heeded.ts';
import { refuse, withHeaders } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { formatETag } from '../../workflows/etag.ts';
import { cancelWorkflow, pauseWorkflow, resumeWorkflow } from '../../workflows/pause-workflow.ts';
import { renderWorkflow } from '../../workflows/render-workflow.ts';

/** `POST /v1/workflows/{id}/pause`, `…/resume` and `…/cancel`: each at once, however many timers there are. */
export function registerPauseWorkflow(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/workflows/:id/pause',
    {
      schema: {
        tags: ['workflows'],
        summary: 'Pause a workflow',
        description: 'It begins no runs, and after the answer none of its tasks starts. Attempts under way finish.',
        params: IdParams,
        body: NoBody,
        response: {
          200: withHeaders(Workflow, 'etag'),
          ...refuse({ 404: ['workflow_not_found'], 409: ['workflow_archived', 'workflow_resuming', 'too_many_gates'] }),
        },
      },
    },
    async (request, reply) => {
      const { tenantId, params } = request;
      const origin = describeOrigin(request, 'workflow.pause');
      const answer = await runIdempotently(context, request, async (client) => {
        const workflow = await pauseWorkflow(context, client, { tenantId, id: params.id, origin });
        return { status: 200, headers: { etag: formatETag(workflow.version) }, body: renderWorkflow(workflow) };
      });
      await waitUntilHeeded(context);
      return sendAnswer(reply, answer);
    },
  );
  app.post(
    '/v1/workflows/:id/resume',
    {
      schema: {
        tags: ['workflows'],
        summary: 'Resume a workflow',
        description:
          'With `dueTimes: "shift"` it stays paused until all that waits has been moved; the bulk operation tells.',
        params: IdParams,
        body: ResumeRequest,
        response: {
          200: withHeaders(WorkflowWithOperation, 'etag'),
          ...refuse({ 404: ['workflow_not_found'], ...TOO_MANY_OPERATIONS }),
        },
      },
    },
    async (request, reply) => {
      const { tenantId, params, body } = request;
      const manner = readManner(body);
      const origin = describeOrigin(request, 'workflow.resume', { dueTimes: manner.dueTimes });
      const answer = await runIdempotently(context, request, async (client) => {
        const { workflow, bulkOperationId } = await resumeWorkflow(
          context,
          client,
          { tenantId, id: params.id, origin },
          manner,
        );
        return {
          status: 200,
          headers: { etag: formatETag(workflow.version) },
          body: { ...renderWorkflow(workflow), ...(bulkOperationId !== undefined && { bulkOperationId }) },
        };
      });
      return sendAnswer(reply, answer);
    },
  );
  app.post(
    '/v1/workflows/:id/cancel',
    {
      schema: {
        tags: ['workflows'],
        summary: 'Cancel all runs of a workflow',
        description:
          'After the answer nothing starts of a run that was created before; the runs end as `cancelled` one after the other. The same as a bulk operation that cancels by a filter of `workflowId` alone.',
        params: IdParams,
        body: NoBody,
        response: {
          202: withHeaders(BulkOperation, 'location'),
          ...refuse({ 404: ['workflow_not_found'], ...TOO_MANY_OPERATIONS }),
        },
      },
    },
    async (request, reply) => {
      const { tenantId, params } = request;
      const origin = describeOrigin(request, 'workflow.cancel');
      const answer = await runIdempotently(context, request, async (client) => {
        const target = { tenantId, id: params.id, origin };
        const operation = await cancelWorkflow(context, client, target, { action: 'cancel' }, null);
        return {
          status: 202,
          headers: { location: `/v1/bulk-operations/${operation.id}` },
          body: renderBulkOperation(operation),
        };
      });
      await waitUntilHeeded(context);
      return sendAnswer(reply, answer);
    },
  );
}
