import type { ChangeOrigin } from '@punctual/database';
import { type Actor, type AuditAction, createId } from '@punctual/domain';
import type { OpenSpan } from '@punctual/runtime';
import type { FastifyRequest } from 'fastify';

/** By whom a request is: an API key, the bootstrap key, or nobody who had to say so. */
export interface Caller {
  actor: Actor;
  keyId: string | null;
}

/** In the audit log between an id of ours and the one that the client sent, which never holds it. */
const SENT_ID_MARK = '~';

/** While `AUTH=off`. */
export const NOBODY: Caller = { actor: 'nobody', keyId: null };
export const BOOTSTRAP: Caller = { actor: 'bootstrap', keyId: null };

/**
 * What the audit log tells of a change that this request makes. `details` are a few small fields that say what was changed:
 * never a payload, never a secret.
 */
export function describeOrigin(
  request: Pick<FastifyRequest, 'id' | 'caller' | 'headers'> & { span?: OpenSpan | undefined },
  action: AuditAction,
  details?: Readonly<Record<string, unknown>>,
): ChangeOrigin {
  const { actor, keyId } = request.caller;
  const origin: ChangeOrigin = { action, actor, keyId, requestId: nameRequest(request) };
  if (request.span) origin.traceparent = request.span.traceparent;
  return details === undefined ? origin : { ...origin, details: JSON.stringify(details) };
}

/** An id that no other request has: that of the request, or a new one before that which the client chose. */
function nameRequest({ id, headers }: Pick<FastifyRequest, 'id' | 'headers'>): string {
  return headers['x-request-id'] === id ? `${createId()}${SENT_ID_MARK}${id}` : id;
}
