import { forgetErasures, listErasures, overwriteAnswersAbout, readLedger } from '@punctual/database';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findTables } from './find-tables.ts';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { createStranger } from './stranger.ts';
import { createRunByHand, endTimer, HOUR, NOOP, startDueTimer, UNKNOWN_ID } from './timer-steps.ts';

const CANARY = 'canary-of-a-person-78';
const FIELDS = { action: NOOP, payload: CANARY, labels: { of: CANARY }, externalId: CANARY };

let api: TestApi;
beforeEach(async () => {
  api = await openTestApi();
});
afterEach(async () => {
  await api.close();
});

const query = (text: string, values: unknown[] = []) => api.testDatabase.database.ordinary.query(text, values);
const erase = (id: string, headers?: Record<string, string>) =>
  api.request('POST', `/v1/timers/${id}/erase`, undefined, headers);

test.each(['succeeded', 'dead'] as const)(
  'erases a timer that ended %s with all that it left; the audit log keeps its id',
  async (state) => {
    const keyed = { 'idempotency-key': createId() };
    const { body: timer } = await api.request('POST', '/v1/timers', FIELDS, keyed);
    const { body: bystander } = await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR });
    await endTimer(api, await startDueTimer(api, timer.id, 1), state);
    await query(
      `INSERT INTO attempts (timer_id, tenant_id, started_at, finished_at, outcome, attempt, error)
       VALUES ($1, $2, now(), now(), 'retryable', 1, $3)`,
      [timer.id, DEFAULT_TENANT_ID, CANARY],
    );
    // The search finds what is there.
    const table = state === 'dead' ? 'dead_letters' : 'finished_timers';
    expect(await findTables(api, CANARY)).toEqual(['attempts', 'external_ids', 'idempotency_keys', table].toSorted());
    const again = { 'idempotency-key': createId() };
    expect((await erase(timer.id, again)).status).toBe(204);
    expect(await findTables(api, CANARY)).toEqual(['idempotency_keys']);
    // A repeat does not do again what was done, and is told why it does not see what that was.
    const gone = { status: 410, body: { code: 'answer_erased' } };
    expect(await api.request('POST', '/v1/timers', FIELDS, keyed)).toMatchObject(gone);
    expect((await erase(timer.id, again)).status).toBe(204);
    expect((await erase(timer.id)).status).toBe(404);
    expect((await api.request('GET', `/v1/timers/${timer.id}`)).status).toBe(404);
    expect((await api.request('GET', `/v1/timers/${bystander.id}`)).body.status).toBe('scheduled');
    expect(await readLedger(api.testDatabase.database)).toMatchObject({ isBalanced: true });
    const { body: log } = await api.request('GET', `/v1/audit-log?targetId=${timer.id}&action=timer.erase`);
    expect(log.data).toMatchObject([{ action: 'timer.erase', targetIds: [timer.id] }]);
    // As a scheduler does when whoever may still have shown it has given up.
    expect(await listErasures(api.testDatabase.database.ordinary)).toEqual(new Map());
    await query("UPDATE erasures SET erased_at = erased_at - interval '1 minute'");
    const erasures = await listErasures(api.testDatabase.database.ordinary);
    expect(erasures).toEqual(new Map([[DEFAULT_TENANT_ID, [timer.id]]]));
    const { ordinary } = api.testDatabase.database;
    const page = await overwriteAnswersAbout(ordinary, DEFAULT_TENANT_ID, [timer.id], '');
    expect(page).toEqual({ erased: 1, next: undefined });
    await forgetErasures(ordinary, DEFAULT_TENANT_ID, [timer.id]);
    expect(await findTables(api, CANARY)).toEqual([]);
    expect(await findTables(api, timer.id)).toEqual(['audit_log']);
    expect(await api.request('POST', '/v1/timers', FIELDS, keyed)).toMatchObject(gone);
    // The name is free again.
    expect((await api.request('POST', '/v1/timers', FIELDS)).status).toBe(201);
  },
);

test('is refused while the timer is live, and for a task of a run', async () => {
  const { body: timer } = await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR });
  const live = { status: 409, body: { code: 'timer_not_finished' } };
  expect(await erase(timer.id)).toMatchObject(live);
  await api.request('POST', `/v1/timers/${timer.id}/pause`);
  expect(await erase(timer.id)).toMatchObject(live);
  await api.request('DELETE', `/v1/timers/${timer.id}`);
  expect((await erase(timer.id)).status).toBe(204);
  const { timerIds } = await createRunByHand(api, [{ key: 'a' }]);
  await api.request('DELETE', `/v1/timers/${timerIds.a}`);
  expect(await erase(timerIds.a!)).toMatchObject({ status: 409, body: { code: 'timer_of_run' } });
});

test("knows nothing of another tenant's timers", async () => {
  const { body: timer } = await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR });
  await api.request('DELETE', `/v1/timers/${timer.id}`);
  expect((await erase(timer.id, await createStranger(api))).status).toBe(404);
  expect((await erase(UNKNOWN_ID)).status).toBe(404);
  expect((await api.request('GET', `/v1/timers/${timer.id}`)).body.status).toBe('cancelled');
});

test('of a dead letter that is redriven, dismissed or erased at the same moment one is done, and the books balance', async () => {
  const wins = new Set<string>();
  for (let round = 0; round < 15; round += 1) {
    const { body: timer } = await api.request('POST', '/v1/timers', { action: NOOP });
    await endTimer(api, await startDueTimer(api, timer.id, 1), 'dead');
    const [erased, redriven, dismissed] = await Promise.all([
      erase(timer.id),
      api.request('POST', `/v1/dead-letters/${timer.id}/redrive`),
      api.request('DELETE', `/v1/dead-letters/${timer.id}`),
    ]);
    const { status } = await api.request('GET', `/v1/timers/${timer.id}`);
    expect([erased.status, status]).toEqual(redriven.status === 200 ? [409, 200] : [204, 404]);
    // A dismissal may come before the erasure, not after it.
    expect([204, 404, 409]).toContain(dismissed.status);
    wins.add(redriven.status === 200 ? 'redrive' : 'erase');
  }
  expect(await readLedger(api.testDatabase.database)).toMatchObject({ isBalanced: true });
  expect(wins.size).toBeGreaterThan(0);
});
