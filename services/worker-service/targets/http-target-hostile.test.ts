import type { Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { SELF_SIGNED_CERTIFICATE, TEST_KEY, waitUntil } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';
import { WAITING_PER_ORIGIN_MAX } from './connection-pool.ts';
import { ANSWER_BYTES_MAX, RESPONSE_DRAINED_BYTES_MAX } from './http-attempt.ts';
import { RESPONSE_BODY_BYTES_MAX } from './response-text.ts';
import { makeRequest, useLoopback } from './test-support/loopback-target.ts';
import { formatAnswer } from './test-support/raw-endpoint.ts';

const { createTarget, startEndpoint } = useLoopback();

// What every kind of bad endpoint comes to is in hostile-endpoints.test.ts; here is what takes a closer look.

/** So long that an endpoint on a busy machine has sent what it does send (ms). */
const TIMEOUT_MS = 1_000;

describe('the deadline', () => {
  it('covers the TLS handshake, after which nothing was sent', async () => {
    const endpoint = await startEndpoint();
    const url = `https://127.0.0.1:${endpoint.port}/`;
    const result = await createTarget().perform(makeRequest(url, { timeoutMs: TIMEOUT_MS }));
    expect(result).toMatchObject({ outcome: 'timedOut', sentAt: undefined, httpStatus: undefined });
    expect(result.error).toBe(`There was no connection within ${TIMEOUT_MS} ms.`);
    expect(endpoint.connectionCount).toBe(1);
    await waitUntil('the connection is closed', () => endpoint.openCount === 0);
  });

  it('covers the wait for a connection, and an attempt that waited in vain is never sent', async () => {
    const held: Socket[] = [];
    const endpoint = await startEndpoint({ onRequest: (socket) => void held.push(socket) });
    const target = createTarget({ maxConnectionsPerOrigin: 1 });
    const first = target.perform(makeRequest(endpoint.origin));
    const second = await target.perform(makeRequest(endpoint.origin, { timeoutMs: TIMEOUT_MS }));
    expect(second).toMatchObject({ outcome: 'unsent', cause: 'noRoom', contact: 'unknown', sentAt: undefined });
    held[0]?.write(formatAnswer(200, 'ok'));
    expect(await first).toMatchObject({ outcome: 'succeeded' });
    await target.close();
    expect(endpoint.requests).toHaveLength(1);
  });

  it('of one attempt leaves its place to the next one waiting', async () => {
    const endpoint = await startEndpoint({
      onRequest: (socket, index) => void (index > 0 && socket.write(formatAnswer(200, 'ok'))),
    });
    const target = createTarget({ maxConnectionsPerOrigin: 1 });
    const first = target.perform(makeRequest(endpoint.origin, { timeoutMs: TIMEOUT_MS }));
    const second = target.perform(makeRequest(endpoint.origin));
    expect(await first).toMatchObject({ outcome: 'timedOut' });
    expect(await second).toMatchObject({ outcome: 'succeeded' });
    expect(endpoint.connectionCount).toBe(2);
  });

  it('is kept within its bounds whatever is asked for', async () => {
    const endpoint = await startEndpoint();
    for (const timeoutMs of [0, -5]) {
      const result = await createTarget().perform(makeRequest(endpoint.origin, { timeoutMs }));
      expect(result).toMatchObject({ outcome: 'timedOut', error: expect.stringMatching(/within 1 ms\.$/) });
    }
  });
});

describe('a body', () => {
  it('without end is read up to the limit, and the status decides', async () => {
    let written = 0;
    const block = Buffer.alloc(16_384, 'x');
    const endpoint = await startEndpoint({
      onRequest: (socket) => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        const write = () => {
          do written += block.length;
          while (!socket.destroyed && socket.write(block));
        };
        socket.on('drain', write);
        write();
      },
    });
    const result = await createTarget().perform(makeRequest(endpoint.origin));
    expect(result).toMatchObject({ outcome: 'succeeded', httpStatus: 200 });
    expect(result.responseBody).toBe('x'.repeat(RESPONSE_BODY_BYTES_MAX));
    await waitUntil('the connection is closed', () => endpoint.openCount === 0);
    // What the two kernels hold in between is theirs; 64 MiB would mean that somebody kept reading.
    expect(written).toBeLessThan(64 * 1_048_576);
  });

  it.each([
    ['just within the limit keeps the connection', RESPONSE_DRAINED_BYTES_MAX, 1],
    ['beyond the limit closes it', RESPONSE_DRAINED_BYTES_MAX + 1, 2],
  ])('%s', async (_what, length, connectionCount) => {
    const endpoint = await startEndpoint({
      onRequest: (socket) => void socket.write(formatAnswer(500, 'y'.repeat(length))),
    });
    const target = createTarget();
    for (let count = 0; count < 2; count += 1) {
      const result = await target.perform(makeRequest(endpoint.origin));
      expect(result).toMatchObject({ outcome: 'retryable', httpStatus: 500 });
      expect(result.responseBody).toBe('y'.repeat(RESPONSE_BODY_BYTES_MAX));
    }
    expect(endpoint.connectionCount).toBe(connectionCount);
  });

  it('is limited by itself, however much came over its connection before', async () => {
    const answers = Math.ceil(ANSWER_BYTES_MAX / RESPONSE_DRAINED_BYTES_MAX) + 2;
    const endpoint = await startEndpoint({
      onRequest: (socket) => {
        // In two pieces, so that each answer is seen while it is incomplete. Both ends are in this process: after two turns of
        // its event loop the first piece has been read.
        const answer = formatAnswer(200, 'y'.repeat(RESPONSE_DRAINED_BYTES_MAX));
        socket.write(answer.slice(0, 1_000), () => {
          setImmediate(() => setImmediate(() => socket.write(answer.slice(1_000))));
        });
      },
    });
    const target = createTarget();
    for (let count = 0; count < answers; count += 1) {
      expect(await target.perform(makeRequest(endpoint.origin))).toMatchObject({ outcome: 'succeeded' });
    }
    expect(endpoint.connectionCount).toBe(1);
  });

  it('in chunks of one byte is read to its end', async () => {
    const endpoint = await startEndpoint({
      onRequest: (socket) => {
        socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
        socket.write(`${'1\r\nz\r\n'.repeat(RESPONSE_DRAINED_BYTES_MAX)}0\r\n\r\n`);
      },
    });
    const target = createTarget();
    const result = await target.perform(makeRequest(endpoint.origin));
    expect(result).toMatchObject({ outcome: 'succeeded', responseBody: 'z'.repeat(RESPONSE_BODY_BYTES_MAX) });
    expect(target.stats.idleConnections).toBe(1);
  });

  it('announced as gigantic is given up after what is kept of it', async () => {
    const endpoint = await startEndpoint({
      onRequest: (socket) => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n${'z'.repeat(RESPONSE_BODY_BYTES_MAX)}`);
      },
    });
    const result = await createTarget().perform(makeRequest(endpoint.origin));
    expect(result).toMatchObject({ outcome: 'succeeded', responseBody: 'z'.repeat(RESPONSE_BODY_BYTES_MAX) });
  });

  it('that is a gzip bomb is not decompressed', async () => {
    const bomb = gzipSync(Buffer.alloc(20 * 1_048_576));
    expect(bomb.length).toBeLessThan(RESPONSE_DRAINED_BYTES_MAX);
    const endpoint = await startEndpoint({
      onRequest: (socket) => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${bomb.length}\r\n\r\n`);
        socket.write(bomb);
      },
    });
    const { outcome, responseBody = '' } = await createTarget().perform(makeRequest(endpoint.origin));
    expect(outcome).toBe('succeeded');
    expect(Buffer.byteLength(responseBody)).toBeLessThanOrEqual(RESPONSE_BODY_BYTES_MAX);
    expect(responseBody).toContain('\ufffd');
    expect(responseBody).not.toContain('\0');
  });

  it('in pieces is put together, also where a character is split', async () => {
    const bytes = Buffer.from('grün 世界 🙂');
    const endpoint = await startEndpoint({
      onRequest: (socket) => {
        socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
        for (const byte of bytes)
          socket.write(Buffer.concat([Buffer.from('1\r\n'), Buffer.of(byte), Buffer.from('\r\n')]));
        socket.write('0\r\n\r\n');
      },
    });
    const result = await createTarget().perform(makeRequest(endpoint.origin));
    expect(result).toMatchObject({ outcome: 'succeeded', responseBody: 'grün 世界 🙂' });
  });

  it('that ends with the connection, without a length, is complete', async () => {
    const endpoint = await startEndpoint({ onRequest: (socket) => void socket.end('HTTP/1.1 200 OK\r\n\r\nbye') });
    const result = await createTarget().perform(makeRequest(endpoint.origin));
    expect(result).toMatchObject({ outcome: 'succeeded', responseBody: 'bye' });
  });
});

