import { DeadLetterParams } from '@punctual/contracts';
import { asTenant, dismissDeadLetter, readTimers, recordChanges } from '@punctual/database';
import { Type } from 'typebox';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { ProblemError } from '../../problem.ts';
import { createTimerNotFound } from '../../timers/read-timers.ts';
import { withTransaction } from '../../transaction.ts';

/** `DELETE /v1/dead-letters/{timerId}`: nobody needs it any more; it stays readable as a dead timer until retention. */
export function registerDismissDeadLetter(app: ApiServer, context: ApiContext): void {
  app.delete(
    '/v1/dead-letters/:timerId',
    {
      schema: {
        tags: ['dead letters'],
        summary: 'Take a dead letter off the list',
        params: DeadLetterParams,
        response: { 204: Type.Null(), ...refuse({ 404: ['not_found'], 409: ['not_a_dead_letter'] }) },
      },
    },
    async (request, reply) => {
      const { tenantId } = request;
      const { timerId: id } = request.params;
      const { hot, ordinary } = asTenant(context.database, tenantId);
      const origin = describeOrigin(request, 'dead-letter.dismiss');
      const answer = await runIdempotently(context, request, async (client) => {
        const isDismissed = await withTransaction(ordinary, client, async (transaction) => {
          if (!(await dismissDeadLetter(transaction, tenantId, id))) return false;
          await recordChanges(transaction, [{ targetId: id, tenantId, origin }]);
          return true;
        });
        if (!isDismissed) {
          const record = (await readTimers(client ?? hot, tenantId, [id])).get(id);
          if (!record) throw createTimerNotFound();
          // Repeated: it is where it was put the first time.
          if (record.state !== 'dead') throw new ProblemError(409, 'not_a_dead_letter', 'The timer is no dead letter.');
        }
        return { status: 204 };
      });
      return sendAnswer(reply, answer);
    },
  );
}
