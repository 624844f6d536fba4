import { areFaultsInjected } from '@punctual/testkit';
import type { TestAnswer, TestApi } from './open-test-api.ts';

/** While faults are injected: how often somebody asks for another secret. */
const TRIES_MAX = 10;

/** The headers of a key of a new tenant. */
export async function createStranger(api: TestApi, scope = 'write'): Promise<Record<string, string>> {
  const tenant = await api.request('POST', '/v1/tenants', { name: 'stranger' });
  const body = { name: 'key', scope, tenantId: tenant.body.id };
  const key = await askForSecret('key', () => api.request('POST', '/v1/api-keys', body));
  return { authorization: `Bearer ${key.body.key}` };
}

/**
 * A secret is told once, and not to a repeat with the same idempotency key: who got no answer, because the connection
 * broke, asks for another one.
 */
export async function askForSecret(field: string, ask: () => Promise<TestAnswer>): Promise<TestAnswer> {
  let answer = await ask();
  for (let tries = 1; areFaultsInjected && !(field in answer.body) && tries < TRIES_MAX; tries += 1)
    answer = await ask();
  return answer;
}
