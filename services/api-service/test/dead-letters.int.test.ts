import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import {
  createDeadLetter,
  createRunByHand,
  endTimer,
  HOUR,
  NOOP,
  readBalance,
  retryTimer,
  startDueTimer,
  startTimer,
  UNKNOWN_ID,
} from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

const read = async (id: string) => (await api.request('GET', `/v1/timers/${id}`)).body;

async function expectBalance(): Promise<void> {
  const balance = await readBalance(api);
  expect(balance.live! + balance.finished! + balance.letters!).toBe(balance.created);
  expect(balance.dead).toBe(balance.storedDead);
}

/** Fires a task of a run, starts it and ends it as dead. */
async function killTask(id: string): Promise<void> {
  const { body } = await api.request('POST', `/v1/timers/${id}/fire`);
  await endTimer(api, await startDueTimer(api, id, body.version), 'dead');
}

test('a dead letter is listed with its last attempt', async () => {
  const id = await createDeadLetter(api, { labels: { test: 'listed' }, payload: 1 });
  const { body } = await api.request('GET', '/v1/dead-letters?label.test=listed');
  expect(body).toMatchObject({
    nextCursor: null,
    data: [
      {
        ...(await read(id)),
        status: 'dead',
        lastAttempt: {
          attempt: 1,
          outcome: 'permanent',
          httpStatus: 500,
          error: 'the target answered 500',
          responseBody: 'oops',
        },
      },
    ],
  });
});

test('a redriven dead letter is live again with all its attempts before it, and keeps its history and its id', async () => {
  const { body } = await api.request('POST', '/v1/timers', { action: NOOP, retry: { maxRetries: 3 } });
  await retryTimer(api, await startDueTimer(api, body.id, 1), 0);
  await endTimer(api, await startDueTimer(api, body.id, 3), 'dead');
  const dead = await read(body.id);
  expect(dead).toMatchObject({ status: 'dead', attempt: 2 });
  const { status, body: live } = await api.request('POST', `/v1/dead-letters/${body.id}/redrive`);
  expect(status).toBe(200);
  expect(live).toMatchObject({
    id: body.id,
    status: 'scheduled',
    attempt: 0,
    version: dead.version + 1,
    dueAt: body.dueAt,
  });
  const { data } = (await api.request('GET', `/v1/timers/${body.id}/attempts`)).body;
  expect(data.map(({ attempt, outcome }: Record<string, unknown>) => [attempt, outcome])).toEqual([
    [1, 'retryable'],
    [2, 'permanent'],
  ]);
  expect(await startTimer(api, body.id, dead.version)).toBeUndefined();
  const started = (await startTimer(api, body.id, live.version))!;
  expect(started.attempt).toBe(1);
  await endTimer(api, started, 'succeeded');
  await expectBalance();
});

test('only a dead letter can be redriven', async () => {
  const { body } = await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR });
  const redrive = (id: string) => api.request('POST', `/v1/dead-letters/${id}/redrive`);
  expect(await redrive(body.id)).toMatchObject({ status: 409, body: { code: 'not_a_dead_letter' } });
  expect(await redrive(UNKNOWN_ID)).toMatchObject({ status: 404 });
});

test('of redrives at the same moment one takes the dead letter', async () => {
  const id = await createDeadLetter(api);
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => api.request('POST', `/v1/dead-letters/${id}/redrive`)),
  );
  expect(answers.map(({ status }) => status).toSorted()).toEqual([200, ...Array(7).fill(409)]);
  await expectBalance();
});

