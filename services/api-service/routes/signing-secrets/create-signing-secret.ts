import { CreatedSigningSecret, IdParams, OVERLAP_SECONDS_DEFAULT, SigningSecretRequest } from '@punctual/contracts';
import {
  addSigningSecret,
  expireOtherSecrets,
  lockTenantSecrets,
  recordChanges,
  type Transaction,
} from '@punctual/database';
import { createId, SIGNING_SECRETS_MAX } from '@punctual/domain';
import { describeOrigin } from '../../access/caller.ts';
import { chooseDatabase } from '../../access/choose-database.ts';
import { chooseSigningSecret } from '../../access/secrets.ts';
import { createKeyMissing, createTenantNotFound } from '../../access/tenant-problems.ts';
import type { ApiServer } from '../../api-server.ts';
import { type ApiContext, readAnchorAt } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { ProblemError } from '../../problem.ts';
import { withTransaction } from '../../transaction.ts';
import { chooseTenant } from './choose-tenant.ts';
import { renderSigningSecret } from './render-signing-secret.ts';

const schema = {
  tags: ['tenants'],
  summary: 'Replace the signing secret of a tenant',
  description:
    'Requests are signed with the new secret and, for `overlapSeconds` more, with those before it. The secret is in this answer and nowhere else; a repeat with the same `Idempotency-Key` leaves it out.',
  params: IdParams,
  body: SigningSecretRequest,
  response: {
    201: CreatedSigningSecret,
    ...refuse({
      404: ['tenant_not_found'],
      409: ['encryption_key_missing', 'signing_secrets_moving', 'too_many_signing_secrets'],
    }),
  },
};

export function registerCreateSigningSecret(app: ApiServer, context: ApiContext): void {
  app.post('/v1/tenants/:id/signing-secrets', { schema, config: { scope: 'admin' } }, async (request, reply) => {
    const tenantId = chooseTenant(request, request.params.id);
    const { overlapSeconds = OVERLAP_SECONDS_DEFAULT, signingSecret = 'generate' } = request.body;
    const secret = chooseSigningSecret(signingSecret);
    if (context.keyring.primaryKeyId === undefined) throw createKeyMissing();
    const origin = describeOrigin(request, 'signing-secret.create', { overlapSeconds });
    let shown: CreatedSigningSecret | undefined;
    const { hot, ordinary } = chooseDatabase(context.database, request, tenantId);
    const store = async (client?: Transaction) => {
      const added = { id: createId(), tenantId, secret, createdAt: readAnchorAt(context) };
      await withTransaction(ordinary, client, async (transaction) => {
        await makeRoom(transaction, tenantId);
        await addSigningSecret(transaction, context.keyring, added);
        await expireOtherSecrets(transaction, tenantId, added.id, overlapSeconds * 1000);
        await recordChanges(transaction, [{ targetId: added.id, tenantId, origin }]);
      });
      const body = renderSigningSecret({ id: added.id, created_at: added.createdAt, expires_at: null });
      shown = { ...body, signingSecret: secret };
      // What is stored for repeats must not hold the secret.
      return { status: 201, body };
    };
    const answer = await runIdempotently(context, request, store, { pool: hot });
    return sendAnswer(reply, shown ? { ...answer, body: shown } : answer);
  });
}

/** Locks the tenant, so that its secrets change one after another. Throws ProblemError. */
async function makeRoom(client: Transaction, tenantId: string): Promise<void> {
  const tenant = await lockTenantSecrets(client, tenantId);
  if (!tenant) throw createTenantNotFound();
  if (tenant.plain > 0) {
    throw new ProblemError(
      409,
      'signing_secrets_moving',
      'The secrets that this tenant has from an earlier version are still to be encrypted, which waits until every worker has the key.',
      { headers: { 'retry-after': '5' } },
    );
  }
  if (tenant.active >= SIGNING_SECRETS_MAX) {
    throw new ProblemError(
      409,
      'too_many_signing_secrets',
      `${SIGNING_SECRETS_MAX} secrets sign already: wait until one expires, or delete one.`,
    );
  }
}
