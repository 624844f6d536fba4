import { IdParams, Tenant, TenantChange } from '@punctual/contracts';
import { changeTenant, recordChanges, type Transaction } from '@punctual/database';
import { describeOrigin } from '../../access/caller.ts';
import { createTenantNotFound } from '../../access/tenant-problems.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { withTransaction } from '../../transaction.ts';
import { renderTenant } from './render-tenant.ts';

const schema = {
  tags: ['tenants'],
  summary: 'Rename a tenant, or change its limits',
  description: 'What is left out stays. Limits hold in every api process within 5 seconds.',
  params: IdParams,
  body: TenantChange,
  response: { 200: Tenant, ...refuse({ 404: ['tenant_not_found'] }) },
};

export function registerChangeTenant(app: ApiServer, context: ApiContext): void {
  app.patch('/v1/tenants/:id', { schema, config: { scope: 'operator' } }, async (request, reply) => {
    const { id } = request.params;
    const origin = describeOrigin(request, 'tenant.change', request.body);
    const { hot, ordinary } = context.database;
    const change = async (client?: Transaction) => {
      const tenant = await withTransaction(ordinary, client, async (transaction) => {
        const changed = await changeTenant(transaction, id, request.body);
        if (!changed) throw createTenantNotFound();
        // Tenants are things of the installation, and so of the operators' own tenant.
        await recordChanges(transaction, [{ targetId: id, tenantId: request.tenantId, origin }]);
        return changed;
      });
      return { status: 200, body: renderTenant(tenant) };
    };
    return sendAnswer(reply, await runIdempotently(context, request, change, { pool: hot }));
  });
}
