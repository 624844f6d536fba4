import type { Socket } from 'node:net';
import { waitUntil } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';
import { makeRequest, useLoopback } from './test-support/loopback-target.ts';
import { formatAnswer } from './test-support/raw-endpoint.ts';

const { createTarget, startEndpoint } = useLoopback();

describe('connections', () => {
  it('are used again, one request at a time, at most so many per origin', async () => {
    const held: Socket[] = [];
    const endpoint = await startEndpoint({
      onRequest: (socket) => {
        held.push(socket);
        // Nothing is answered before three requests are here, so fewer at a time would never end.
        if (held.length === 3) for (const each of held.splice(0)) each.write(formatAnswer(200, 'ok'));
      },
    });
    const target = createTarget({ maxConnectionsPerOrigin: 3 });
    const results = await Promise.all(Array.from({ length: 51 }, () => target.perform(makeRequest(endpoint.origin))));
    expect(results.every((result) => result.outcome === 'succeeded')).toBe(true);
    expect(endpoint.connectionCount).toBe(3);
    expect(target.stats).toEqual({ inFlight: 0, idleConnections: 3, origins: 1 });
  });

  it('are not kept when the server closes them, and their origin is forgotten', async () => {
    const endpoint = await startEndpoint({
      onRequest: (socket) => void socket.end(formatAnswer(200, 'ok', { connection: 'close' })),
    });
    const target = createTarget();
    for (let count = 0; count < 3; count += 1) {
      expect(await target.perform(makeRequest(endpoint.origin))).toMatchObject({ outcome: 'succeeded' });
    }
    expect(endpoint.connectionCount).toBe(3);
    await waitUntil('the origin is forgotten', () => target.stats.origins === 0);
    expect(target.stats.idleConnections).toBe(0);
  });

  it('closed by the server while idle do not fail the next attempt', async () => {
    const endpoint = await startEndpoint({
      onRequest: (socket) => {
        socket.write(formatAnswer(200, 'ok'));
        setImmediate(() => socket.end());
      },
    });
    const target = createTarget();
    for (let count = 0; count < 20; count += 1) {
      expect(await target.perform(makeRequest(endpoint.origin))).toMatchObject({ outcome: 'succeeded' });
      await waitUntil('the server has closed', () => endpoint.openCount === 0);
    }
  });

  it('reset as the next request arrives make that attempt retryable, and the request is sent once', async () => {
    const endpoint = await startEndpoint({
      onRequest: (socket, index) => void (index === 0 ? socket.write(formatAnswer(200)) : socket.resetAndDestroy()),
    });
    const target = createTarget();
    await target.perform(makeRequest(endpoint.origin));
    const result = await target.perform(makeRequest(endpoint.origin));
    expect(result).toMatchObject({
      outcome: 'retryable',
      error: 'The connection was closed before the answer was complete.',
    });
    expect(result.sentAt).toBeDefined();
    expect(endpoint.requests).toHaveLength(2);
    expect(endpoint.connectionCount).toBe(1);
  });

  it('whose server promises to keep them for no longer than the margin are not used again', async () => {
    const endpoint = await startEndpoint({
      onRequest: (socket) => void socket.write(formatAnswer(200, '', { 'keep-alive': 'timeout=1' })),
    });
    const target = createTarget();
    for (let count = 0; count < 3; count += 1) await target.perform(makeRequest(endpoint.origin));
    expect(endpoint.connectionCount).toBe(3);
  });

  it('whose server promises to keep them for two seconds are closed after one', async () => {
    const endpoint = await startEndpoint({
      onRequest: (socket) => void socket.write(formatAnswer(200, '', { 'keep-alive': 'timeout=2' })),
    });
    const target = createTarget();
    for (let count = 0; count < 2; count += 1) await target.perform(makeRequest(endpoint.origin));
    expect([endpoint.connectionCount, target.stats.idleConnections]).toEqual([1, 1]);
    await waitUntil('it is closed', () => endpoint.openCount === 0);
    expect(target.stats).toEqual({ inFlight: 0, idleConnections: 0, origins: 0 });
  });

  it('on which something comes that nobody asked for are closed', async () => {
    const endpoint = await startEndpoint({
      onRequest: (socket) => {
        socket.write(formatAnswer(200, 'own'));
        setImmediate(() => setImmediate(() => socket.write(formatAnswer(200, 'unasked'))));
      },
    });
    const target = createTarget();
    for (let count = 1; count <= 3; count += 1) {
      expect(await target.perform(makeRequest(endpoint.origin))).toMatchObject({ responseBody: 'own' });
      await waitUntil('it is closed', () => endpoint.openCount === 0);
      expect(endpoint.connectionCount).toBe(count);
    }
  });

  it('answered before their request has gone out are not used again', async () => {
    const endpoint = await startEndpoint({
      onConnection: (socket) => {
        socket.pause();
        socket.write(formatAnswer(413, 'too much'));
      },
    });
    const target = createTarget();
    // More than the buffers of both ends hold.
    const body = 'x'.repeat(32 * 1_048_576);
    for (let count = 1; count <= 2; count += 1) {
      const result = await target.perform(makeRequest(endpoint.origin, { body }));
      expect(result).toMatchObject({ outcome: 'permanent', httpStatus: 413, responseBody: 'too much' });
      expect([endpoint.connectionCount, target.stats.idleConnections]).toEqual([count, 0]);
    }
  });

  it('idle over all origins are limited; the one idle for longest is closed', async () => {
    const endpoints = await Promise.all(
      [1, 2, 3].map(() => startEndpoint({ onRequest: (socket) => void socket.write(formatAnswer(200)) })),
    );
    const target = createTarget({ maxIdleConnections: 2 });
    for (const endpoint of endpoints) await target.perform(makeRequest(endpoint.origin));
    await waitUntil('the first is closed', () => endpoints[0]?.openCount === 0);
    expect(target.stats).toEqual({ inFlight: 0, idleConnections: 2, origins: 2 });
    expect(endpoints.map((endpoint) => endpoint.openCount)).toEqual([0, 1, 1]);
  });
});
