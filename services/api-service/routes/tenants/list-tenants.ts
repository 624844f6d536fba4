import { listOf, Page, Tenant } from '@punctual/contracts';
import { listTenants } from '@punctual/database';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { readCreatedPage, renderCreatedPage } from '../../created-list.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { renderTenant } from './render-tenant.ts';

const schema = {
  tags: ['tenants'],
  summary: 'List tenants',
  querystring: Type.Object(Page, { additionalProperties: false }),
  response: { 200: listOf(Tenant) },
};

export function registerListTenants(app: ApiServer, context: ApiContext): void {
  app.get('/v1/tenants', { schema, config: { scope: 'operator' } }, async (request, reply) => {
    const page = await listTenants(context.database, readCreatedPage(request.query));
    return sendAnswer(reply, { status: 200, body: renderCreatedPage(page, renderTenant) });
  });
}
