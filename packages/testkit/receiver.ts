import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';

/** One request as the endpoint got it. */
export interface ReceivedRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
  /** Epoch ms by this host's clock. */
  receivedAt: number;
}

/** What an endpoint does with a request; `hang` never answers. */
export type Answer = { status?: number; headers?: Record<string, string>; body?: string; delayMs?: number } | 'hang';

/** An endpoint on loopback that writes down every request. */
export interface Receiver {
  /** `http://` and the address, without a path. */
  url: string;
  requests: ReceivedRequest[];
  /** Replaces what it answers from now on. */
  answer: (request: ReceivedRequest) => Answer | Promise<Answer>;
  /** Connections that were accepted. */
  connectionCount: number;
  /** Requests that have not been answered. */
  readonly openCount: number;
  /** Answers those that hang with 200. */
  releaseHanging(): void;
  close(): Promise<void>;
}

/** Starts one that answers as `answer` says, 200 when absent; at another address of loopback, or a certain port, if told. */
export async function startReceiver(
  answer: Receiver['answer'] = () => ({}),
  { address = '127.0.0.1', port = 0 } = {},
): Promise<Receiver> {
  const hanging = new Set<ServerResponse>();
  let openCount = 0;
  const server = createServer((message, response) => {
    openCount += 1;
    response.on('close', () => {
      openCount -= 1;
      hanging.delete(response);
    });
    const chunks: Buffer[] = [];
    message.on('data', (chunk: Buffer) => chunks.push(chunk));
    message.on('end', async () => {
      const request: ReceivedRequest = {
        method: message.method ?? '',
        path: message.url ?? '',
        headers: message.headers,
        body: Buffer.concat(chunks).toString('utf8'),
        receivedAt: Date.now(),
      };
      receiver.requests.push(request);
      const chosen = await receiver.answer(request);
      if (chosen === 'hang') {
        hanging.add(response);
        return;
      }
      if (chosen.delayMs) await new Promise((resolve) => setTimeout(resolve, chosen.delayMs));
      response.writeHead(chosen.status ?? 200, chosen.headers).end(chosen.body ?? '');
    });
  });
  // A loaded machine must not make the endpoint close connections that the worker still uses.
  server.keepAliveTimeout = 60_000;
  server.on('connection', () => {
    receiver.connectionCount += 1;
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, resolve);
  });
  const receiver: Receiver = {
    url: `http://${address}:${(server.address() as { port: number }).port}`,
    requests: [],
    connectionCount: 0,
    answer,
    get openCount() {
      return openCount;
    },
    releaseHanging() {
      for (const response of hanging) response.writeHead(200).end();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return receiver;
}
