import { createServer } from 'node:tls';
import { createEgressPolicy } from '@punctual/domain';
import {
  GOOD_CERTIFICATE,
  HOSTILE_TIMEOUT_MS_MAX,
  type HostileEndpoint,
  startHostileProcess,
  TEST_AUTHORITY,
  TEST_KEY,
  waitUntil,
} from '@punctual/testkit';
import { afterAll, describe, expect, it } from 'vitest';
import { createHostResolver } from '../egress/host-resolver.ts';
import { TELLING_TIMEOUT_MS } from './http-attempt.ts';
import { createHttpTarget } from './http-target.ts';
import { makeRequest } from './test-support/loopback-target.ts';
import { formatAnswer } from './test-support/raw-endpoint.ts';

/** Long enough to tell, short enough that DNS does not give up first. */
const TIMEOUT_MS = 1_200;
/** What an attempt may take beyond its time-out (ms). */
const SLACK_MS = 1_000;
/** Node rounds timers to milliseconds, and the clock that measures them does not. */
const ROUNDING_MS = 2;

// In a process of their own: floods would hold up the attempts that are measured here.
const hostile = await startHostileProcess();
afterAll(() => hostile.stop());

const createTarget = () =>
  createHttpTarget({
    egressPolicy: createEgressPolicy({ allow: ['127.0.0.0/8'], deny: [] }),
    userAgent: 'punctual/1.2.3',
    maxConnectionsPerOrigin: 4,
    resolveHost: createHostResolver({ mode: 'servers', servers: [hostile.dnsServer] }),
    ca: TEST_AUTHORITY,
  });

/** Whether the answer came, so that its connection may serve again. */
const isComplete = ({ expected }: HostileEndpoint): boolean =>
  expected.httpStatus !== undefined && expected.outcome !== 'timedOut' && !expected.error?.includes('connection');

it('the time-out is one that tells, and shorter than what DNS takes', () => {
  expect(TIMEOUT_MS).toBeGreaterThanOrEqual(TELLING_TIMEOUT_MS);
  expect(TIMEOUT_MS).toBeLessThanOrEqual(HOSTILE_TIMEOUT_MS_MAX);
  expect(hostile.endpoints.length).toBeGreaterThan(80);
  expect(new Set(hostile.endpoints.map(({ name }) => name)).size).toBe(hostile.endpoints.length);
});

describe.concurrent('in time and in the right words ends an attempt at an endpoint that', () => {
  it.each(hostile.endpoints.map((endpoint) => [endpoint.name, endpoint] as const))('%s', async (name, endpoint) => {
    const { url, expected } = endpoint;
    const target = createTarget();
    const beganAt = performance.now();
    const result = await target.perform(makeRequest(url, { timeoutMs: TIMEOUT_MS }));
    const tookMs = performance.now() - beganAt;
    expect(result).toMatchObject({
      outcome: expected.outcome,
      contact: expected.contact,
      httpStatus: expected.httpStatus,
      error: expected.error === undefined ? undefined : expect.stringContaining(expected.error),
    });
    expect(tookMs).toBeLessThan(TIMEOUT_MS + SLACK_MS);
    if (expected.outcome === 'timedOut') expect(tookMs).toBeGreaterThanOrEqual(TIMEOUT_MS - ROUNDING_MS);
    if (expected.retryAfterMs === 'ignored') expect(result.retryAfterMs).toBeUndefined();
    else if (expected.retryAfterMs) {
      expect(result.retryAfterMs).toBeGreaterThanOrEqual(expected.retryAfterMs[0]);
      expect(result.retryAfterMs).toBeLessThanOrEqual(expected.retryAfterMs[1]);
    }
    expect(target.stats.inFlight).toBe(0);
    if (!isComplete(endpoint)) expect(target.stats.idleConnections).toBe(0);
    if (target.stats.idleConnections === 0 && !endpoint.isBlind) {
      await waitUntil('its connection is closed', async () => {
        const { stats } = await hostile.readStats();
        return (stats[name]?.openCount ?? 0) === 0;
      });
    }
    await target.destroy();
  });
});

describe('afterwards', () => {
  it('nothing was sent twice, and nobody went where redirects lead', async () => {
    const { stats, canaryConnections } = await hostile.readStats();
    const isShared = ({ url }: HostileEndpoint) => new URL(url).pathname !== '/';
    for (const endpoint of hostile.endpoints.filter((each) => !isShared(each))) {
      expect([endpoint.name, stats[endpoint.name]?.requests ?? 0]).toEqual([
        endpoint.name,
        expect.toSatisfy((n) => n <= 1),
      ]);
    }
    const shared = hostile.endpoints.filter(isShared);
    const requests = new Map(shared.map(({ name, url }) => [new URL(url).port, stats[name]!.requests]));
    expect(requests.values().reduce((sum, count) => sum + count, 0)).toBe(shared.length);
    expect(canaryConnections).toBe(0);
  });

  it('a good certificate of the authority that signed the bad ones is taken', async () => {
    const server = createServer({ key: TEST_KEY, cert: GOOD_CERTIFICATE }, (socket) => {
      socket.on('data', () => socket.end(formatAnswer(200, 'secure')));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const target = createTarget();
    try {
      const { port } = server.address() as { port: number };
      const result = await target.perform(makeRequest(`https://127.0.0.1:${port}/`));
      expect(result).toMatchObject({ outcome: 'succeeded', contact: 'answered', responseBody: 'secure' });
    } finally {
      await target.destroy();
      await new Promise((resolve) => server.close(resolve));
    }
  });
});
