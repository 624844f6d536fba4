import { createServer, type Server, type Socket } from 'node:net';

/** An endpoint that answers with whatever bytes a test wants, at whatever pace. */
export interface RawEndpoint {
  port: number;
  /** `http://` and the address. */
  origin: string;
  /** Each request received, head and body as sent. */
  requests: string[];
  /** Connections accepted so far, and those still open. */
  connectionCount: number;
  readonly openCount: number;
  close(): Promise<void>;
}

export interface RawEndpointOptions {
  address?: string;
  port?: number;
  /** Called for each complete request. */
  onRequest?: (socket: Socket, index: number) => void;
  onConnection?: (socket: Socket) => void;
}

/** Listens on loopback. A request counts as complete when its body has the length that its head announces. */
export async function startRawEndpoint(options: RawEndpointOptions = {}): Promise<RawEndpoint> {
  const { address = '127.0.0.1', port = 0 } = options;
  const sockets = new Set<Socket>();
  const requests: string[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    endpoint.connectionCount += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.end());
    options.onConnection?.(socket);
    let received = '';
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
      for (let length = findRequestEnd(received); length > 0; length = findRequestEnd(received)) {
        requests.push(received.slice(0, length));
        received = received.slice(length);
        options.onRequest?.(socket, requests.length - 1);
      }
    });
  });
  const actualPort = await listen(server, port, address);
  const endpoint: RawEndpoint = {
    port: actualPort,
    origin: `http://${address.includes(':') ? `[${address}]` : address}:${actualPort}`,
    requests,
    connectionCount: 0,
    get openCount() {
      return sockets.size;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  return endpoint;
}

/** An answer with a length, which leaves the connection open. */
export function formatAnswer(status: number, body = '', headers: Record<string, string> = {}): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} Whatever\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${lines.join('')}\r\n${body}`;
}

/** Length of the first request in the text, 0 while it is incomplete. */
function findRequestEnd(text: string): number {
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd === -1) return 0;
  const announced = /\r\ncontent-length: (\d+)\r\n/i.exec(text.slice(0, headEnd + 2));
  const length = headEnd + 4 + Number(announced?.[1] ?? 0);
  return text.length >= length ? length : 0;
}

function listen(server: Server, port: number, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, () => resolve((server.address() as { port: number }).port));
  });
}
