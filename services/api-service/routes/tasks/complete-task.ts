import {
  CompleteBatchItem,
  CompleteBatchRequest,
  CompleteRequest,
  EndedTask,
  EndedTaskBatch,
  IdParams,
  OUTPUT_BYTES_MAX,
} from '@punctual/contracts';
import type { Fault } from '@punctual/domain';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { createInvalidRequest, renderProblem } from '../../plugins/problems.ts';
import { countItemsOf } from '../../plugins/request-limits.ts';
import { compileCheck } from '../../plugins/validation.ts';
import { ProblemError } from '../../problem.ts';
import { type EndResult, prepareCompletion, type TaskEnd, writeEnds } from '../../pull/task-ends.ts';

/** `POST /v1/tasks/{id}/complete`: the task succeeded. 200, again when repeated, or 409 when the lease was lost. */
export function registerCompleteTask(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/tasks/:id/complete',
    {
      schema: {
        tags: ['pull workers'],
        summary: 'End a leased task that succeeded',
        description: 'A repeat with the same token is answered 200 again.',
        params: IdParams,
        body: CompleteRequest,
        response: { 200: EndedTask, ...refuse({ 409: ['lease_lost'] }) },
      },
    },
    async (request, reply) => {
      const { tenantId, body } = request;
      const { output, fault } = renderOutput(body.output);
      if (fault) throw createInvalidRequest([fault]);
      const answer = await runIdempotently(context, request, async (client) => {
        const end = prepareCompletion(context, tenantId, {
          id: request.params.id,
          leaseToken: body.leaseToken,
          output,
        });
        const result = client ? (await writeEnds(context, [end], client))[0]! : await context.taskEnds.write(end);
        if (result instanceof ProblemError) throw result;
        return { status: 200, body: result };
      });
      return sendAnswer(reply, answer);
    },
  );
}

const checkItem = compileCheck(CompleteBatchItem);

/** `POST /v1/tasks/batch/complete`: each by itself, 207. */
export function registerCompleteTasks(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/tasks/batch/complete',
    {
      bodyLimit: context.config.API_BATCH_BODY_BYTES_MAX,
      config: { countItems: countItemsOf('tasks') },
      schema: {
        tags: ['pull workers'],
        summary: 'End up to 1000 leased tasks that succeeded, each by itself',
        body: CompleteBatchRequest,
        response: { 207: EndedTaskBatch },
      },
    },
    async (request, reply) => {
      const { tenantId, body } = request;
      const answer = await runIdempotently(context, request, async (client) => {
        const prepared = body.tasks.map((item) => prepareItem(context, tenantId, item));
        const ends = prepared.flatMap((one) => (one instanceof ProblemError ? [] : [one]));
        const written = client
          ? await writeEnds(context, ends, client)
          : await Promise.all(ends.map((end) => context.taskEnds.write(end)));
        const results = new Map(ends.map((end, index) => [end, written[index]!]));
        const all = prepared.map((one) => (one instanceof ProblemError ? one : results.get(one)!));
        return { status: 207, body: { results: all.map((result) => renderResult(result, request.id)) } };
      });
      return sendAnswer(reply, answer);
    },
  );
}

function prepareItem(context: ApiContext, tenantId: string, item: unknown): TaskEnd | ProblemError {
  const fault = checkItem(item);
  if (fault) return createInvalidRequest([fault]);
  const { id, leaseToken, output: value } = item as CompleteBatchItem;
  const { output, fault: outputFault } = renderOutput(value);
  if (outputFault) return createInvalidRequest([outputFault]);
  try {
    return prepareCompletion(context, tenantId, { id, leaseToken, output });
  } catch (error) {
    if (error instanceof ProblemError) return error;
    throw error;
  }
}

function renderResult(result: EndResult, requestId: string) {
  return result instanceof ProblemError
    ? { status: result.status, error: renderProblem(result, requestId) }
    : { status: 200, task: result };
}

/** The output as JSON text, or what is wrong with it. */
function renderOutput(value: unknown): { output: string | undefined; fault?: Fault } {
  if (value === undefined) return { output: undefined };
  const output = JSON.stringify(value);
  if (Buffer.byteLength(output) <= OUTPUT_BYTES_MAX) return { output };
  const detail = `It must not be larger than ${OUTPUT_BYTES_MAX} bytes as JSON.`;
  return { output, fault: { pointer: '/output', detail } };
}
