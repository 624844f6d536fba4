import { Run, RunRequest } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { createInvalidRequest } from '../../plugins/problems.ts';
import { ProblemError } from '../../problem.ts';
import { beginRuns } from '../../runs/create-runs.ts';
import { createKeyedRunBatcher, createRunBatcher, toAnswer } from '../../runs/run-batcher.ts';
import { prepareRunOrder } from '../../runs/run-order.ts';

const schema = {
  tags: ['runs'],
  summary: 'Begin a run of a workflow',
  description: 'In its present version. With an `externalId` that a run has already, answers 200 with that run.',
  body: RunRequest,
  response: {
    200: Run,
    201: Run,
    ...refuse({
      404: ['workflow_not_found'],
      409: ['workflow_paused', 'workflow_archived', 'external_id_taken'],
      429: ['quota_exceeded'],
    }),
  },
};

export function registerCreateRun(app: ApiServer, context: ApiContext): void {
  const batcher = createRunBatcher(context);
  const keyedBatcher = createKeyedRunBatcher(context);
  app.post('/v1/runs', { schema }, async (request, reply) => {
    const { workflowId, ...fields } = request.body;
    const prepared = prepareRunOrder(request.tenantId, workflowId, fields, describeOrigin(request, 'run.create'));
    if ('fault' in prepared) throw createInvalidRequest([prepared.fault]);
    const { order } = prepared;
    const answer = await runIdempotently(
      context,
      request,
      async (client) => {
        const [result] = client ? await beginRuns(context, client, [order]) : [await batcher.write(order)];
        const answered = toAnswer(result!);
        if (answered instanceof ProblemError) throw answered;
        return answered;
      },
      { together: (keyed) => keyedBatcher.write({ ...keyed, order }) },
    );
    return sendAnswer(reply, answer);
  });
}
