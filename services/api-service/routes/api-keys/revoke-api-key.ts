import { ApiKey, IdParams } from '@punctual/contracts';
import { asTenant, recordChanges, revokeApiKey, type Transaction } from '@punctual/database';
import { describeOrigin } from '../../access/caller.ts';
import type { ApiServer } from '../../api-server.ts';
import { type ApiContext, readAnchorAt } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { isOperator } from '../../plugins/auth.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { ProblemError } from '../../problem.ts';
import { withTransaction } from '../../transaction.ts';
import { renderApiKey } from './render-api-key.ts';

const schema = {
  tags: ['api-keys'],
  summary: 'Revoke an API key',
  description: 'Every api process refuses it within 5 seconds. A repeat answers the same.',
  params: IdParams,
  response: { 200: ApiKey, ...refuse({ 404: ['api_key_not_found'] }) },
};

export function registerRevokeApiKey(app: ApiServer, context: ApiContext): void {
  app.delete('/v1/api-keys/:id', { schema, config: { scope: 'admin' } }, async (request, reply) => {
    const isOperators = isOperator(request);
    const tenantId = isOperators ? undefined : request.tenantId;
    const { hot, ordinary } = isOperators ? context.database : asTenant(context.database, request.tenantId);
    const { id } = request.params;
    const origin = describeOrigin(request, 'api-key.revoke');
    const revoke = async (client?: Transaction) => {
      const revoked = await withTransaction(ordinary, client, async (transaction) => {
        const found = await revokeApiKey(transaction, id, readAnchorAt(context), tenantId);
        if (found?.isFirst) await recordChanges(transaction, [{ targetId: id, tenantId: found.key.tenant_id, origin }]);
        return found;
      });
      if (!revoked) throw new ProblemError(404, 'api_key_not_found', 'There is no such API key.');
      return { status: 200, body: renderApiKey(revoked.key) };
    };
    return sendAnswer(reply, await runIdempotently(context, request, revoke, { pool: hot }));
  });
}
