import type { TestApi } from './open-test-api.ts';

/** What the audit log holds of one request, or of several. */
export interface Entry {
  id: string;
  tenantId: string;
  actor: string;
  keyId?: string;
  action: string;
  targetIds: string[];
  requestIds: string[];
  details?: Record<string, unknown>;
  createdAt: string;
}

async function readEntries(api: TestApi): Promise<Entry[]> {
  const { rows } = await api.testDatabase.database.ordinary.query(
    `SELECT id, tenant_id AS "tenantId", actor, key_id AS "keyId", action, target_ids AS "targetIds",
       string_to_array(request_ids, ' ') AS "requestIds",
       details, created_at AS "createdAt" FROM audit_log ORDER BY created_at, id`,
  );
  return rows;
}

/** What a request leaves in the log. */
export async function findNew<T>(api: TestApi, work: () => Promise<T>): Promise<{ result: T; entries: Entry[] }> {
  const before = new Set((await readEntries(api)).map(({ id }) => id));
  const result = await work();
  return { result, entries: (await readEntries(api)).filter(({ id }) => !before.has(id)) };
}
