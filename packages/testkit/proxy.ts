import { connect, createServer, type Socket } from 'node:net';

/** A way to a server that a test can cut, while others go on using the server. */
export interface ServerProxy {
  /** The server's URL, by way of the proxy. */
  url: string;
  /** From now on connections are refused; those open are closed. */
  cut(): Promise<void>;
  /** From now on connections open, but nothing passes in either direction: a host that swallows packets. */
  stall(): void;
  /** As at the beginning. What was stalled stays lost: its connections are closed. */
  restore(): Promise<void>;
  close(): Promise<void>;
}

/** Listens on loopback and passes everything on to the server of `targetUrl`. */
export async function startProxy(targetUrl: string): Promise<ServerProxy> {
  const target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let isStalled = false;
  const server = createServer((socket) => {
    track(socket);
    if (isStalled) return;
    const upstream = connect(Number(target.port), target.hostname);
    track(upstream);
    for (const [from, to] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      from.on('data', (bytes) => {
        if (!isStalled) to.write(bytes);
      });
      from.on('close', () => to.destroy());
    }
  });
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  };
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const close = async () => {
    if (!server.listening) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  await listen(0);
  const { port } = server.address() as { port: number };
  const url = new URL(targetUrl);
  url.host = `127.0.0.1:${port}`;
  return {
    url: url.toString(),
    cut: close,
    stall() {
      isStalled = true;
    },
    async restore() {
      await close();
      isStalled = false;
      await listen(port);
    },
    close,
  };
}