test('many are redriven by id or by filter, and each says what became of it', async () => {
  const ids = [];
  for (let n = 0; n < 4; n += 1) ids.push(await createDeadLetter(api, { labels: { group: n < 2 ? 'a' : 'b' } }));
  const byFilter = await api.request('POST', '/v1/dead-letters/redrive', { filter: { labels: { group: 'a' } } });
  expect(byFilter).toMatchObject({ status: 200, body: { redriven: 2, hasMore: false } });
  expect(byFilter.body.results.map(({ timer }: { timer: { id: string } }) => timer.id)).toEqual(ids.slice(0, 2));
  const byId = await api.request('POST', '/v1/dead-letters/redrive', { ids: [...ids, UNKNOWN_ID] });
  expect(byId.body.redriven).toBe(2);
  expect(byId.body.results.map(({ status }: { status: number }) => status)).toEqual([409, 409, 200, 200, 404]);
  for (const body of [{}, { ids: [ids[0]], filter: {} }, { filter: { dueAfter: 'x'.repeat(20) } }]) {
    expect(await api.request('POST', '/v1/dead-letters/redrive', body)).toMatchObject({ status: 400 });
  }
});

test('a run that failed goes on when its dead task is redriven', async () => {
  const { runId, workflowId, timerIds } = await createRunByHand(api, [{ key: 'a' }, { key: 'b', after: ['a'] }]);
  await killTask(timerIds.a!);
  expect((await api.request('GET', `/v1/runs/${runId}`)).body.status).not.toBe('succeeded');
  // The worker would have advanced the run in the transaction of the outcome; here the test does.
  await api.testDatabase.database.ordinary.query(
    `UPDATE runs SET task_states = 'dp', status = 'failed', finished_at = clock_timestamp() WHERE id = $1`,
    [runId],
  );
  const { status, body } = await api.request('POST', `/v1/dead-letters/${timerIds.a}/redrive`);
  expect(status).toBe(200);
  expect(body).toMatchObject({ runId, workflowId, taskKey: 'a', action: { type: 'noop', durationMs: 7 } });
  const { rows } = await api.testDatabase.database.ordinary.query('SELECT * FROM runs WHERE id = $1', [runId]);
  expect(rows[0]).toMatchObject({ task_states: 'lp', status: 'running', finished_at: null });
});

test('a dead task of a paused run waits for the run, one of a cancelled run stays dead', async () => {
  const { runId, timerIds } = await createRunByHand(api, [{ key: 'a' }, { key: 'b' }]);
  await killTask(timerIds.a!);
  await killTask(timerIds.b!);
  const setStatus = (status: string) =>
    api.testDatabase.database.ordinary.query(`UPDATE runs SET task_states = 'dd', status = $2 WHERE id = $1`, [
      runId,
      status,
    ]);
  await setStatus('cancelled');
  expect(await api.request('POST', `/v1/dead-letters/${timerIds.a}/redrive`)).toMatchObject({
    status: 409,
    body: { code: 'run_cancelled' },
  });
  await setStatus('paused');
  expect(await api.request('POST', `/v1/dead-letters/${timerIds.a}/redrive`)).toMatchObject({
    status: 200,
    body: { status: 'paused' },
  });
  const { rows } = await api.testDatabase.database.ordinary.query(
    'SELECT status, task_states FROM runs WHERE id = $1',
    [runId],
  );
  expect(rows[0]).toEqual({ status: 'paused', task_states: 'ld' });
  await expectBalance();
});

test('a dismissed dead letter leaves the list and stays readable as dead', async () => {
  const id = await createDeadLetter(api, { labels: { test: 'dismissed' } });
  const before = await read(id);
  expect(await api.request('DELETE', `/v1/dead-letters/${id}`)).toMatchObject({ status: 204, body: undefined });
  expect(await api.request('DELETE', `/v1/dead-letters/${id}`)).toMatchObject({ status: 204 });
  expect((await api.request('GET', '/v1/dead-letters?label.test=dismissed')).body.data).toEqual([]);
  expect(await read(id)).toEqual({ ...before, finishedAt: expect.any(String) });
  expect((await api.request('GET', '/v1/timers?status=dead&label.test=dismissed')).body.data).toHaveLength(1);
  expect((await api.request('GET', `/v1/timers/${id}/attempts`)).body.data).toHaveLength(1);
  expect(await api.request('POST', `/v1/dead-letters/${id}/redrive`)).toMatchObject({ status: 409 });
  expect(await api.request('DELETE', `/v1/dead-letters/${UNKNOWN_ID}`)).toMatchObject({ status: 404 });
  await expectBalance();
});
