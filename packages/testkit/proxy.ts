import { connect, createServer, type Socket } from 'node:net';

/** What a disturbed way does to what passes. Absent: nothing of the kind. */
export interface Disturbance {
  /** Each piece arrives so much later, in order (ms): `latencyMs`, and up to `jitterMs` more. */
  latencyMs?: number;
  jitterMs?: number;
  /** Nothing passes in that direction, and nobody is told: a host that swallows packets. */
  swallow?: 'toServer' | 'toClient' | 'both';
  /** Once a client has sent this text nothing passes to any client any more. */
  swallowAnswersAfter?: string;
  /** One in so many pieces tears its connection down instead of arriving. */
  resetOneIn?: number;
}

/** A way to a server that a test can cut or disturb, while others go on using the server. */
export interface ServerProxy {
  /** The server's URL, by way of the proxy. */
  url: string;
  /** From now on connections are refused; those open are closed. */
  cut(): Promise<void>;
  /** From now on connections open, but nothing passes in either direction: a host that swallows packets. */
  stall(): void;
  /** As `disturbance` says from now on, for connections open and to come. */
  disturb(disturbance: Disturbance): void;
  /** Bytes that were swallowed since the beginning. */
  readonly swallowedBytes: number;
  /** Leads to another server from now on; open connections are closed. */
  retarget(url: string): Promise<void>;
  /** As at the beginning. What was swallowed stays lost: all connections are closed. */
  restore(): Promise<void>;
  close(): Promise<void>;
}

/** Listens on loopback and passes everything on to the server of `targetUrl`. `random` yields numbers in [0, 1). */
export async function startProxy(targetUrl: string, random: () => number = Math.random): Promise<ServerProxy> {
  let target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let disturbance: Disturbance = {};
  let swallowedBytes = 0;
  const server = createServer((socket) => {
    track(socket);
    const upstream = connect(Number(target.port), target.hostname);
    track(upstream);
    pass(socket, upstream, 'toServer');
    pass(upstream, socket, 'toClient');
  });
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  };
  const pass = (from: Socket, to: Socket, direction: 'toServer' | 'toClient') => {
    const late = new LateWriter(to);
    from.on('data', (bytes: Buffer) => {
      const { swallow, swallowAnswersAfter, resetOneIn, latencyMs = 0, jitterMs = 0 } = disturbance;
      if (swallow === 'both' || swallow === direction) {
        swallowedBytes += bytes.length;
        return;
      }
      if (direction === 'toServer' && swallowAnswersAfter !== undefined && bytes.includes(swallowAnswersAfter)) {
        disturbance = { swallow: 'toClient' };
      }
      if (resetOneIn !== undefined && random() * resetOneIn < 1) {
        from.resetAndDestroy();
        to.resetAndDestroy();
        return;
      }
      late.write(bytes, latencyMs + random() * jitterMs);
    });
    from.on('close', () => to.destroy());
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
      disturbance = { swallow: 'both' };
    },
    disturb(wanted) {
      disturbance = wanted;
    },
    get swallowedBytes() {
      return swallowedBytes;
    },
    async retarget(url) {
      target = new URL(url);
      await close();
      await listen(port);
    },
    async restore() {
      await close();
      disturbance = {};
      await listen(port);
    },
    close,
  };
}

/** Writes what it is given later, and in the order in which it was given. */
class LateWriter {
  readonly #to: Socket;
  readonly #waiting: { bytes: Buffer; dueAt: number }[] = [];

  constructor(to: Socket) {
    this.#to = to;
  }

  /** At once with a delay of 0 (ms), unless others wait. */
  write(bytes: Buffer, delayMs: number): void {
    if (delayMs === 0 && this.#waiting.length === 0) {
      this.#to.write(bytes);
      return;
    }
    const earliestAt = this.#waiting.at(-1)?.dueAt ?? 0;
    this.#waiting.push({ bytes, dueAt: Math.max(earliestAt, performance.now() + delayMs) });
    // One timer for the first of them: of two timers for about the same moment either may come first.
    if (this.#waiting.length === 1) this.#waitForFirst();
  }

  #waitForFirst(): void {
    const first = this.#waiting[0];
    if (first === undefined) return;
    setTimeout(() => {
      this.#waiting.shift();
      this.#to.write(first.bytes);
      this.#waitForFirst();
    }, first.dueAt - performance.now());
  }
}
