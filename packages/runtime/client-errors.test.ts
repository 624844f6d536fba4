import { connect, createServer } from 'node:net';
import { expect, it } from 'vitest';
import { answerClientError, REQUEST_HEAD_BYTES_MAX } from './client-errors.ts';
import { Health } from './health.ts';
import { createMetrics } from './metrics.ts';
import { startOpsServer } from './ops-routes.ts';
import { SECURITY_HEADERS } from './security-headers.ts';

/** What comes back from a server of `port` for bytes that are sent as they are. */
function exchange(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (part) => {
      text += part;
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
  });
}

function expectSecurityHeaders(answer: string): void {
  for (const [name, value] of SECURITY_HEADERS)
    expect(answer.toLowerCase()).toContain(`${name}: ${value.toLowerCase()}\r\n`);
  expect(answer).not.toMatch(/^(server|x-powered-by):/im);
}

it.each([
  ['HPE_INVALID_METHOD', 400, 'malformed_http'],
  ['HPE_HEADER_OVERFLOW', 431, 'headers_too_large'],
  ['HPE_CHUNK_EXTENSIONS_OVERFLOW', 413, 'body_too_large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', 408, 'request_timeout'],
  [undefined, 400, 'malformed_http'],
])('what the parser calls %s is answered %i %s, and the connection is closed', async (code, status, problem) => {
  const server = createServer((socket) => {
    socket.once('data', () => answerClientError(Object.assign(new Error('x'), code && { code }), socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const answer = await exchange((server.address() as { port: number }).port, 'x');
    const [head, body] = answer.split('\r\n\r\n') as [string, string];
    expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(head).toContain(`content-length: ${Buffer.byteLength(body)}`);
    expectSecurityHeaders(`${head}\r\n`);
    expect(JSON.parse(body)).toMatchObject({ status, code: problem });
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

it.each([
  ['health', 'GET /v1/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n', 200],
  ['metrics', 'GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n', 200],
  ['an unknown route', 'GET /secret HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n', 404],
  ['a bad URL', 'GET /%zz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n', 400],
  ['no HTTP', 'nonsense\r\n\r\n', 400],
  ['a head that is too large', `GET / HTTP/1.1\r\na: ${'x'.repeat(REQUEST_HEAD_BYTES_MAX)}\r\n\r\n`, 431],
])(
  'the health server of a service answers %s with the security headers, and repeats nothing of it',
  async (_name, bytes, status) => {
    const health = new Health('1.2.3');
    health.markStarted();
    const server = await startOpsServer({ host: '127.0.0.1', port: 0, health, metrics: createMetrics('test') });
    try {
      const answer = await exchange(server.port, bytes);
      expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      expectSecurityHeaders(answer);
      expect(answer).not.toMatch(/fastify|secret|zz/i);
    } finally {
      await server.close();
    }
  },
);
