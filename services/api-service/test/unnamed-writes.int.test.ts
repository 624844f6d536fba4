import { readLedger } from '@punctual/database';
import { areFaultsInjected } from '@punctual/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestApi, TEST_KEY, type TestApi } from './open-test-api.ts';
import { HOUR, NOOP } from './timer-steps.ts';

// While faults are injected the other tests name their changes by idempotency keys, which have transactions of their own.
// Here are the ways of those that do not: nobody sends them again.

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi({ API_BATCH_WINDOW_MS: '2' });
});
afterAll(() => api.close());

const WRITES = 400;

async function send(method: 'POST' | 'PATCH' | 'DELETE', url: string, body?: object) {
  const answer = await api.app.inject({
    method,
    url,
    headers: { authorization: `Bearer ${TEST_KEY}` },
    ...(body && { payload: body }),
  });
  return { status: answer.statusCode, retryAfter: answer.headers['retry-after'], body: answer.json() };
}

test('writes without names take effect when they are acknowledged, and are answered 503 when nobody knows', async () => {
  const each = <T>(work: (index: number) => Promise<T>) =>
    Promise.all(Array.from({ length: WRITES }, (_, n) => work(n)));
  const created = await each((n) => send('POST', '/v1/timers', { action: NOOP, delay: HOUR, payload: n }));
  const ids = created.filter(({ status }) => status === 201).map(({ body }) => body.id as string);
  const changed = await each((n) => send('PATCH', `/v1/timers/${ids[n % ids.length]}`, { payload: `changed ${n}` }));
  const doomed = ids.slice(0, ids.length / 2);
  const cancelled = await each((n) => send('DELETE', `/v1/timers/${doomed[n % doomed.length]}`));
  for (const { status, retryAfter, body } of [...created, ...changed, ...cancelled]) {
    if (status < 300) continue;
    expect({ status, code: body.code, retryAfter }).toEqual({
      status: 503,
      code: 'database_unavailable',
      retryAfter: '1',
    });
    expect(areFaultsInjected).toBe(true);
  }
  const { rows } = await api.testDatabase.database.ordinary.query<{ id: string; state: string; version: number }>(
    'SELECT id, state, version FROM timers UNION ALL SELECT id, state, version FROM finished_timers',
  );
  const stored = new Map(rows.map((row) => [row.id, row]));
  expect(ids.filter((id) => !stored.has(id))).toEqual([]);
  expect(stored.size).toBeLessThanOrEqual(WRITES);
  for (const { status, body } of changed) {
    if (status === 200) expect(stored.get(body.id)!.version).toBeGreaterThanOrEqual(body.version);
  }
  for (const { status, body } of cancelled) if (status === 200) expect(stored.get(body.id)!.state).toBe('cancelled');
  expect((await readLedger(api.testDatabase.database)).differences).toEqual([]);
  expect(api.logged).toEqual([]);
});
