import { CreatedTenant, TenantRequest } from '@punctual/contracts';
import { addSigningSecret, createTenant, recordChanges, type Transaction } from '@punctual/database';
import { createId } from '@punctual/domain';
import { describeOrigin } from '../../access/caller.ts';
import { chooseSigningSecret } from '../../access/secrets.ts';
import { createKeyMissing } from '../../access/tenant-problems.ts';
import type { ApiServer } from '../../api-server.ts';
import { type ApiContext, readAnchorAt } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { withTransaction } from '../../transaction.ts';
import { renderTenant } from './render-tenant.ts';

const schema = {
  tags: ['tenants'],
  summary: 'Create a tenant',
  description:
    'The signing secret is in this answer and nowhere else; a repeat with the same `Idempotency-Key` leaves it out.',
  body: TenantRequest,
  response: { 201: CreatedTenant, ...refuse({ 409: ['encryption_key_missing'] }) },
};

export function registerCreateTenant(app: ApiServer, context: ApiContext): void {
  const { hot, ordinary } = context.database;
  app.post('/v1/tenants', { schema, config: { scope: 'operator' } }, async (request, reply) => {
    const { name, signingSecret: wanted } = request.body;
    const { requestsPerSecondMax = null, liveTimersMax = null, retentionDays = null } = request.body;
    const signingSecret = wanted === undefined ? undefined : chooseSigningSecret(wanted);
    const { keyring } = context;
    if (signingSecret !== undefined && keyring.primaryKeyId === undefined) throw createKeyMissing();
    const origin = describeOrigin(request, 'tenant.create', { isSigned: signingSecret !== undefined });
    let shown: CreatedTenant | undefined;
    const store = async (client?: Transaction) => {
      const limits = { requestsPerSecondMax, liveTimersMax, retentionDays };
      const tenant = { id: createId(), name, createdAt: readAnchorAt(context), ...limits };
      await withTransaction(ordinary, client, async (transaction) => {
        await createTenant(transaction, tenant);
        if (signingSecret !== undefined) {
          const { id: tenantId, createdAt } = tenant;
          await addSigningSecret(transaction, keyring, { id: createId(), tenantId, secret: signingSecret, createdAt });
        }
        // Tenants are things of the installation, and so of the operators' own tenant.
        await recordChanges(transaction, [{ targetId: tenant.id, tenantId: request.tenantId, origin }]);
      });
      const body = renderTenant({
        id: tenant.id,
        name: tenant.name,
        created_at: tenant.createdAt,
        is_signed: signingSecret !== undefined,
        requests_per_second_max: requestsPerSecondMax,
        live_timers_max: liveTimersMax,
        retention_days: retentionDays,
      });
      shown = { ...body, ...(signingSecret !== undefined && { signingSecret }) };
      // What is stored for repeats must not hold the secret.
      return { status: 201, body };
    };
    const answer = await runIdempotently(context, request, store, { pool: hot });
    return sendAnswer(reply, shown ? { ...answer, body: shown } : answer);
  });
}
