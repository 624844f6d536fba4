import type { Socket } from 'node:net';
import { waitUntil } from '@punctual/testkit';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { type AttemptResult, OUTPUT_BYTES_MAX } from './http-attempt.ts';
import { type AttemptRequest, TargetClosedError } from './http-target.ts';
import { makeRequest, useLoopback } from './test-support/loopback-target.ts';
import { formatAnswer } from './test-support/raw-endpoint.ts';

const { createTarget, startEndpoint } = useLoopback();
const answerOk = {
  onRequest: (socket: Socket) => void socket.write(formatAnswer(200, '{"ok":true}')),
};

/** Names in lower case, values as sent; the body under the empty name. */
function readRequest(text: string): { line: string; headers: Map<string, string>; body: string } {
  const [head = '', body = ''] = text.split('\r\n\r\n');
  const [line = '', ...lines] = head.split('\r\n');
  const headers = new Map(
    lines.map((each) => [each.slice(0, each.indexOf(':')).toLowerCase(), each.slice(each.indexOf(':') + 2)]),
  );
  return { line, headers, body };
}

describe('the request', () => {
  it('carries the headers of the interface, the body, path and query', async () => {
    const endpoint = await startEndpoint(answerOk);
    const request = makeRequest(`${endpoint.origin}/hook?x=1#fragment`, { attempt: 3, headers: { 'X-Own': 'yes' } });
    const sentAfter = Date.now();
    const result = await createTarget().perform(request);

    expect(result).toMatchObject({ outcome: 'succeeded', httpStatus: 200, responseBody: '{"ok":true}' });
    expect(result.error).toBeUndefined();
    expect(result.durationMs).toBeGreaterThanOrEqual(0);
    expect(result.sentAt).toBeGreaterThanOrEqual(sentAfter);
    const { line, headers, body } = readRequest(endpoint.requests[0] ?? '');
    expect(line).toBe('POST /hook?x=1 HTTP/1.1');
    expect(body).toBe('{"a":1}');
    expect(Math.abs(Number(headers.get('webhook-timestamp')) * 1_000 - sentAfter)).toBeLessThanOrEqual(2_000);
    headers.delete('webhook-timestamp');
    expect(Object.fromEntries(headers)).toEqual({
      host: `127.0.0.1:${endpoint.port}`,
      connection: 'keep-alive',
      'content-length': '7',
      'content-type': 'application/json',
      'webhook-id': request.timerId,
      'idempotency-key': request.timerId,
      'punctual-attempt': '3',
      'punctual-due-at': '2027-01-02T03:04:05.678Z',
      'user-agent': 'punctual/1.2.3',
      'x-own': 'yes',
    });
  });

  it('keeps a content type of the customer, and sends none without a body', async () => {
    const endpoint = await startEndpoint(answerOk);
    const target = createTarget();
    await target.perform(makeRequest(endpoint.origin, { headers: { 'Content-Type': 'text/plain' } }));
    await target.perform(makeRequest(endpoint.origin, { method: 'GET', body: undefined }));
    const [withBody, withoutBody] = endpoint.requests.map(readRequest);
    expect(withBody?.headers.get('content-type')).toBe('text/plain');
    expect(endpoint.requests[0]?.match(/content-type/gi)).toHaveLength(1);
    expect(withoutBody?.line).toBe('GET / HTTP/1.1');
    expect(withoutBody?.headers.has('content-type')).toBe(false);
  });

  it.each(['{"a":"é✓"}', Buffer.from([0, 255, 13, 10])])('has the body %j, byte by byte', async (body) => {
    const endpoint = await startEndpoint(answerOk);
    await createTarget().perform(makeRequest(endpoint.origin, { body, headers: { 'x-a': 'é' } }));
    const [head, sent] = endpoint.requests[0]!.split('\r\n\r\n');
    expect(sent).toBe(Buffer.from(body).toString('latin1'));
    expect(head).toContain('\r\nx-a: é\r\n');
  });

  it('lets no customer header replace a reserved one, even when one was stored', async () => {
    const endpoint = await startEndpoint(answerOk);
    const headers = {
      Host: 'evil.example',
      'Transfer-Encoding': 'chunked',
      'Content-Length': '1',
      Connection: 'close',
      'Webhook-ID': 'forged',
      'Punctual-Attempt': '99',
      'Proxy-Authorization': 'x',
      'User-Agent': 'forged',
    };
    await createTarget().perform(makeRequest(endpoint.origin, { headers }));
    const sent = endpoint.requests[0] ?? '';
    expect(sent).not.toMatch(/forged|evil|chunked|proxy/i);
    expect(sent.match(/^punctual-attempt: .*$/gim)).toEqual(['punctual-attempt: 1']);
    expect(sent.match(/^content-length: .*$/gim)).toEqual(['content-length: 7']);
    expect(sent.match(/^connection: .*$/gim)).toEqual(['connection: keep-alive']);
  });

  it('with an invalid header or method is final and never sent', async () => {
    const endpoint = await startEndpoint(answerOk);
    const target = createTarget();
    const broken: Partial<AttemptRequest>[] = [
      { headers: { 'x-a': 'a\r\nx-injected: 1' } },
      { headers: { 'bad name': 'x' } },
      { method: 'GET / HTTP/1.1\r\nx: ' as 'GET' },
    ];
    for (const overrides of broken) {
      const result = await target.perform(makeRequest(endpoint.origin, overrides));
      expect(result).toMatchObject({ outcome: 'permanent', sentAt: undefined });
    }
    expect(endpoint.requests).toEqual([]);
    expect(target.stats).toEqual({ inFlight: 0, idleConnections: 0, origins: 0 });
  });

  it('is signed so that the reference implementation verifies it with each secret', async () => {
    const endpoint = await startEndpoint(answerOk);
    const secrets = [1, 2].map((fill) => `whsec_${Buffer.alloc(24 + fill, fill).toString('base64')}`);
    const body = JSON.stringify({ text: 'Grüße, 世界 🙂' });
    for (const each of [body, Buffer.from(body)]) {
      await createTarget().perform(makeRequest(endpoint.origin, { body: each, signingSecrets: secrets }));
    }
    for (const text of endpoint.requests) {
      const { headers, body: received } = readRequest(text);
      expect(headers.get('webhook-signature')?.split(' ')).toHaveLength(2);
      for (const secret of secrets) {
        const bytes = Buffer.from(received, 'latin1').toString('utf8');
        expect(new Webhook(secret).verify(bytes, Object.fromEntries(headers))).toEqual(JSON.parse(body));
      }
    }
  });

  it('goes out unsigned to nobody: with a malformed secret it is final and never sent', async () => {
    const endpoint = await startEndpoint(answerOk);
    const target = createTarget();
    const short = Buffer.alloc(23).toString('base64');
    for (const secret of ['', 'whsec_', 'whsec_!!!!', `whsec_${short}`, Buffer.alloc(32).toString('base64')]) {
      const result = await target.perform(makeRequest(endpoint.origin, { signingSecrets: [secret] }));
      expect(result).toMatchObject({ outcome: 'permanent', error: 'A signing secret of the tenant is malformed.' });
    }
    expect(endpoint.requests).toEqual([]);
  });
});

