import {
  Limit,
  type LimitQuery,
  LimitQuery as LimitQuerySchema,
  LimitRequest,
  listOf,
  PAGE_ITEMS_DEFAULT,
  Page,
} from '@punctual/contracts';
import {
  asTenant,
  type ChangeOrigin,
  countOtherLimits,
  dropLimit,
  type LaneLimit,
  LIMITS_PER_TENANT_MAX,
  listLimits,
  nameLimitLane,
  recordChanges,
  setLimit,
  type Transaction,
} from '@punctual/database';
import { isId } from '@punctual/domain';
import { Type } from 'typebox';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { createInvalidRequest } from '../../plugins/problems.ts';
import { ProblemError } from '../../problem.ts';
import { withTransaction } from '../../transaction.ts';
import { readOrigin } from '../gates/pause-gates.ts';
import { decodeLimitCursor, encodeLimitCursor } from './limit-cursor.ts';

type Subject = Pick<LaneLimit, 'tenantId' | 'kind' | 'name'>;

/** `PUT`, `DELETE` and `GET /v1/limits`. */
export function registerLimitRoutes(app: ApiServer, context: ApiContext): void {
  app.put(
    '/v1/limits',
    {
      schema: {
        tags: ['limits'],
        summary: 'Bound what runs at once, or begins in a second',
        description: 'For all timers of a workflow, queue or origin, or of the tenant, that begin from now on.',
        body: LimitRequest,
        response: { 200: Limit, ...refuse({ 409: ['too_many_limits'] }) },
      },
    },
    async (request, reply) => {
      const { limit, ratePerSecond } = request.body;
      if (limit === undefined && ratePerSecond === undefined) {
        throw createInvalidRequest([{ pointer: '', detail: 'At least one of limit and ratePerSecond must be there.' }]);
      }
      const subject = readSubject(request.tenantId, request.body, '');
      const origin = describeOrigin(request, 'limit.set', describeSubject(subject));
      const rule = { limit: limit ?? null, ratePerSecond: ratePerSecond ?? null };
      const answer = await runIdempotently(context, request, async (client) => ({
        status: 200,
        body: renderLimit(await storeLimit(context, client, { ...subject, ...rule }, origin)),
      }));
      return sendAnswer(reply, answer);
    },
  );
  app.delete(
    '/v1/limits',
    {
      schema: {
        tags: ['limits'],
        summary: 'Remove a limit',
        description: 'Who waits for it goes on. Also answered so when there is none.',
        querystring: LimitQuerySchema,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const subject = readSubject(request.tenantId, request.query, '/query');
      const origin = describeOrigin(request, 'limit.remove', describeSubject(subject));
      const answer = await runIdempotently(context, request, async (client) => {
        await removeLimit(context, client, subject, origin);
        return { status: 204 };
      });
      return sendAnswer(reply, answer);
    },
  );
  app.get(
    '/v1/limits',
    {
      schema: {
        tags: ['limits'],
        summary: 'List limits',
        description: 'In the order (kind, name).',
        querystring: Type.Object(Page, { additionalProperties: false }),
        response: { 200: listOf(Limit) },
      },
    },
    async ({ tenantId, query }) => {
      const most = query.limit ?? PAGE_ITEMS_DEFAULT;
      const { ordinary } = asTenant(context.database, tenantId);
      const limits = await listLimits(ordinary, tenantId, decodeLimitCursor(query.cursor), most + 1);
      const page = limits.slice(0, most);
      const last = page.at(-1);
      return {
        data: page.map(renderLimit),
        nextCursor: limits.length > most && last ? encodeLimitCursor(nameLimitLane(last)) : null,
      };
    },
  );
}

function storeLimit(
  { database }: ApiContext,
  client: Transaction | undefined,
  limit: LaneLimit,
  origin: ChangeOrigin,
): Promise<LaneLimit> {
  const { tenantId } = limit;
  return withTransaction(asTenant(database, tenantId).hot, client, async (transaction) => {
    if ((await countOtherLimits(transaction, limit)) >= LIMITS_PER_TENANT_MAX) {
      throw new ProblemError(409, 'too_many_limits', 'So many limits are set that no more can be.');
    }
    const stored = await setLimit(transaction, limit);
    await recordChanges(transaction, [{ targetId: tenantId, tenantId, origin }]);
    return stored;
  });
}

function removeLimit(
  { database }: ApiContext,
  client: Transaction | undefined,
  subject: Subject,
  origin: ChangeOrigin,
): Promise<void> {
  const { tenantId } = subject;
  return withTransaction(asTenant(database, tenantId).hot, client, async (transaction) => {
    if (await dropLimit(transaction, subject))
      await recordChanges(transaction, [{ targetId: tenantId, tenantId, origin }]);
  });
}

/** What a limit is for, as lanes name it. Throws a 400. */
function readSubject(tenantId: string, { kind, name }: LimitQuery, at: string): Subject {
  const refuseName = (detail: string) => createInvalidRequest([{ pointer: `${at}/name`, detail }]);
  if (kind === 'tenant') {
    if (name !== undefined) throw refuseName('The limit of the tenant has no name.');
    return { tenantId, kind, name: '' };
  }
  if (name === undefined) throw refuseName('It says which workflow, queue or origin is meant.');
  if (kind === 'origin') return { tenantId, kind, name: readOrigin(name, `${at}/name`) };
  if (kind === 'workflow' && !isId(name)) throw refuseName('It must be the id of a workflow.');
  return { tenantId, kind, name: kind === 'workflow' ? name.toLowerCase() : name };
}

function describeSubject({ kind, name }: Subject) {
  return name === '' ? { kind } : { kind, name };
}

function renderLimit({ kind, name, limit, ratePerSecond }: LaneLimit): Limit {
  return {
    kind,
    ...(name !== '' && { name }),
    ...(limit !== null && { limit }),
    ...(ratePerSecond !== null && { ratePerSecond }),
  };
}
