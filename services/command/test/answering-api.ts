import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach } from 'vitest';

export interface Asked {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  body: unknown;
}

/** What a request is answered; `cut`: its connection is cut instead. */
export type Reply = { status?: number; body?: unknown; headers?: Record<string, string>; text?: string; cut?: true };

/** A server that answers what a test says, one reply for each request: what comes from a proxy, or from an api in trouble. */
export function useAnsweringApi() {
  const asked: Asked[] = [];
  let replies: Reply[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const part of request.setEncoding('utf8')) text += part;
    const { method = '', url = '', headers } = request;
    asked.push({ method, url, headers, body: text === '' ? undefined : JSON.parse(text) });
    const { status = 200, body, headers: more = {}, text: plain, cut } = replies.shift() ?? { status: 500 };
    if (cut) {
      request.socket.destroy();
      return;
    }
    const type = plain === undefined ? 'application/json' : 'text/html';
    response.writeHead(status, { 'content-type': type, ...more });
    response.end(plain ?? (body === undefined ? '' : JSON.stringify(body)));
  });
  beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
  afterAll(() => new Promise((resolve) => server.close(resolve)));
  beforeEach(() => {
    asked.length = 0;
    replies = [];
  });
  return {
    asked,
    get url() {
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    },
    reply(...next: Reply[]) {
      replies = next;
    },
  };
}
