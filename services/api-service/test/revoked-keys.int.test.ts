import { request as openRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pauseFaults, resumeFaults, waitUntil } from '@punctual/testkit';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { HOUR, NOOP } from './timer-steps.ts';

/** How long an api may go by what it knows of a key (ms), as `SECURITY.md` promises. */
const PROMISED_MS = 5_000;

let api: TestApi;
let port: number;
beforeAll(async () => {
  // A body that is cut off by a fault tells nothing of keys.
  pauseFaults();
  api = await openTestApi();
  await api.app.listen({ port: 0, host: '127.0.0.1' });
  port = (api.app.server.address() as AddressInfo).port;
});
afterAll(async () => {
  await api.close();
  resumeFaults();
});
afterEach(() => {
  vi.restoreAllMocks();
});

const BODY = JSON.stringify({ action: NOOP, delay: HOUR });

/** Sends the head and half of a body, does `meanwhile`, and sends the rest. Resolves with the status. */
async function trickle(key: string, meanwhile: () => Promise<void>): Promise<number | undefined> {
  const request = openRequest({
    port,
    host: '127.0.0.1',
    method: 'POST',
    path: '/v1/timers',
    headers: {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(BODY),
    },
  });
  const answered = new Promise<number | undefined>((resolve, reject) => {
    request.on('response', (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('error', reject);
  });
  request.write(BODY.slice(0, 10));
  await waitUntil('the key was let in', () => api.context.bodyRoom.takenBytes > 0);
  await meanwhile();
  request.end(BODY.slice(10));
  return answered;
}

function passTime(ms: number): void {
  const now = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => now() + ms);
}

it('a key that is revoked while a body is on its way is good for no longer than for any other request', async () => {
  const { body: key } = await api.request('POST', '/v1/api-keys', { name: 'slow', scope: 'write' });
  const countTimers = async () => (await api.request('GET', '/v1/timers/count')).body.count as number;
  const before = await countTimers();
  const status = await trickle(key.key, async () => {
    await api.request('DELETE', `/v1/api-keys/${key.id}`);
    passTime(PROMISED_MS);
  });
  expect(status).toBe(401);
  expect(await countTimers()).toBe(before);
});

it('a body may take its time while its key stands', async () => {
  const { body: key } = await api.request('POST', '/v1/api-keys', { name: 'slow', scope: 'write' });
  expect(await trickle(key.key, async () => passTime(PROMISED_MS))).toBe(201);
});
