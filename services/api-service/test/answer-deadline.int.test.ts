import { request as openRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createId } from '@punctual/domain';
import { waitUntil, withoutFaults } from '@punctual/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openTestApi, TEST_KEY, type TestApi } from './open-test-api.ts';
import { HOUR, NOOP } from './timer-steps.ts';

/** Less than a statement may take, and long enough for a request on a busy machine. */
const ANSWER_TIMEOUT_MS = 1_500;
const TIMER = { delay: HOUR, action: NOOP };

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi({ API_ANSWER_TIMEOUT_MS: String(ANSWER_TIMEOUT_MS) });
});
afterAll(() => api.close());

/** Keeps every statement on timers waiting while `work` runs, in which each request is sent once. */
async function whileLocked(work: () => Promise<void>): Promise<void> {
  const client = await api.testDatabase.database.ordinary.connect();
  try {
    await client.query('BEGIN; LOCK TABLE timers IN ACCESS EXCLUSIVE MODE');
    await withoutFaults(work);
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
}

it('who would wait longer than the API promises is answered 503 at the deadline, whatever the wait is for', async () => {
  const id = createId();
  await whileLocked(async () => {
    const beganAt = performance.now();
    const answers = await Promise.all([
      api.request('POST', '/v1/timers', TIMER),
      api.request('POST', '/v1/timers', { ...TIMER, externalId: 'one' }),
      api.request('PATCH', `/v1/timers/${id}`, { payload: 1 }),
      api.request('GET', `/v1/timers/${id}`),
    ]);
    expect(performance.now() - beganAt).toBeGreaterThanOrEqual(ANSWER_TIMEOUT_MS - 1);
    for (const { status, headers, body } of answers) {
      expect({ status, code: body.code, retryAfter: headers['retry-after'] }).toEqual({
        status: 503,
        code: 'overloaded',
        retryAfter: '1',
      });
    }
  });
});

it('the ledger is answered when it has been read, however many timers there are', async () => {
  let isAnswered = false;
  let asked: ReturnType<typeof api.request> | undefined;
  await whileLocked(async () => {
    const beganAt = performance.now();
    asked = api.request('GET', '/v1/ledger');
    void asked.then(() => {
      isAnswered = true;
    });
    await waitUntil('the deadline of others is over', () => performance.now() - beganAt > ANSWER_TIMEOUT_MS + 200);
    expect(isAnswered).toBe(false);
  });
  expect((await asked)!.status).toBe(200);
});

it('the time that a body takes to arrive does not count', async () => {
  await api.app.listen({ port: 0, host: '127.0.0.1' });
  const { port } = api.app.server.address() as AddressInfo;
  const body = JSON.stringify(TIMER);
  const request = openRequest({
    port,
    host: '127.0.0.1',
    method: 'POST',
    path: '/v1/timers',
    headers: {
      authorization: `Bearer ${TEST_KEY}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    },
  });
  const answered = new Promise<number | undefined>((resolve, reject) => {
    request.on('error', reject).on('response', (response) => {
      response.resume();
      resolve(response.statusCode);
    });
  });
  request.write(body.slice(0, 10));
  await waitUntil('the head has come', () => api.context.bodyRoom.takenBytes > 0);
  const cameAt = performance.now();
  await waitUntil('the time for an answer is over', () => performance.now() - cameAt > ANSWER_TIMEOUT_MS + 100);
  request.end(body.slice(10));
  expect(await answered).toBe(201);
});
