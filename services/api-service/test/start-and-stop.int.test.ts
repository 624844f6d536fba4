import { connect } from 'node:net';
import { createTestLogger, pauseFaults, resumeFaults, startProxy } from '@punctual/testkit';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { readApiConfig } from '../config.ts';
import { startApi } from '../start.ts';
import { openTestApi, type TestAnswer, type TestApi } from './open-test-api.ts';
import { NOOP } from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

/** An api with a socket, whose way to Postgres can be cut. No other faults happen to it: they are told apart by their time. */
async function startBehindProxy() {
  pauseFaults();
  const proxy = await startProxy(api.testDatabase.url);
  const { logger, lines } = createTestLogger();
  const config = readApiConfig({ DATABASE_URL: proxy.url, PORT: '0', HOST: '127.0.0.1', AUTH: 'off' });
  const running = await startApi({ config, logger });
  return {
    running,
    proxy,
    lines,
    async stop() {
      await running.stop();
      await proxy.close();
      resumeFaults();
    },
  };
}

test.each(['cut', 'stall'] as const)(
  'while Postgres is away (%s) requests are answered 503 within five seconds, and 200 when it is back',
  async (way) => {
    const { running, proxy, lines, stop } = await startBehindProxy();
    const send = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
      const sentAt = performance.now();
      const answer = await fetch(running.url + path, {
        method,
        headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      return {
        status: answer.status,
        retryAfter: answer.headers.get('retry-after'),
        body: (await answer.json()) as TestAnswer['body'],
        tookMs: performance.now() - sentAt,
      };
    };
    try {
      const { body: timer } = await send('POST', '/v1/timers', {
        action: NOOP,
        delay: { type: 'duration', value: 1, unit: 'hours' },
      });
      const sendAll = () => [
        send('POST', '/v1/timers', { action: NOOP }),
        send('POST', '/v1/timers', { action: NOOP, externalId: 'x' }),
        send('POST', '/v1/timers', { action: NOOP }, { 'idempotency-key': 'x' }),
        send('POST', '/v1/timers/batch', { timers: [{ action: NOOP }, { action: NOOP, externalId: 'y' }] }),
        send('GET', `/v1/timers/${timer.id}`),
        send('GET', '/v1/timers'),
        send('PATCH', `/v1/timers/${timer.id}`, { payload: 1 }),
        send('POST', `/v1/timers/${timer.id}/cancel`),
        send('POST', '/v1/dead-letters/redrive', { ids: [timer.id] }),
      ];
      // So that each finds a connection that was good until now.
      await Promise.all(sendAll());
      await proxy[way]();
      for (const { status, retryAfter, body, tookMs } of await Promise.all(sendAll())) {
        expect({ status, retryAfter, code: body.code }).toEqual({
          status: 503,
          retryAfter: '1',
          code: 'database_unavailable',
        });
        expect(JSON.stringify(body)).not.toMatch(/select|insert|ECONN|127\.0\.0\.1|\.ts\b/i);
        expect(tookMs).toBeLessThan(5_000);
      }
      expect((await send('GET', '/v1/health/live')).status).toBe(200);
      expect((await send('GET', '/v1/health/ready')).status).toBe(503);
      expect(await send('GET', '/v1/health')).toMatchObject({
        status: 503,
        body: { status: 'down', checks: { postgres: { status: 'down' } } },
      });
      await proxy.restore();
      await vi.waitFor(async () => expect((await send('GET', '/v1/health/ready')).status).toBe(200), 10_000);
      expect(await send('GET', `/v1/timers/${timer.id}`)).toMatchObject({ status: 200, body: { id: timer.id } });
      expect(lines.filter((line) => line['log.level'] === 'error')).toEqual([]);
    } finally {
      await stop();
    }
  },
  40_000,
);

test('a stop answers what was asked before it, and leaves nothing open', async () => {
  const { running, proxy, stop } = await startBehindProxy();
  const { hostname, port } = new URL(running.url);
  const body = JSON.stringify({ action: NOOP });
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.on('data', (bytes) => {
    answer += bytes;
  });
  const closed = new Promise((resolve) => socket.on('close', resolve));
  // The head is there and the body is still to come: this request is in hand.
  socket.write(
    `POST /v1/timers HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n{`,
  );
  await vi.waitFor(async () => expect((await fetch(`${running.url}/v1/health/ready`)).status).toBe(200));
  const stopping = running.stop();
  expect(running.stop()).toBe(stopping);
  await vi.waitFor(async () => expect((await running.health.ready()).isReady).toBe(false));
  socket.write(body.slice(1));
  await stopping;
  await closed;
  expect(answer).toMatch(/^HTTP\/1.1 201 Created/);
  await expect(fetch(`${running.url}/v1/health/live`)).rejects.toThrow();
  await proxy.close();
  await stop();
});

test('the api refuses to start while migrations are pending, and with AUTH=off on an open address', async () => {
  const { logger } = createTestLogger();
  const settings = { DATABASE_URL: api.testDatabase.url, PORT: '0', HOST: '127.0.0.1', AUTH: 'off' };
  const { rows } = await api.testDatabase.database.ordinary.query(`SELECT to_regclass('schema_migrations') AS name`);
  expect(rows[0]?.name).not.toBeNull();
  await api.testDatabase.database.ordinary.query('ALTER TABLE schema_migrations RENAME TO hidden_migrations');
  try {
    await expect(startApi({ config: readApiConfig(settings), logger })).rejects.toThrow(/npm run migrate/);
  } finally {
    await api.testDatabase.database.ordinary.query('ALTER TABLE hidden_migrations RENAME TO schema_migrations');
  }
  expect(() => readApiConfig({ ...settings, HOST: '0.0.0.0' })).toThrow(/loopback/);
});
