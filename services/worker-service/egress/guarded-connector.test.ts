import { createEgressPolicy } from '@punctual/domain';
import { startDnsServer, waitUntil } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';
import { makeRequest, useLoopback } from '../targets/test-support/loopback-target.ts';
import { formatAnswer, type RawEndpoint, type RawEndpointOptions } from '../targets/test-support/raw-endpoint.ts';
import { createGuardedConnector } from './guarded-connector.ts';
import { createHostResolver, type ResolvedAddress, type ResolveHost } from './host-resolver.ts';

const { createTarget, startEndpoint } = useLoopback();
const answerOk = { onRequest: (socket: import('node:net').Socket) => void socket.write(formatAnswer(200, 'ok')) };

// 127.0.0.2 plays the public host, 127.0.0.1 the inside.
const policy = createEgressPolicy({ allow: ['127.0.0.2'], deny: [] });
const outside: ResolvedAddress = { address: '127.0.0.2', family: 4 };
const inside: ResolvedAddress = { address: '127.0.0.1', family: 4 };

/** A host outside and a canary inside, on the same port, as an attacker would arrange it. */
async function startHosts(
  onRequest: RawEndpointOptions['onRequest'] & {} = answerOk.onRequest,
): Promise<{ host: RawEndpoint; canary: RawEndpoint; url: string }> {
  const host = await startEndpoint({ onRequest, address: outside.address });
  const canary = await startEndpoint({ ...answerOk, address: inside.address, port: host.port });
  return { host, canary, url: `http://name.example:${host.port}/` };
}

describe('the guard', () => {
  it('blocks a name with a denied address among its addresses, in any order, without any connection', async () => {
    const { host, canary, url } = await startHosts();
    const denied: ResolvedAddress[] = [
      inside,
      { address: '::1', family: 6 },
      { address: '10.0.0.1', family: 4 },
      { address: '::ffff:127.0.0.1', family: 6 },
      { address: 'not an address', family: 4 },
    ];
    for (const each of denied) {
      for (const addresses of [[each], [outside, each], [each, outside], [outside, outside, each]]) {
        const target = createTarget({ egressPolicy: policy, resolveHost: () => Promise.resolve(addresses) });
        expect(await target.perform(makeRequest(url))).toMatchObject({
          outcome: 'blocked',
          error: 'The host has an address that is not allowed.',
          sentAt: undefined,
        });
      }
    }
    expect([host.connectionCount, canary.connectionCount]).toEqual([0, 0]);
  });

  it('connects to the addresses that it checked, however the name answers a moment later', async () => {
    const { host, canary, url } = await startHosts();
    let lookups = 0;
    const resolveHost: ResolveHost = () => {
      lookups += 1;
      return Promise.resolve([lookups % 2 === 1 ? outside : inside]);
    };
    // A fresh target each time, so that each attempt needs a connection and thus a lookup.
    const outcomes: string[] = [];
    for (let count = 0; count < 10; count += 1) {
      const target = createTarget({ egressPolicy: policy, resolveHost });
      outcomes.push((await target.perform(makeRequest(url))).outcome);
    }
    expect(outcomes).toEqual(Array.from({ length: 10 }, (_, index) => (index % 2 === 0 ? 'succeeded' : 'blocked')));
    expect(lookups).toBe(10);
    expect(host.connectionCount).toBe(5);
    expect(canary.connectionCount).toBe(0);
  });

  it('lets no connection through to the inside of a name that alternates, over hundreds of attempts at once', async () => {
    const { host, canary, url } = await startHosts(
      (socket) => void socket.end(formatAnswer(200, 'ok', { connection: 'close' })),
    );
    const { port } = new URL(url);
    let queries = 0;
    const dns = await startDnsServer((_name, family) => {
      if (family === 6) return [];
      queries += 1;
      return [queries % 2 === 1 ? outside.address : inside.address];
    });
    let nowMs = 0;
    const target = createTarget({
      egressPolicy: policy,
      maxConnectionsPerOrigin: 64,
      // Answers are kept for a second of this clock, which passes with each look at it.
      resolveHost: createHostResolver({ mode: 'servers', servers: [dns.address], now: () => (nowMs += 1_000) }),
    });
    try {
      const outcomes = new Map<string, number>();
      for (let round = 0; round < 20; round += 1) {
        const names = Array.from({ length: 30 }, (_, index) => `rebind-${index % 7}.example`);
        const results = await Promise.all(names.map((name) => target.perform(makeRequest(`http://${name}:${port}/`))));
        for (const { outcome } of results) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }
      expect([...outcomes.keys()].toSorted()).toEqual(['blocked', 'succeeded']);
      expect(Math.min(...outcomes.values())).toBeGreaterThan(60);
      expect(host.requests).toHaveLength(outcomes.get('succeeded')!);
      expect(canary.connectionCount).toBe(0);
    } finally {
      await target.destroy();
      await dns.close();
    }
  });

  it('blocks literal addresses in any spelling without a lookup', async () => {
    const { canary } = await startHosts();
    const target = createTarget({
      egressPolicy: policy,
      resolveHost: () => Promise.reject(new Error('a literal needs no lookup')),
    });
    for (const host of [
      '127.0.0.1',
      '127.1',
      '0x7f000001',
      '2130706433',
      '[::1]',
      '[::ffff:127.0.0.1]',
      'localhost',
      'a.localhost.',
    ]) {
      expect(await target.perform(makeRequest(`http://${host}:${canary.port}/`))).toMatchObject({ outcome: 'blocked' });
    }
    expect(canary.connectionCount).toBe(0);
  });

  it('holds by itself, when nobody has checked the URL before', async () => {
    const { canary } = await startHosts();
    const connect = createGuardedConnector({ policy, resolveHost: () => Promise.resolve([inside]) });
    const connectTo = (protocol: string, hostname: string) =>
      new Promise((resolve, reject) => {
        const target = { protocol, hostname, host: `${hostname}:${canary.port}`, port: String(canary.port) };
        connect(
          target,
          (error, socket) => (error ? reject(error) : resolve(socket)),
          () => {},
        );
      });
    for (const protocol of ['http:', 'https:'])
      for (const host of ['127.0.0.1', '::1', 'localhost', 'name.example'])
        await expect(connectTo(protocol, host)).rejects.toMatchObject({
          name: 'EgressBlockedError',
          code: 'PUNCTUAL_EGRESS_BLOCKED',
          isRetryable: false,
        });
    expect(canary.connectionCount).toBe(0);
  });

  it('lets localhost through to itself when that is allowed, without a lookup', async () => {
    const endpoint = await startEndpoint(answerOk);
    const target = createTarget();
    for (const host of ['localhost', 'app.localhost', 'LOCALHOST.']) {
      const result = await target.perform(makeRequest(`http://${host}:${endpoint.port}/`));
      expect(result).toMatchObject({ outcome: 'succeeded' });
    }
  });

  it('does not tell the customer which address a name has', async () => {
    const target = createTarget({
      egressPolicy: policy,
      resolveHost: () => Promise.resolve([{ address: '10.11.12.13', family: 4 }]),
    });
    const result = await target.perform(makeRequest('http://db.internal/'));
    expect(JSON.stringify(result)).not.toContain('10.11');
  });

  it('tries the next checked address when the first does not answer', async () => {
    const host = await startEndpoint({ ...answerOk, address: '127.0.0.2' });
    const target = createTarget({
      resolveHost: () => Promise.resolve([{ address: '127.0.0.3', family: 4 }, { ...outside }]),
    });
    const result = await target.perform(makeRequest(`http://name.example:${host.port}/`));
    expect(result).toMatchObject({ outcome: 'succeeded' });
  });
});

