import type { Socket } from 'node:net';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RESPONSE_BODY_BYTES_MAX } from './response-text.ts';
import { makeRequest, useLoopback } from './test-support/loopback-target.ts';
import { formatAnswer } from './test-support/raw-endpoint.ts';

const { createTarget, startEndpoint } = useLoopback();

const fragment = fc.oneof(
  fc.constantFrom(
    'HTTP/1.1 200 OK\r\n',
    'HTTP/1.0 200\r\n',
    'HTTP/1.1 100 Continue\r\n\r\n',
    'HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n',
    'HTTP/1.1 103 Early\r\n\r\n',
    'HTTP/1.1 204 None\r\n\r\n',
    'HTTP/1.1 304 Same\r\ncontent-length: 9\r\n\r\n',
    'HTTP/1.1 500 Oops\r\n',
    'content-length: 3\r\n',
    'content-length: 0\r\n',
    'content-length: 99999999999999999999\r\n',
    'content-length: -1\r\n',
    'transfer-encoding: chunked\r\n',
    'transfer-encoding: gzip, chunked\r\n',
    'connection: close\r\n',
    'connection: upgrade\r\nupgrade: h2c\r\n',
    'keep-alive: timeout=0\r\n',
    'keep-alive: timeout=99999999999\r\n',
    'retry-after: 5\r\n',
    '__proto__: x\r\n',
    'constructor: x\r\n',
    '\r\n',
    '3\r\nabc\r\n',
    '0\r\n\r\n',
    'ffffffffffffffff\r\n',
    'abc',
  ),
  fc.string({ unit: 'binary', maxLength: 40 }),
);
const ending = fc.constantFrom('end', 'reset', 'answer');

it('whatever bytes an endpoint answers, each attempt ends in one outcome and the next endpoint is served', async () => {
  let script: { fragments: string[]; ending: string } = { fragments: [], ending: 'end' };
  const hostile = await startEndpoint({
    onRequest: (socket: Socket) => {
      for (const each of script.fragments) socket.write(each, 'latin1');
      if (script.ending === 'reset') socket.resetAndDestroy();
      else socket.end(script.ending === 'answer' ? formatAnswer(200, 'ok') : '');
    },
  });
  const friendly = await startEndpoint({ onRequest: (socket) => void socket.write(formatAnswer(200, 'ok')) });
  const target = createTarget();
  await fc.assert(
    fc.asyncProperty(fc.array(fragment, { maxLength: 8 }), ending, async (fragments, end) => {
      script = { fragments, ending: end };
      // Nothing may hang, since the connection ends: the deadline is there to show it if something does.
      const result = await target.perform(makeRequest(hostile.origin, { timeoutMs: 2_000 }));
      expect(['succeeded', 'retryable', 'permanent']).toContain(result.outcome);
      expect(result.outcome === 'succeeded').toBe(result.error === undefined);
      const body = result.responseBody ?? '';
      expect(Buffer.byteLength(body)).toBeLessThanOrEqual(RESPONSE_BODY_BYTES_MAX);
      expect(body.isWellFormed() && !body.includes('\0')).toBe(true);
      expect(await target.perform(makeRequest(friendly.origin))).toMatchObject({ outcome: 'succeeded' });
    }),
    { numRuns: 300 },
  );
  await target.close();
  expect(target.stats).toEqual({ inFlight: 0, idleConnections: 0, origins: 0 });
});
