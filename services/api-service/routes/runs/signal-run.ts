import { SignalAnswer, SignalParams, SignalRequest } from '@punctual/contracts';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { createInvalidRequest } from '../../plugins/problems.ts';
import { ProblemError } from '../../problem.ts';
import { signalRun } from '../../runs/signal-run.ts';
import { isTooLarge, PAYLOAD_TOO_LARGE } from '../../timers/action-faults.ts';

const schema = {
  tags: ['runs'],
  summary: 'Send a run a signal',
  description:
    'All tasks that wait for it at this instant begin; when none does, those that do so next. 409 when it comes too late.',
  params: SignalParams,
  body: SignalRequest,
  response: {
    200: SignalAnswer,
    ...refuse({
      404: ['run_not_found', 'signal_not_found'],
      409: ['run_finished', 'signal_too_late', 'too_many_signals'],
    }),
  },
};

export function registerSignalRun(app: ApiServer, context: ApiContext): void {
  const { signals } = context.metrics;
  app.post('/v1/runs/:id/signals/:name', { schema }, async (request, reply) => {
    const { tenantId, params, body } = request;
    const payload = JSON.stringify(body?.payload ?? null);
    if (isTooLarge(payload)) throw createInvalidRequest([{ pointer: '/payload', detail: PAYLOAD_TOO_LARGE }]);
    const origin = describeOrigin(request, 'run.signal', { name: params.name });
    const signal = { runId: params.id, name: params.name, payload };
    const answer = await runIdempotently(context, request, async (client) => {
      try {
        const result = await signalRun(context, client, tenantId, signal, origin);
        signals.inc({ outcome: result.outcome });
        return { status: 200, body: result };
      } catch (error) {
        if (error instanceof ProblemError && error.code === 'signal_too_late') signals.inc({ outcome: 'too_late' });
        throw error;
      }
    });
    return sendAnswer(reply, answer);
  });
}