describe('the answer', () => {
  it.each([
    [200, 'succeeded'],
    [204, 'succeeded'],
    [299, 'succeeded'],
    [300, 'permanent'],
    [301, 'permanent'],
    [304, 'permanent'],
    [307, 'permanent'],
    [400, 'permanent'],
    [401, 'permanent'],
    [404, 'permanent'],
    [408, 'retryable'],
    [409, 'permanent'],
    [410, 'permanent'],
    [425, 'retryable'],
    [429, 'retryable'],
    [500, 'retryable'],
    [503, 'retryable'],
    [599, 'retryable'],
    [600, 'permanent'],
    [999, 'permanent'],
  ])('%i ends as %s', async (status, outcome) => {
    const endpoint = await startEndpoint({ onRequest: (socket) => void socket.write(formatAnswer(status)) });
    const result = await createTarget().perform(makeRequest(endpoint.origin));
    expect(result).toMatchObject({ outcome, httpStatus: status, responseBody: undefined });
    if (outcome !== 'succeeded') expect(result.error).toContain(String(status));
  });

  it('that redirects to itself is not followed', async () => {
    const endpoint = await startEndpoint({
      onRequest: (socket) => void socket.write(formatAnswer(302, 'moved', { location: '/' })),
    });
    const result = await createTarget().perform(makeRequest(endpoint.origin));
    expect(result).toMatchObject({ outcome: 'permanent', httpStatus: 302, responseBody: 'moved' });
    expect(result.error).toBe('The endpoint answered 302; redirects are not followed.');
    expect(endpoint.requests).toHaveLength(1);
  });

  it.each([
    ['7', 7_000],
    ['0', 0],
    ['99999999', 86_400_000],
    ['soon', undefined],
    ['-5', undefined],
  ])('with Retry-After %s asks for %s ms', async (value, expected) => {
    const endpoint = await startEndpoint({
      onRequest: (socket) => void socket.write(formatAnswer(503, '', { 'Retry-After': value })),
    });
    const result = await createTarget().perform(makeRequest(endpoint.origin));
    expect(result.retryAfterMs).toBe(expected);
  });

  it('with Retry-After as a date asks for the time until then, and a success asks for nothing', async () => {
    let status = 429;
    const endpoint = await startEndpoint({
      onRequest: (socket) => {
        const at = new Date(Date.now() + 60_000).toUTCString();
        socket.write(formatAnswer(status, '', { 'retry-after': at }));
      },
    });
    const target = createTarget();
    const { retryAfterMs } = await target.perform(makeRequest(endpoint.origin));
    expect(retryAfterMs).toBeGreaterThan(55_000);
    expect(retryAfterMs).toBeLessThanOrEqual(60_000);
    status = 200;
    expect((await target.perform(makeRequest(endpoint.origin))).retryAfterMs).toBeUndefined();
  });

  it('to HEAD, and after early hints, is understood', async () => {
    const endpoint = await startEndpoint({
      onRequest: (socket, index) => {
        const hints = 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n';
        socket.write(
          index === 0 ? hints + hints + formatAnswer(200, 'ok') : 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n',
        );
      },
    });
    const target = createTarget();
    expect(await target.perform(makeRequest(endpoint.origin))).toMatchObject({ httpStatus: 200, responseBody: 'ok' });
    const head = await target.perform(makeRequest(endpoint.origin, { method: 'HEAD', body: undefined }));
    expect(head).toMatchObject({ outcome: 'succeeded', responseBody: undefined });
  });
});

