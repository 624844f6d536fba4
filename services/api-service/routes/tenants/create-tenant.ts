import { CreatedTenant, Problem, TenantRequest } from '@punctual/contracts';
import { createTenant } from '@punctual/database';
import { createId } from '@punctual/domain';
import { createSigningSecret, isSigningSecret } from '../../access/secrets.ts';
import type { ApiServer } from '../../api-server.ts';
import { type ApiContext, readAnchorAt } from '../../context.ts';
import { runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { createInvalidRequest } from '../../plugins/problems.ts';
import { renderTenant } from './render-tenant.ts';

const schema = {
  tags: ['tenants'],
  summary: 'Create a tenant',
  description:
    'The signing secret is in this answer and nowhere else; a repeat with the same `Idempotency-Key` leaves it out.',
  body: TenantRequest,
  response: { 201: CreatedTenant, default: Problem },
};

export function registerCreateTenant(app: ApiServer, context: ApiContext): void {
  app.post('/v1/tenants', { schema, config: { scope: 'operator' } }, async (request, reply) => {
    const signingSecret = chooseSecret(request.body.signingSecret);
    let shown: CreatedTenant | undefined;
    const answer = await runIdempotently(context, request, async (client) => {
      const tenant = { id: createId(), name: request.body.name, createdAt: readAnchorAt(context) };
      const signingSecrets = signingSecret === undefined ? [] : [signingSecret];
      await createTenant(context.database, client ?? context.database.ordinary, { ...tenant, signingSecrets });
      const body = renderTenant({
        id: tenant.id,
        name: tenant.name,
        created_at: tenant.createdAt,
        is_signed: signingSecret !== undefined,
      });
      shown = { ...body, ...(signingSecret !== undefined && { signingSecret }) };
      // What is stored for repeats must not hold the secret.
      return { status: 201, body };
    });
    return sendAnswer(reply, shown ? { ...answer, body: shown } : answer);
  });
}

function chooseSecret(wanted: string | undefined): string | undefined {
  if (wanted === undefined) return undefined;
  if (wanted === 'generate') return createSigningSecret();
  if (isSigningSecret(wanted)) return wanted;
  throw createInvalidRequest([
    { pointer: '/signingSecret', detail: 'It must be whsec_ and 24 to 64 bytes in base64.' },
  ]);
}
