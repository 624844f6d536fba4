import { connect, createServer, type Socket } from 'node:net';

/** A way to a server on which answers can get lost. */
export interface AnswerThief {
  /** The server's URL, by way of it. */
  url: string;
  /** From now on, once a client has sent this text, no client hears anything any more. Requests go on to the server. */
  stealAnswerTo(text: string): void;
  /** Bytes that were kept from the clients. */
  readonly stolen: number;
  close(): Promise<void>;
}

/** Listens on loopback and passes everything on to the server of `targetUrl` and back, until it is told otherwise. */
export async function startAnswerThief(targetUrl: string): Promise<AnswerThief> {
  const target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let wanted: string | undefined;
  let isStealing = false;
  let stolen = 0;
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  };
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    track(client);
    track(upstream);
    client.on('data', (bytes: Buffer) => {
      if (wanted !== undefined && bytes.includes(wanted)) isStealing = true;
      upstream.write(bytes);
    });
    upstream.on('data', (bytes: Buffer) => {
      if (isStealing) stolen += bytes.length;
      else client.write(bytes);
    });
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(targetUrl);
  url.host = `127.0.0.1:${(server.address() as { port: number }).port}`;
  return {
    url: url.toString(),
    stealAnswerTo(text) {
      wanted = text;
    },
    get stolen() {
      return stolen;
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
