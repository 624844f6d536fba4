import type { TestApi } from './open-test-api.ts';

/** The headers of a key of a new tenant. */
export async function createStranger(api: TestApi, scope = 'write'): Promise<Record<string, string>> {
  const tenant = await api.request('POST', '/v1/tenants', { name: 'stranger' });
  const key = await api.request('POST', '/v1/api-keys', { name: 'key', scope, tenantId: tenant.body.id });
  return { authorization: `Bearer ${key.body.key}` };
}
