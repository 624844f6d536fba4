import { connect } from 'node:net';
import { REQUEST_HEAD_BYTES_MAX, SECURITY_HEADERS, VERSION } from '@punctual/runtime';
import { createTestDatabase, createTestLogger, type TestDatabase } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readApiConfig } from '../config.ts';
import { type RunningApi, startApi } from '../start.ts';
import { TEST_KEY } from './open-test-api.ts';

let testDatabase: TestDatabase;
let api: RunningApi;
beforeAll(async () => {
  testDatabase = await createTestDatabase(2);
  const { logger } = createTestLogger();
  const settings = { BOOTSTRAP_API_KEY: TEST_KEY, PORT: '0', HOST: '127.0.0.1', API_BODY_BYTES_MAX: '1024' };
  api = await startApi({ config: readApiConfig({ DATABASE_URL: testDatabase.url, ...settings }), logger });
});
afterAll(async () => {
  await api.stop();
  await testDatabase.drop();
});

interface WireAnswer {
  status: number;
  headers: Map<string, string>;
  body: string;
}

/** Sends bytes as they are, and reads what comes until the connection closes. */
function send(bytes: string): Promise<WireAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(api.port, '127.0.0.1', () => socket.write(bytes, 'latin1'));
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (part) => {
      text += part;
    });
    socket.on('error', reject);
    socket.on('close', () => {
      const [head = '', body = ''] = text.split('\r\n\r\n', 2);
      const [line = '', ...lines] = head.split('\r\n');
      const headers = lines.map((header): [string, string] => {
        const colon = header.indexOf(':');
        return [header.slice(0, colon).toLowerCase(), header.slice(colon + 1).trim()];
      });
      resolve({ status: Number(line.split(' ')[1]), headers: new Map(headers), body });
    });
  });
}

const HOST = 'host: x\r\nconnection: close\r\n';
const AUTH = `authorization: Bearer ${TEST_KEY}\r\n`;
const JSON_TYPE = 'content-type: application/json\r\n';
const post = (body: string, headers: string = JSON_TYPE) =>
  `POST /v1/timers HTTP/1.1\r\n${HOST}${AUTH}${headers}content-length: ${body.length}\r\n\r\n${body}`;

/** Every kind of answer, from those of a route to those that Node gives before there is a request. */
const REQUESTS: [name: string, bytes: string, status: number, code: string | undefined][] = [
  ['a route', `GET /v1/timers HTTP/1.1\r\n${HOST}${AUTH}\r\n`, 200, undefined],
  ['a creation', post('{"action":{"type":"noop"}}'), 201, undefined],
  ['health', `GET /v1/health/live HTTP/1.1\r\n${HOST}\r\n`, 200, undefined],
  ['metrics', `GET /metrics HTTP/1.1\r\n${HOST}\r\n`, 200, undefined],
  ['no key', `GET /v1/timers HTTP/1.1\r\n${HOST}\r\n`, 401, 'unauthorized'],
  ['no such route', `GET /nowhere HTTP/1.1\r\n${HOST}\r\n`, 404, 'not_found'],
  ['a method that the route has not', `PUT /v1/timers HTTP/1.1\r\n${HOST}${AUTH}\r\n`, 405, 'method_not_allowed'],
  ['a method that nothing has', `PROPFIND /v1/timers HTTP/1.1\r\n${HOST}${AUTH}\r\n`, 405, 'method_not_allowed'],
  ['a bad escape in the path', `GET /v1/timers/%zz HTTP/1.1\r\n${HOST}${AUTH}\r\n`, 400, 'invalid_request'],
  ['a path that is too long', `GET /v1/timers/${'x'.repeat(300)} HTTP/1.1\r\n${HOST}${AUTH}\r\n`, 414, 'url_too_long'],
  ['a NUL in the path', `GET /v1/timers/%00 HTTP/1.1\r\n${HOST}${AUTH}\r\n`, 400, 'invalid_request'],
  ['a bad body', post('{'), 400, 'invalid_request'],
  ['another type of body', post('x', 'content-type: text/plain\r\n'), 415, 'unsupported_media_type'],
  ['a body that is too large', post(`"${'x'.repeat(2_000)}"`), 413, 'body_too_large'],
  ['no host', 'GET /v1/timers HTTP/1.1\r\nconnection: close\r\n\r\n', 400, 'malformed_http'],
  ['an impossible expectation', `GET / HTTP/1.1\r\n${HOST}expect: miracles\r\n\r\n`, 417, 'expectation_failed'],
  ['no HTTP at all', 'EHLO example.com\r\n\r\n', 400, 'malformed_http'],
  ['two lengths', `POST / HTTP/1.1\r\n${HOST}content-length: 1\r\ncontent-length: 2\r\n\r\n`, 400, 'malformed_http'],
  [
    'a broken chunk',
    `POST /v1/timers HTTP/1.1\r\n${HOST}${AUTH}${JSON_TYPE}transfer-encoding: chunked\r\n\r\nzz\r\n`,
    400,
    'malformed_http',
  ],
  ['a control character in a header', `GET / HTTP/1.1\r\n${HOST}a: \x01\r\n\r\n`, 400, 'malformed_http'],
  [
    'headers that are too large',
    `GET / HTTP/1.1\r\n${HOST}a: ${'x'.repeat(REQUEST_HEAD_BYTES_MAX)}\r\n\r\n`,
    431,
    'headers_too_large',
  ],
];

describe('every kind of answer', () => {
  test.each(REQUESTS)(
    '%s: has the security headers, names no software, and is a problem when it is one',
    async (_name, bytes, status, code) => {
      const answer = await send(bytes);
      expect(answer.status).toBe(status);
      for (const [name, value] of SECURITY_HEADERS) expect(answer.headers.get(name), name).toBe(value);
      const names = [...answer.headers.keys()];
      expect(names.filter((name) => /^(server|via|x-powered-by|x-runtime|x-aspnet.*)$/.test(name))).toEqual([]);
      const head = [...answer.headers].flat().join('\n');
      expect(head).not.toMatch(/fastify|node|express/i);
      expect(head).not.toContain(VERSION);
      if (code === undefined) return;
      expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
      expect(JSON.parse(answer.body)).toMatchObject({
        type: 'about:blank',
        title: expect.any(String),
        status,
        detail: expect.any(String),
        code,
        requestId: expect.any(String),
      });
      expect(answer.body).not.toMatch(/fastify|FST_|HPE_|\bnode\b|\.ts\b|\bat \w/i);
    },
  );

  test('no header is dropped for being one of many', async () => {
    const many = Array.from({ length: 2_500 }, () => 'a:\r\n').join('');
    const head = `GET /v1/timers HTTP/1.1\r\n${HOST}${many}${AUTH}\r\n`;
    expect(head.length).toBeLessThan(REQUEST_HEAD_BYTES_MAX);
    expect((await send(head)).status).toBe(200);
  });
});
