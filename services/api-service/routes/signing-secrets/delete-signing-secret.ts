import { SigningSecretParams } from '@punctual/contracts';
import { deleteSigningSecret, recordChanges, type Transaction } from '@punctual/database';
import { Type } from 'typebox';
import { describeOrigin } from '../../access/caller.ts';
import { chooseDatabase } from '../../access/choose-database.ts';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { ProblemError } from '../../problem.ts';
import { withTransaction } from '../../transaction.ts';
import { chooseTenant } from './choose-tenant.ts';

const schema = {
  tags: ['tenants'],
  summary: 'Delete a signing secret',
  description:
    'Every worker stops signing with it within 5 seconds. After the last one, requests of the tenant are not signed any more.',
  params: SigningSecretParams,
  response: { 204: Type.Null(), ...refuse({ 404: ['tenant_not_found', 'signing_secret_not_found'] }) },
};

export function registerDeleteSigningSecret(app: ApiServer, context: ApiContext): void {
  app.delete(
    '/v1/tenants/:id/signing-secrets/:secretId',
    { schema, config: { scope: 'admin' } },
    async (request, reply) => {
      const tenantId = chooseTenant(request, request.params.id);
      const { secretId } = request.params;
      const origin = describeOrigin(request, 'signing-secret.delete');
      const { hot, ordinary } = chooseDatabase(context.database, request, tenantId);
      const remove = async (client?: Transaction) => {
        await withTransaction(ordinary, client, async (transaction) => {
          if (!(await deleteSigningSecret(transaction, tenantId, secretId))) {
            throw new ProblemError(404, 'signing_secret_not_found', 'The tenant has no such signing secret.');
          }
          await recordChanges(transaction, [{ targetId: secretId, tenantId, origin }]);
        });
        return { status: 204 };
      };
      return sendAnswer(reply, await runIdempotently(context, request, remove, { pool: hot }));
    },
  );
}
