import { EndedTask, FailRequest, IdParams } from '@punctual/contracts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { ProblemError } from '../../problem.ts';
import { prepareFailure, writeEnds } from '../../pull/task-ends.ts';

/** `POST /v1/tasks/{id}/fail`: the attempt failed. 200 with what becomes of the task, or 409 when the lease was lost. */
export function registerFailTask(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/tasks/:id/fail',
    {
      schema: {
        tags: ['pull workers'],
        summary: 'End an attempt of a leased task that failed',
        description:
          'The task waits for its next attempt as its retry policy says, or becomes a dead letter when none is left or `retryable` is false.',
        params: IdParams,
        body: FailRequest,
        response: { 200: EndedTask, ...refuse({ 409: ['lease_lost'] }) },
      },
    },
    async (request, reply) => {
      const { tenantId, body } = request;
      const failure = {
        id: request.params.id,
        leaseToken: body.leaseToken,
        error: body.error,
        isRetryable: body.retryable ?? true,
      };
      const answer = await runIdempotently(context, request, async (client) => {
        const end = await prepareFailure(context, tenantId, failure, client);
        const result = client ? (await writeEnds(context, [end], client))[0]! : await context.taskEnds.write(end);
        if (result instanceof ProblemError) throw result;
        return { status: 200, body: result };
      });
      return sendAnswer(reply, answer);
    },
  );
}
