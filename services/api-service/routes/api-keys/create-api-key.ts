import { ApiKeyRequest, CreatedApiKey } from '@punctual/contracts';
import { createApiKey, recordChanges, type Transaction } from '@punctual/database';
import { createId } from '@punctual/domain';
import { describeOrigin } from '../../access/caller.ts';
import { chooseDatabase } from '../../access/choose-database.ts';
import { createApiKeyText } from '../../access/secrets.ts';
import { createTenantNotFound } from '../../access/tenant-problems.ts';
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
  summary: 'Create an API key',
  description: 'The key is in this answer and nowhere else; a repeat with the same `Idempotency-Key` leaves it out.',
  body: ApiKeyRequest,
  response: { 201: CreatedApiKey, ...refuse({ 403: ['operator_only'], 404: ['tenant_not_found'] }) },
};

export function registerCreateApiKey(app: ApiServer, context: ApiContext): void {
  app.post('/v1/api-keys', { schema, config: { scope: 'admin' } }, async (request, reply) => {
    const { name, scope, tenantId = request.tenantId } = request.body;
    if (tenantId !== request.tenantId && !isOperator(request)) {
      throw new ProblemError(403, 'operator_only', 'Keys of another tenant need an admin key of the default tenant.');
    }
    let shown: CreatedApiKey | undefined;
    const { hot, ordinary } = chooseDatabase(context.database, request, tenantId);
    const store = async (client?: Transaction) => {
      const { key, prefix, keyHash } = createApiKeyText();
      const stored = { id: createId(), tenantId, name, scope, prefix, createdAt: readAnchorAt(context) };
      const origin = describeOrigin(request, 'api-key.create', { scope, prefix });
      await withTransaction(ordinary, client, async (transaction) => {
        const isStored = await createApiKey(transaction, { ...stored, keyHash });
        if (!isStored) throw createTenantNotFound();
        await recordChanges(transaction, [{ targetId: stored.id, tenantId, origin }]);
      });
      const body = renderApiKey({
        ...stored,
        tenant_id: tenantId,
        created_at: stored.createdAt,
        revoked_at: null,
      });
      shown = { ...body, key };
      // What is stored for repeats must not hold the key.
      return { status: 201, body };
    };
    const answer = await runIdempotently(context, request, store, { pool: hot });
    return sendAnswer(reply, shown ? { ...answer, body: shown } : answer);
  });
}
