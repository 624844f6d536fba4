import { IdParams, listOf, Page, SigningSecret } from '@punctual/contracts';
import { asTenant, hasTenant, listSigningSecrets } from '@punctual/database';
import { Type } from 'typebox';
import { createTenantNotFound } from '../../access/tenant-problems.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { readCreatedPage, renderCreatedPage } from '../../created-list.ts';
import { refuse } from '../../openapi/refusals.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { chooseTenant } from './choose-tenant.ts';
import { renderSigningSecret } from './render-signing-secret.ts';

const schema = {
  tags: ['tenants'],
  summary: 'List the signing secrets of a tenant',
  description: 'Those that sign at present, oldest first, without the secrets.',
  params: IdParams,
  querystring: Type.Object(Page, { additionalProperties: false }),
  response: { 200: listOf(SigningSecret), ...refuse({ 404: ['tenant_not_found'] }) },
};

export function registerListSigningSecrets(app: ApiServer, context: ApiContext): void {
  app.get('/v1/tenants/:id/signing-secrets', { schema, config: { scope: 'admin' } }, async (request, reply) => {
    const tenantId = chooseTenant(request, request.params.id);
    const { ordinary } = asTenant(context.database, tenantId);
    if (!(await hasTenant(ordinary, tenantId))) throw createTenantNotFound();
    const page = await listSigningSecrets(ordinary, { ...readCreatedPage(request.query), tenantId });
    return sendAnswer(reply, { status: 200, body: renderCreatedPage(page, renderSigningSecret) });
  });
}
