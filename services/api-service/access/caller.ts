import type { ChangeOrigin } from '@punctual/database';
import type { Actor, AuditAction } from '@punctual/domain';
import type { FastifyRequest } from 'fastify';

/** By whom a request is: an API key, the bootstrap key, or nobody who had to say so. */
export interface Caller {
  actor: Actor;
  keyId: string | null;
}

/** While `AUTH=off`. */
export const NOBODY: Caller = { actor: 'nobody', keyId: null };
export const BOOTSTRAP: Caller = { actor: 'bootstrap', keyId: null };

/**
 * What the audit log tells of a change that this request makes. `details` are a few small fields that say what was changed:
 * never a payload, never a secret.
 */
export function describeOrigin(
  request: Pick<FastifyRequest, 'id' | 'caller'>,
  action: AuditAction,
  details?: Readonly<Record<string, unknown>>,
): ChangeOrigin {
  const { actor, keyId } = request.caller;
  const origin = { action, actor, keyId, requestId: request.id };
  return details === undefined ? origin : { ...origin, details: JSON.stringify(details) };
}
