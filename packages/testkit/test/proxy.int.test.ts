import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type ServerProxy, startProxy } from '../proxy.ts';
import { createRandom } from '../random.ts';

const NUMBERS = Array.from({ length: 2_000 }, (_, number) => number);

let started: AsyncDisposableStack;
let proxy: ServerProxy;
let client: Socket;
let upstream: Socket;

beforeEach(async () => {
  started = new AsyncDisposableStack();
  const server = createServer().listen(0, '127.0.0.1');
  started.defer(() => void server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  proxy = await startProxy(`tcp://127.0.0.1:${port}`, createRandom(1));
  started.defer(() => proxy.close());
  client = connect(Number(new URL(proxy.url).port), '127.0.0.1');
  started.defer(() => void client.destroy());
  [upstream] = (await once(server, 'connection')) as [Socket];
  started.defer(() => void upstream.destroy());
});

afterEach(() => started.disposeAsync());

/** Reads lines until there are as many as were sent. */
async function readNumbers(socket: Socket): Promise<number[]> {
  let text = '';
  for await (const piece of socket) {
    text += piece;
    if (text.split('\n').length > NUMBERS.length) break;
  }
  return text.trimEnd().split('\n').map(Number);
}

it('passes pieces late and in the order in which they were sent, when the delay ends as well', async () => {
  const received = readNumbers(client);
  for (const number of NUMBERS) {
    if (number % 400 === 0) proxy.disturb({ latencyMs: 3, jitterMs: 6 });
    if (number % 400 === 200) proxy.disturb({});
    upstream.write(`${number}\n`);
    await turn();
  }
  expect(await received).toEqual(NUMBERS);
});
