import { createServer, type Server, type Socket } from 'node:net';

/** Ports at which a canary listens, on each loopback address. */
const PORTS = 2;
/** How often a port that is free on one address may be taken on the other before the canary gives up. */
const TRIES_MAX = 20;

/** What must never be connected to: listeners on loopback that count whoever comes. */
export interface Canary {
  ports: readonly number[];
  /** Connections seen so far, as `address:port`. */
  connections: string[];
  close(): Promise<void>;
}

/** Listens on 127.0.0.1 and, where the machine has IPv6, on ::1, at the same ports. */
export async function startCanary(): Promise<Canary> {
  const connections: string[] = [];
  const sockets = new Set<Socket>();
  const servers: Server[] = [];
  const listen = async (host: string, port: number): Promise<number> => {
    const server = createServer((socket) => {
      connections.push(`${socket.localAddress}:${socket.localPort}`);
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => server.on('error', reject).listen({ host, port }, resolve));
    servers.push(server);
    return (server.address() as { port: number }).port;
  };
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  };
  const ports: number[] = [];
  try {
    for (let tries = 0; ports.length < PORTS; tries += 1) {
      const port = await listen('127.0.0.1', 0);
      const fault = await listen('::1', port).then(
        () => undefined,
        ({ code }: NodeJS.ErrnoException) => code,
      );
      // A machine without IPv6 has nothing at ::1 that could be reached.
      if (fault === undefined || fault === 'EADDRNOTAVAIL' || fault === 'EAFNOSUPPORT') ports.push(port);
      else if (tries >= TRIES_MAX) throw new Error(`no port was free on both loopback addresses: ${fault}`);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { ports, connections, close };
}
