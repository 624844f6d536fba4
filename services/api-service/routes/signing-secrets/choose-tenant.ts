import type { FastifyRequest } from 'fastify';
import { createTenantNotFound } from '../../access/tenant-problems.ts';
import { isOperator } from '../../plugins/auth.ts';

/** The tenant that a path names. To an admin of another tenant it does not exist: throws a 404. */
export function chooseTenant(request: Pick<FastifyRequest, 'tenantId' | 'scope'>, id: string): string {
  if (id !== request.tenantId && !isOperator(request)) throw createTenantNotFound();
  return id;
}
