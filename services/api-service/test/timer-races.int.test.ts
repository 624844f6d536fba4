import { startTimers } from '@punctual/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestApi, type TestAnswer, type TestApi } from './open-test-api.ts';
import { createRunByHand, NOOP, readBalance, UNKNOWN_ID } from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

/** Timers that one test races for, and how many are in the air at once. */
const TIMERS_RACED = 1_200;
const RACED_AT_ONCE = 30;
const BATCH = 500;

/** Attempts that started, as (id, version before the start). */
type Started = Map<string, { version: number; payload: string | null }>;

async function createDueTimers(): Promise<string[]> {
  const ids: string[] = [];
  while (ids.length < TIMERS_RACED) {
    const timers = Array.from({ length: BATCH }, () => ({
      action: NOOP,
      payload: 'old',
      dueAt: '2020-01-01T00:00:00Z',
    }));
    const { body } = await api.request('POST', '/v1/timers/batch', { timers });
    for (const result of body.results) ids.push(result.timer.id);
  }
  return ids;
}

/** A worker that tries to start the timers in every version they could have, and writes down what started. */
async function tryToStart(ids: readonly string[], started: Started): Promise<void> {
  // Versions in random order: the hint of the old version and that of the new one may come in any order.
  const hints = ids.flatMap((id) => [1, 2, 3].map((version) => ({ id, version }))).toSorted(() => Math.random() - 0.5);
  for (const hint of hints) {
    for (const row of await startTimers(api.testDatabase.database.hot, [hint], 10_000, 5_000)) {
      expect(started.has(row.id)).toBe(false);
      started.set(row.id, { version: hint.version, payload: row.payload });
    }
  }
}

/** Lets starts and `act` meet at each timer: which one comes first is left to chance, as in life. */
async function race(act: (id: string) => Promise<TestAnswer>) {
  const ids = await createDueTimers();
  const started: Started = new Map();
  const answers = new Map<string, TestAnswer>();
  for (let from = 0; from < ids.length; from += RACED_AT_ONCE) {
    const some = ids.slice(from, from + RACED_AT_ONCE);
    const half = some.length / 2;
    await Promise.all([
      tryToStart(some.slice(0, half), started),
      tryToStart(some.slice(half), started),
      ...some.map(async (id) => {
        // A different head start for each, so that the moments spread over the whole length of a start.
        for (let turn = 0; turn < Math.random() * 20; turn += 1) await new Promise(setImmediate);
        answers.set(id, await act(id));
      }),
    ]);
  }
  const acknowledged = ids.filter((id) => answers.get(id)!.status === 200);
  const refused = ids.filter((id) => answers.get(id)!.status === 409);
  expect(acknowledged.length + refused.length).toBe(ids.length);
  // A race that one side always wins tests nothing.
  expect(acknowledged.length).toBeGreaterThan(TIMERS_RACED / 50);
  expect(refused.length).toBeGreaterThan(TIMERS_RACED / 50);
  for (const id of refused) {
    expect(answers.get(id)!.body.code).toBe('timer_already_started');
    expect(started.get(id)?.version).toBe(1);
  }
  return { ids, started, acknowledged, answers };
}

test('a timer whose cancel was acknowledged never starts, and one that started is never acknowledged as cancelled', async () => {
  const { started, acknowledged } = await race((id) => api.request('POST', `/v1/timers/${id}/cancel`));
  for (const id of acknowledged) expect(started.has(id)).toBe(false);
  const balance = await readBalance(api);
  expect(balance.cancelled).toBe(balance.storedCancelled);
  expect(balance.live! + balance.finished! + balance.letters!).toBe(balance.created);
}, 120_000);

test('after an edit was acknowledged the old version never starts', async () => {
  const { started, acknowledged, answers } = await race((id) =>
    api.request('PATCH', `/v1/timers/${id}`, { payload: 'new' }),
  );
  for (const id of acknowledged) {
    expect(answers.get(id)!.body).toMatchObject({ version: 2, payload: 'new' });
    const start = started.get(id);
    // It may have started after the edit, with the new payload; or its hint of version 2 came before the edit did.
    if (start) expect(start).toEqual({ version: 2, payload: '"new"' });
  }
}, 120_000);

test('after a fire was acknowledged the old version never starts', async () => {
  const { started, acknowledged, answers } = await race((id) => api.request('POST', `/v1/timers/${id}/fire`));
  for (const id of acknowledged) {
    expect(answers.get(id)!.body.version).toBe(2);
    const start = started.get(id);
    if (start) expect(start.version).toBe(2);
  }
}, 120_000);

test('edits at the same moment are all made, one after another, each raising the version', async () => {
  const { body } = await api.request('POST', '/v1/timers', { action: NOOP, dueAt: '2030-01-01T00:00:00Z' });
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, n) => api.request('PATCH', `/v1/timers/${body.id}`, { payload: n })),
  );
  const made = answers.filter(({ status }) => status === 200);
  const versions = made.map((answer) => answer.body.version).toSorted();
  expect(versions).toEqual(made.map((_, n) => n + 2));
  for (const answer of answers) if (answer.status !== 200) expect(answer.body.code).toBe('timer_changing');
  const { body: last } = await api.request('GET', `/v1/timers/${body.id}`);
  expect(last.payload).toBe(made.find((answer) => answer.body.version === last.version)!.body.payload);
});

test('of edits at the same moment that name the version they saw, one is made', async () => {
  const { body } = await api.request('POST', '/v1/timers', { action: NOOP, dueAt: '2030-01-01T00:00:00Z' });
  for (let version = 1; version <= 20; version += 1) {
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, n) => api.request('PATCH', `/v1/timers/${body.id}`, { payload: n, version })),
    );
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, ...Array(5).fill(412)]);
  }
});

test('cancels of the timers of one run at the same moment do not block each other, and leave run and timers in step', async () => {
  for (let round = 0; round < 20; round += 1) {
    const { runId, timerIds } = await createRunByHand(api, [{ key: 'a' }, { key: 'b', after: ['a'] }, { key: 'c' }]);
    const answers = await Promise.all([
      ...Object.values(timerIds).map((id) => api.request('POST', `/v1/timers/${id}/cancel`)),
      api.request('POST', '/v1/timers/batch/cancel', { ids: [...Object.values(timerIds), UNKNOWN_ID].toReversed() }),
    ]);
    for (const { status } of answers) expect([200, 207]).toContain(status);
    const { body: run } = await api.request('GET', `/v1/runs/${runId}`);
    expect(run.status).toBe('cancelled');
    const statuses = run.tasks.map((task: { status: string }) => task.status);
    expect([statuses[0], statuses[2]]).toEqual(['cancelled', 'cancelled']);
  }
}, 60_000);
