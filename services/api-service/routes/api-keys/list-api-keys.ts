import { ApiKey, Id, listOf, Page } from '@punctual/contracts';
import { asTenant, listApiKeys } from '@punctual/database';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { readCreatedPage, renderCreatedPage } from '../../created-list.ts';
import { isOperator } from '../../plugins/auth.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { renderApiKey } from './render-api-key.ts';

const schema = {
  tags: ['api-keys'],
  summary: 'List API keys',
  description:
    'Of `tenantId`, or of all tenants; to an admin of another than the default tenant, of its own. Revoked ones included.',
  querystring: Type.Object({ ...Page, tenantId: Type.Optional(Id) }, { additionalProperties: false }),
  response: { 200: listOf(ApiKey) },
};

export function registerListApiKeys(app: ApiServer, context: ApiContext): void {
  app.get('/v1/api-keys', { schema, config: { scope: 'admin' } }, async (request, reply) => {
    const { query } = request;
    const isOperators = isOperator(request);
    const tenantId = isOperators ? query.tenantId : request.tenantId;
    const { ordinary } = isOperators ? context.database : asTenant(context.database, request.tenantId);
    const page = await listApiKeys(ordinary, { ...readCreatedPage(query), tenantId });
    return sendAnswer(reply, { status: 200, body: renderCreatedPage(page, renderApiKey) });
  });
}
