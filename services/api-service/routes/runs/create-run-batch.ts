import { RunBatchAnswer, RunBatchItem, RunBatchRequest } from '@punctual/contracts';
import { asTenant, type ChangeOrigin, type RunOrder } from '@punctual/database';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { createInvalidRequest, renderProblem } from '../../plugins/problems.ts';
import { countItemsOf } from '../../plugins/request-limits.ts';
import { compileCheck } from '../../plugins/validation.ts';
import type { ProblemError } from '../../problem.ts';
import { beginRuns, checkRunBatch } from '../../runs/create-runs.ts';
import { prepareRunOrder } from '../../runs/run-order.ts';
import { withTransaction } from '../../transaction.ts';

const schema = {
  tags: ['runs'],
  summary: 'Begin up to 1,000 runs of one workflow',
  description: 'Answers in the order of `runs`: each was begun (201), was there already (200), or was refused.',
  body: RunBatchRequest,
  response: { 207: RunBatchAnswer, ...refuse({ 404: ['workflow_not_found'], 429: ['quota_exceeded'] }) },
};

const checkItem = compileCheck(RunBatchItem);

export function registerCreateRunBatch(app: ApiServer, context: ApiContext): void {
  const bodyLimit = context.config.API_BATCH_BODY_BYTES_MAX;
  app.post(
    '/v1/runs/batch',
    { schema, bodyLimit, config: { countItems: countItemsOf('runs') } },
    async (request, reply) => {
      const { workflowId, runs } = request.body;
      const { tenantId } = request;
      const { ordinary } = asTenant(context.database, tenantId);
      const origin = describeOrigin(request, 'runs.batch.create', { workflowId });
      const items = runs.map((item) => prepareItem(tenantId, workflowId, item, origin));
      const orders = items.filter((item): item is RunOrder => !(item instanceof Error));
      const answer = await runIdempotently(context, request, async (client) => {
        const begun = await withTransaction(ordinary, client, async (transaction) => {
          await checkRunBatch(context, transaction, orders);
          return beginRuns(context, transaction, orders);
        });
        const answers = begun.values();
        const results = items.map((item) => {
          if (item instanceof Error) return renderRefusal(item, request.id);
          const result = answers.next().value!;
          if (result.kind === 'refused') return renderRefusal(result.problem, request.id);
          return { status: result.kind === 'created' ? 201 : 200, run: result.run };
        });
        return { status: 207, body: { results } };
      });
      return sendAnswer(reply, answer);
    },
  );
}

function prepareItem(
  tenantId: string,
  workflowId: string,
  item: unknown,
  origin: ChangeOrigin,
): RunOrder | ProblemError {
  const fault = checkItem(item);
  if (fault) return createInvalidRequest([fault]);
  const prepared = prepareRunOrder(tenantId, workflowId, item as RunBatchItem, origin);
  return 'fault' in prepared ? createInvalidRequest([prepared.fault]) : prepared.order;
}

function renderRefusal(problem: ProblemError, requestId: string) {
  return { status: problem.status, error: renderProblem(problem, requestId) };
}
