import { asTenant, type Database, type TenantDatabase } from '@punctual/database';

/**
 * Where to change what belongs to `tenantId`. Only operators get that far for another tenant than their own: what is kept of
 * such a request is a row of the operator's, so that one transaction writes rows of both.
 */
export function chooseDatabase(
  database: Database,
  request: { tenantId: string },
  tenantId: string,
): Database | TenantDatabase {
  return tenantId === request.tenantId ? asTenant(database, tenantId) : database;
}
