import { ExtendedLease, HeartbeatRequest, IdParams } from '@punctual/contracts';
import { asTenant, extendLeases } from '@punctual/database';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { createLeaseLost, readLease } from '../../pull/task-ends.ts';

/** `POST /v1/tasks/{id}/heartbeat`: the lease lasts longer, or 409 when it was lost. */
export function registerExtendLease(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/tasks/:id/heartbeat',
    {
      schema: {
        tags: ['pull workers'],
        summary: 'Keep a leased task',
        description: 'The token stays the same.',
        params: IdParams,
        body: HeartbeatRequest,
        response: { 200: ExtendedLease, ...refuse({ 409: ['lease_lost'] }) },
      },
    },
    async (request, reply) => {
      const { tenantId, body } = request;
      const { id } = request.params;
      const answer = await runIdempotently(context, request, async (client) => {
        const { version } = readLease(context, tenantId, id, body.leaseToken);
        const database = client ?? asTenant(context.database, tenantId).hot;
        const [lease] = await extendLeases(database, tenantId, [{ id, version, leaseMs: body.leaseSeconds * 1000 }]);
        if (!lease) throw createLeaseLost();
        context.pullSightings.see(tenantId, lease.queue, lease.workerId);
        return { status: 200, body: { id, leaseEndsAt: new Date(lease.ends_at).toISOString() } };
      });
      return sendAnswer(reply, answer);
    },
  );
}
