import { DrainRequest, IdParams, NoBody, Rebalance, SteeredInstance } from '@punctual/contracts';
import {
  type ChangeOrigin,
  type DrainableRole,
  endSurplusLeases,
  recordChanges,
  steerInstance,
  type Transaction,
} from '@punctual/database';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { type Answer, runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { ProblemError } from '../../problem.ts';
import { withTransaction } from '../../transaction.ts';

/** Processes are things of the installation, and so of the operators' own tenant. */
interface By {
  tenantId: string;
  origin: ChangeOrigin;
  client: Transaction | undefined;
}

const WHAT_IT_MEANS: Readonly<Record<DrainableRole, string>> = {
  worker: 'Within a second or two it takes no more timers; what it has in hand it does.',
  scheduler: 'Within a second or two it gives its partitions to the others.',
};

/** `POST /v1/{workers|schedulers}/{id}/{drain|resume}` and `POST /v1/schedulers/rebalance`. */
export function registerSteerInstances(app: ApiServer, context: ApiContext): void {
  registerSteering(app, context, 'worker');
  registerSteering(app, context, 'scheduler');
  app.post(
    '/v1/schedulers/rebalance',
    {
      schema: {
        tags: ['operators'],
        summary: 'Give partitions to the schedulers anew, where their shares are not equal',
        description:
          'Schedulers share by themselves within a few seconds. This ends at once the leases of those that are gone, and what any holds above its share; partitions that are where they belong stay there.',
        body: NoBody,
        response: { 200: Rebalance },
      },
      config: { scope: 'operator' },
    },
    async (request, reply) => {
      const origin = describeOrigin(request, 'schedulers.rebalance');
      const answer = await runIdempotently(
        context,
        request,
        (client) => rebalance(context, { tenantId: request.tenantId, origin, client }),
        { pool: context.database.hot },
      );
      return sendAnswer(reply, answer);
    },
  );
}

function registerSteering(app: ApiServer, context: ApiContext, role: DrainableRole): void {
  const pool = context.database.hot;
  const notFound = refuse({ 404: [`${role}_not_found`] });
  const config = { scope: 'operator' } as const;
  const schema = { tags: ['operators'], params: IdParams };
  const drained = { 200: SteeredInstance, ...notFound, ...refuse({ 409: [`last_${role}`] }) };
  const drainSchema = {
    ...schema,
    summary: `Drain a ${role}`,
    description: `${WHAT_IT_MEANS[role]} It stays so until it is resumed, or ends: the next process is another one.`,
    body: DrainRequest,
    response: drained,
  };
  app.post(`/v1/${role}s/:id/drain`, { schema: drainSchema, config }, async (request, reply) => {
    const { tenantId, params, body } = request;
    const origin = describeOrigin(request, `${role}.drain`);
    const wish = { role, id: params.id.toLowerCase(), isDraining: true, isForced: body?.force === true };
    const work = (client?: Transaction) => steer(context, wish, { tenantId, origin, client });
    return sendAnswer(reply, await runIdempotently(context, request, work, { pool }));
  });
  const resumeSchema = {
    ...schema,
    summary: `Let a ${role} that was drained work again`,
    body: NoBody,
    response: { 200: SteeredInstance, ...notFound },
  };
  app.post(`/v1/${role}s/:id/resume`, { schema: resumeSchema, config }, async (request, reply) => {
    const { tenantId, params } = request;
    const origin = describeOrigin(request, `${role}.resume`);
    const wish = { role, id: params.id.toLowerCase(), isDraining: false, isForced: false };
    const work = (client?: Transaction) => steer(context, wish, { tenantId, origin, client });
    return sendAnswer(reply, await runIdempotently(context, request, work, { pool }));
  });
}

async function steer(
  context: ApiContext,
  wish: { role: DrainableRole; id: string; isDraining: boolean; isForced: boolean },
  { tenantId, origin, client }: By,
): Promise<Answer> {
  const { role, id, isDraining } = wish;
  await withTransaction(context.database.ordinary, client, async (transaction) => {
    const outcome = await steerInstance(transaction, wish);
    if (outcome === 'unknown') throw new ProblemError(404, `${role}_not_found`, `No ${role} of this id is alive.`);
    if (outcome === 'last') {
      throw new ProblemError(
        409,
        `last_${role}`,
        `No other ${role} takes work, so nothing would be done any more. Start another first, or send "force": true.`,
      );
    }
    if (outcome === 'changed') await recordChanges(transaction, [{ targetId: id, tenantId, origin }]);
  });
  return { status: 200, body: { id, status: isDraining ? 'draining' : 'running' } };
}

async function rebalance(context: ApiContext, { tenantId, origin, client }: By): Promise<Answer> {
  return withTransaction(context.database.ordinary, client, async (transaction) => {
    const ended = await endSurplusLeases(transaction);
    const owners = [...new Set(ended.map(({ ownerId }) => ownerId))].toSorted();
    await recordChanges(
      transaction,
      owners.map((targetId) => ({ targetId, tenantId, origin })),
    );
    const releasedPartitions = ended.map(({ partition }) => partition).toSorted((a, b) => a - b);
    return { status: 200, body: { releasedPartitions, partitionCount: context.partitionCount } };
  });
}