describe('a lookup', () => {
  it('that fails makes the attempt retryable', async () => {
    for (const [code, error] of [
      ['ENOTFOUND', 'The host name does not exist.'],
      ['ETIMEOUT', 'The DNS servers of the host name did not answer.'],
      ['EAI_AGAIN', 'The host name could not be resolved for now.'],
    ]) {
      const target = createTarget({
        resolveHost: () => Promise.reject(Object.assign(new Error('secret detail'), { code })),
      });
      expect(await target.perform(makeRequest('http://name.invalid/'))).toMatchObject({ outcome: 'retryable', error });
    }
  });

  it.each(['EBUSY', 'EMFILE', 'ENOBUFS'])(
    'that fails for want of something of ours (%s) does not count as an attempt',
    async (code) => {
      const resolveHost = () => Promise.reject(Object.assign(new Error('secret detail'), { code }));
      const target = createTarget({ resolveHost });
      expect(await target.perform(makeRequest('http://name.invalid/'))).toMatchObject({
        outcome: 'unsent',
        cause: 'ownFault',
        contact: 'unknown',
        error: expect.not.stringContaining('secret'),
      });
      expect(target.stats).toEqual({ inFlight: 0, idleConnections: 0, origins: 0 });
    },
  );

  it('that finds no address makes the attempt retryable', async () => {
    const target = createTarget({ resolveHost: () => Promise.resolve([]) });
    const result = await target.perform(makeRequest('http://name.example/'));
    expect(result).toMatchObject({ outcome: 'retryable', error: 'The host name does not exist.' });
  });

  it('counts within the deadline, and opens no connection when it answers afterwards', async () => {
    const endpoint = await startEndpoint(answerOk);
    const answers: ((addresses: ResolvedAddress[]) => void)[] = [];
    const target = createTarget({
      resolveHost: () => new Promise((resolve) => answers.push(resolve)),
      maxConnectionsPerOrigin: 1,
    });
    const url = `http://name.example:${endpoint.port}/`;
    const result = await target.perform(makeRequest(url, { timeoutMs: 100 }));
    expect(result).toMatchObject({ outcome: 'timedOut', sentAt: undefined });
    expect(result.error).toBe('There was no connection within 100 ms.');
    expect(target.stats).toEqual({ inFlight: 0, idleConnections: 0, origins: 0 });

    // The late answer comes first, then one in time, so that by the end of the second the first had its chance.
    answers[0]?.([inside]);
    const second = target.perform(makeRequest(url));
    await waitUntil('the second lookup began', () => answers.length === 2);
    answers[1]?.([inside]);
    expect(await second).toMatchObject({ outcome: 'succeeded' });
    expect(endpoint.connectionCount).toBe(1);
    expect(endpoint.requests).toHaveLength(1);
  });

  it('that stalls for one host does not delay another', async () => {
    const endpoint = await startEndpoint(answerOk);
    const target = createTarget({
      resolveHost: (host) => (host === 'stalled.example' ? new Promise(() => {}) : Promise.resolve([inside])),
      maxConnectionsPerOrigin: 2,
    });
    const stalled = Array.from({ length: 8 }, () =>
      target.perform(makeRequest(`http://stalled.example:${endpoint.port}/`, { timeoutMs: 150 })),
    );
    const result = await target.perform(makeRequest(`http://name.example:${endpoint.port}/`));
    expect(result).toMatchObject({ outcome: 'succeeded' });
    for (const each of await Promise.all(stalled)) expect(each.outcome).toBe('timedOut');
  });
});
