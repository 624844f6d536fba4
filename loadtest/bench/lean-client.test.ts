import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { LeanClient } from './lean-client.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).toReversed()) close();
});

async function open(connectionsMax: number, serve: RequestListener) {
  const server = createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = new LeanClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, connectionsMax);
  closers.push(
    () => server.close(),
    () => client.close(),
  );
  return client;
}

test('sends requests over a few connections, and gives each its own answer, whole', async () => {
  const sockets = new Set<unknown>();
  const client = await open(3, async (request, response) => {
    sockets.add(request.socket);
    let body = '';
    for await (const chunk of request) body += chunk;
    response.statusCode = body === '' ? 404 : 201;
    const text = `${request.method} ${request.url} ${request.headers['x-test']} ${body.length} ${'ü'.repeat(50_000)}`;
    response.setHeader('content-length', Buffer.byteLength(text));
    response.end(text);
  });
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      client.send('POST', `/${index}`, `x-test: ${index}\r\n`, 'ä'.repeat(index)),
    ),
  );
  for (const [index, { status, body }] of answers.entries()) {
    expect(status).toBe(index === 0 ? 404 : 201);
    expect(body).toBe(`POST /${index} ${index} ${index} ${'ü'.repeat(50_000)}`);
  }
  expect(sockets.size).toBe(3);
});

test('a connection that breaks fails its own request, and the next one has another', async () => {
  let requests = 0;
  const client = await open(1, (request, response) => {
    requests += 1;
    if (requests === 1) request.socket.destroy();
    else response.setHeader('content-length', 2).end('ok');
  });
  await expect(client.send('GET', '/', '')).rejects.toThrow('broke');
  expect(await client.send('GET', '/', '')).toEqual({ status: 200, body: 'ok' });
});

test('the order of those that wait stays while the list of them is cut', async () => {
  const paths: string[] = [];
  const client = await open(2, (request, response) => {
    paths.push(request.url!);
    response.setHeader('content-length', 0).end();
  });
  // More than the list holds before it is cut.
  await Promise.all(Array.from({ length: 12_000 }, (_, index) => client.send('GET', `/${index}`, '')));
  expect(paths).toHaveLength(12_000);
  expect(new Set(paths).size).toBe(12_000);
  // Two connections may overtake one another by one request.
  const places = paths.map((path, index) => Math.abs(Number(path.slice(1)) - index));
  expect(Math.max(...places)).toBeLessThan(3);
});
