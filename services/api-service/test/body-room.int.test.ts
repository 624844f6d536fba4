import { request as openRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openTestApi, TEST_KEY, type TestApi } from './open-test-api.ts';
import { HOUR, NOOP } from './timer-steps.ts';

const BYTES_MAX = 20_000;
/** Large, as bodies go. */
const TIMER = { delay: HOUR, action: NOOP, payload: 'x'.repeat(17_000) };

let api: TestApi;
let port: number;
beforeAll(async () => {
  api = await openTestApi({
    API_BODY_BYTES_MAX: String(BYTES_MAX),
    API_BATCH_BODY_BYTES_MAX: String(BYTES_MAX),
    API_BODIES_BYTES_MAX: String(2 * BYTES_MAX),
  });
  await api.app.listen({ port: 0, host: '127.0.0.1' });
  port = (api.app.server.address() as AddressInfo).port;
});
afterAll(() => api.close());

/** A request of which the head is sent, and as much of the body as the caller writes. */
function beginRequest(headers: Record<string, string | number>) {
  const request = openRequest({
    port,
    host: '127.0.0.1',
    method: 'POST',
    path: '/v1/timers',
    headers: { authorization: `Bearer ${TEST_KEY}`, 'content-type': 'application/json', ...headers },
  });
  const answered = new Promise<number | undefined>((resolve, reject) => {
    request.on('response', (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('error', reject);
  });
  request.flushHeaders();
  return { request, answered };
}

const create = () => api.request('POST', '/v1/timers', TIMER);

it('a body that is still to come takes its room, until it is answered', async () => {
  const body = JSON.stringify({ ...TIMER, payload: 'y'.repeat(18_000) });
  const slow = beginRequest({ 'content-length': Buffer.byteLength(body) });
  slow.request.write(body.slice(0, 10));
  await waitUntil('the head has come', () => api.context.bodyRoom.takenBytes > 0);
  const refused = await create();
  expect(refused).toMatchObject({ status: 503, body: { code: 'overloaded' } });
  expect(refused.headers['retry-after']).toBe('1');
  // Small ones have a room of their own, and what has no body needs none.
  expect(await api.request('POST', '/v1/timers', { ...TIMER, payload: 'small' })).toMatchObject({ status: 201 });
  expect(await api.request('GET', '/v1/timers')).toMatchObject({ status: 200 });

  slow.request.end(body.slice(10));
  expect(await slow.answered).toBe(201);
  await waitUntil('the room is free', () => api.context.bodyRoom.takenBytes === 0);
  expect(await create()).toMatchObject({ status: 201 });
});

it('one of which nobody knows how long it will be takes as much as it may be', async () => {
  const endless = beginRequest({ 'transfer-encoding': 'chunked' });
  await waitUntil('the head has come', () => api.context.bodyRoom.takenBytes > 0);
  expect(api.context.bodyRoom.takenBytes).toBe(BYTES_MAX);
  expect(await create()).toMatchObject({ status: 503, body: { code: 'overloaded' } });

  // Gone without an end.
  endless.answered.catch(() => {});
  endless.request.destroy();
  await waitUntil('the room is free', () => api.context.bodyRoom.takenBytes === 0);
  expect(await create()).toMatchObject({ status: 201 });
});

it('what is refused for any other reason gives its room back as well', async () => {
  expect(await api.request('POST', '/v1/timers', '{')).toMatchObject({ status: 400 });
  expect(await api.request('POST', '/v1/timers', JSON.stringify('x'.repeat(2 * BYTES_MAX)))).toMatchObject({
    status: 413,
  });
  await waitUntil('the room is free', () => api.context.bodyRoom.takenBytes === 0);
});
