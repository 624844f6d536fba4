import { IdParams } from '@punctual/contracts';
import { Type } from 'typebox';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { eraseRun } from '../../runs/erase-run.ts';

const schema = {
  tags: ['runs'],
  summary: 'Erase a run that has ended, and all that it left',
  description:
    'Its input, labels and external id, its timers and their attempts, dead letters, outputs, and what keyed requests about it were answered. It can not be undone. 409 while it is under way, or an attempt of it is: cancel it first.',
  params: IdParams,
  response: { 204: Type.Null(), ...refuse({ 404: ['run_not_found'], 409: ['run_not_finished'] }) },
};

export function registerEraseRun(app: ApiServer, context: ApiContext): void {
  app.delete('/v1/runs/:id', { schema }, async (request, reply) => {
    const { tenantId, params } = request;
    const origin = describeOrigin(request, 'run.erase');
    const answer = await runIdempotently(context, request, async (client) => {
      await eraseRun(context, client, tenantId, params.id, origin);
      return { status: 204 };
    });
    return sendAnswer(reply, answer);
  });
}