it('an answer of a megabyte is kept whole as an output, and a larger one is refused', async () => {
  let output = JSON.stringify('x'.repeat(OUTPUT_BYTES_MAX - 2));
  const endpoint = await startEndpoint({ onRequest: (socket) => void socket.write(formatAnswer(200, output)) });
  const target = createTarget();
  const result = await target.perform(makeRequest(endpoint.origin, { keepsOutput: true }));
  expect(result).toMatchObject({ outcome: 'succeeded', error: undefined });
  expect((result as AttemptResult).output).toBe(output);
  output = JSON.stringify('x'.repeat(OUTPUT_BYTES_MAX - 1));
  const refused = await target.perform(makeRequest(endpoint.origin, { keepsOutput: true }));
  expect(refused).toMatchObject({ outcome: 'permanent', error: expect.stringContaining('is larger than') });
});

describe('the origin of a URL', () => {
  it('is the one that its connections belong to, in whatever way its host is spelt', async () => {
    const endpoint = await startEndpoint(answerOk);
    const target = createTarget({ resolveHost: async () => [{ address: '127.0.0.1', family: 4 }] });
    const spellings = ['name.example', 'name.example.', 'NAME.Example.'].map(
      (host) => `http://${host}:${endpoint.port}/`,
    );
    for (const url of spellings) {
      expect([url, target.readOrigin(url)]).toEqual([url, `http://name.example:${endpoint.port}`]);
      expect(await target.perform(makeRequest(url))).toMatchObject({ outcome: 'succeeded' });
    }
    expect([target.stats.origins, endpoint.connectionCount]).toEqual([1, 1]);
  });

  it('is empty where the URL would be refused', () => {
    const target = createTarget();
    for (const url of ['no url', 'ftp://name.example/', 'http://10.0.0.1/']) expect(target.readOrigin(url)).toBe('');
  });
});

describe('closing', () => {
  it('leaves no timer behind that would keep the process alive until the deadline', async () => {
    const countTimers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const endpoint = await startEndpoint(answerOk);
    const target = createTarget();
    const before = countTimers();
    for (let count = 0; count < 5; count += 1)
      await target.perform(makeRequest(endpoint.origin, { timeoutMs: 60_000 }));
    await target.close();
    expect(countTimers()).toBeLessThanOrEqual(before);
  });

  it('waits for attempts under way, takes no more and leaves no connection', async () => {
    const sockets: Socket[] = [];
    const endpoint = await startEndpoint({ onRequest: (socket) => void sockets.push(socket) });
    const target = createTarget();
    const attempt = target.perform(makeRequest(endpoint.origin));
    await waitUntil('the request arrived', () => sockets.length === 1);
    let isClosed = false;
    const closing = target.close().then(() => {
      isClosed = true;
    });
    await expect(target.perform(makeRequest(endpoint.origin))).rejects.toThrow(TargetClosedError);
    expect(isClosed).toBe(false);
    sockets[0]?.write(formatAnswer(200, 'late'));
    expect(await attempt).toMatchObject({ outcome: 'succeeded', responseBody: 'late' });
    await closing;
    await target.close();
    await waitUntil('the connection is closed', () => endpoint.openCount === 0);
    expect(endpoint.requests).toHaveLength(1);
  });

  it('by destroy ends attempts under way and those waiting at once, as retryable', async () => {
    const endpoint = await startEndpoint();
    const target = createTarget({ maxConnectionsPerOrigin: 1 });
    const attempts = [1, 2].map(() => target.perform(makeRequest(endpoint.origin)));
    await waitUntil('the request arrived', () => endpoint.requests.length === 1);
    await target.destroy();
    const results = await Promise.all(attempts);
    expect(results).toMatchObject([{ outcome: 'retryable' }, { outcome: 'retryable', sentAt: undefined }]);
    await waitUntil('the connection is closed', () => endpoint.openCount === 0);
    expect(endpoint.connectionCount).toBe(1);
    expect(target.stats).toEqual({ inFlight: 0, idleConnections: 0, origins: 0 });
  });
});
