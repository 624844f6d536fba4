import type { Transaction } from '../connect.ts';
import { nameStatement } from '../statement.ts';

const lockCount = nameStatement(
  'lock_tenant_count',
  `SELECT pg_advisory_xact_lock(hashtextextended($2::text || ' of ' || $1::text, 0))`,
);

/** Lets nobody else count what a tenant has of something, until the transaction ends: so that it may have so many and no more. */
export async function lockCountOf(
  client: Transaction,
  what: 'schedules' | 'bulk operations',
  tenantId: string,
): Promise<void> {
  await lockCount(client, [tenantId, what]);
}
