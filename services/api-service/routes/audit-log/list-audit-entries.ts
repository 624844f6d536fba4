import { AuditEntry, CLOSED, Id, Instant, listOf, Page } from '@punctual/contracts';
import { type AuditLogRow, asTenant, ENTRIES_LOOKED_AT_MAX, listAuditEntries } from '@punctual/database';
import { ACTORS, AUDIT_ACTIONS } from '@punctual/domain';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { readCreatedPage, readQueryInstant } from '../../created-list.ts';
import { encodeCursor } from '../../cursor.ts';
import { refuse } from '../../openapi/refusals.ts';
import { createOperatorOnly, isOperator } from '../../plugins/auth.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';

const schema = {
  tags: ['operators'],
  summary: 'List what was changed, and by whom',
  description: `Of one tenant, in the order (createdAt, id), for as long as the history is kept. \`after\` is included, \`before\` is not. With \`action\`, \`actor\` or \`keyId\` a page ends after ${ENTRIES_LOOKED_AT_MAX.toLocaleString('en-US')} entries were looked at, so it may hold few, or none, and not be the last.`,
  querystring: Type.Object(
    {
      ...Page,
      after: Type.Optional(Instant),
      before: Type.Optional(Instant),
      action: Type.Optional(Type.Enum([...AUDIT_ACTIONS])),
      actor: Type.Optional(Type.Enum([...ACTORS])),
      keyId: Type.Optional(Id),
      targetId: Type.Optional(Id),
      tenantId: Type.Optional({ ...Id, description: "Without it, the caller's own. Others are for operators." }),
    },
    CLOSED,
  ),
  response: { 200: listOf(AuditEntry), ...refuse({ 403: ['operator_only'] }) },
};

export function registerListAuditEntries(app: ApiServer, context: ApiContext): void {
  app.get('/v1/audit-log', { schema, config: { scope: 'admin' } }, async (request, reply) => {
    const { query } = request;
    const { tenantId = request.tenantId, action, actor, keyId, targetId } = query;
    if (tenantId !== request.tenantId && !isOperator(request)) throw createOperatorOnly();
    const filter = {
      tenantId,
      after: readQueryInstant('after', query.after),
      before: readQueryInstant('before', query.before),
      action,
      actor,
      keyId,
      targetId,
    };
    const { limit, after } = readCreatedPage(query);
    const { ordinary } = asTenant(context.database, tenantId);
    const { rows, next } = await listAuditEntries(ordinary, filter, { limit, after });
    const nextCursor = next ? encodeCursor({ at: next.createdAt, id: next.id }) : null;
    return sendAnswer(reply, { status: 200, body: { data: rows.map(renderEntry), nextCursor } });
  });
}

function renderEntry(row: AuditLogRow): AuditEntry {
  return {
    id: row.id,
    createdAt: new Date(row.created_at).toISOString(),
    tenantId: row.tenant_id,
    actor: row.actor,
    ...(row.key_id !== null && { keyId: row.key_id }),
    action: row.action,
    targetIds: row.target_ids,
    requestIds: row.request_ids.split(' '),
    ...(row.details !== null && { details: JSON.parse(row.details) as Record<string, unknown> }),
  };
}