describe('a broken endpoint', () => {
  it('that sends a second answer unasked does not answer the next attempt with it', async () => {
    const endpoint = await startEndpoint({
      onRequest: (socket, index) =>
        void socket.write(
          index === 0 ? formatAnswer(200, 'first') + formatAnswer(200, 'unasked') : formatAnswer(200, 'own'),
        ),
    });
    const target = createTarget();
    for (const responseBody of ['first', 'own']) {
      expect(await target.perform(makeRequest(endpoint.origin))).toMatchObject({ outcome: 'succeeded', responseBody });
    }
    expect(endpoint.connectionCount).toBe(2);
  });

  it('that sends a second answer in a piece of its own does not answer the attempt that waits with it', async () => {
    const endpoint = await startEndpoint({
      onRequest: (socket, index) => {
        // A read takes 64 KB, so that the second answer comes by itself, in the same turn of the event loop.
        const first = formatAnswer(200, 'y'.repeat(65_536 - formatAnswer(200, '').length - 4));
        expect(first).toHaveLength(65_536);
        socket.write(index === 0 ? first + formatAnswer(200, 'unasked') : formatAnswer(200, 'own'));
      },
    });
    const target = createTarget({ maxConnectionsPerOrigin: 1 });
    // The second waits for the connection of the first.
    const [, second] = await Promise.all([1, 2].map(() => target.perform(makeRequest(endpoint.origin))));
    expect(second).toMatchObject({ outcome: 'succeeded', responseBody: 'own' });
    expect([endpoint.requests.length, endpoint.connectionCount]).toEqual([2, 2]);
  });

  it('that closes its connections without a word costs no attempt, though others wait for them', async () => {
    const endpoint = await startEndpoint({ onRequest: (socket) => void socket.end(formatAnswer(200, 'ok')) });
    const target = createTarget({ maxConnectionsPerOrigin: 2 });
    const results = await Promise.all(Array.from({ length: 40 }, () => target.perform(makeRequest(endpoint.origin))));
    expect(results.map(({ outcome }) => outcome)).toEqual(results.map(() => 'succeeded'));
    expect([endpoint.requests.length, endpoint.connectionCount]).toEqual([40, 40]);
  });

  it('whose certificate is self-signed gets nothing, until its authority is trusted', async () => {
    const received: string[] = [];
    const server = createTlsServer({ key: TEST_KEY, cert: SELF_SIGNED_CERTIFICATE }, (socket) => {
      socket.on('data', (chunk: Buffer) => {
        received.push(chunk.toString());
        socket.end(formatAnswer(200, 'secure'));
      });
    });
    server.on('tlsClientError', () => {});
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
    const { port } = server.address() as { port: number };
    try {
      const refused = await createTarget().perform(makeRequest(`https://127.0.0.1:${port}/`));
      expect(refused).toMatchObject({ outcome: 'retryable', error: 'The TLS certificate is self-signed.' });
      expect(refused.sentAt).toBeUndefined();
      expect(received).toEqual([]);
      const target = createTarget({ ca: SELF_SIGNED_CERTIFICATE });
      for (const host of ['127.0.0.1', 'localhost']) {
        const trusted = await target.perform(makeRequest(`https://${host}:${port}/`));
        expect(trusted).toMatchObject({ outcome: 'succeeded', responseBody: 'secure' });
      }
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('gets at most so many attempts queued in front of it', async () => {
    const endpoint = await startEndpoint();
    const target = createTarget({ maxConnectionsPerOrigin: 1 });
    const attempts = Array.from({ length: WAITING_PER_ORIGIN_MAX + 1 }, () =>
      target.perform(makeRequest(endpoint.origin)),
    );
    expect(await target.perform(makeRequest(endpoint.origin))).toMatchObject({
      outcome: 'unsent',
      cause: 'noRoom',
      error: 'Too many requests are waiting for a connection to this host.',
    });
    await target.destroy();
    await Promise.all(attempts);
    expect(endpoint.requests.length).toBeLessThanOrEqual(1);
  });
});
