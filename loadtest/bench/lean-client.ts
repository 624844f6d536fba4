import { connect, type Socket } from 'node:net';

const HEADERS_END = Buffer.from('\r\n\r\n');
const CONTENT_LENGTH = /\r\ncontent-length: (\d+)\r\n/i;

export interface LeanAnswer {
  status: number;
  body: string;
}

/** Requests that have gone from the list of those that wait before it is made shorter: `shift` moves all the others each time. */
const GONE_MAX = 10_000;

interface Exchange {
  request: string;
  resolve: (answer: LeanAnswer) => void;
  reject: (error: Error) => void;
}

/**
 * An HTTP/1.1 client that costs the machine little, because it shares two cores with what is measured: for a request
 * undici takes half as much processor time as the api needs to store a timer. It keeps its connections, and understands
 * answers with a content-length only.
 */
export class LeanClient {
  readonly #host: string;
  readonly #port: number;
  readonly #connectionsMax: number;
  readonly #idle: Connection[] = [];
  readonly #all = new Set<Connection>();
  readonly #waiting: Exchange[] = [];
  /** How many of these have gone already, from the front. */
  #gone = 0;

  /** `url`: `http`, host and port. Connections are opened as they are needed, and opened again when they break. */
  constructor(url: string, connectionsMax: number) {
    const { hostname, port } = new URL(url);
    this.#host = hostname;
    this.#port = Number(port);
    this.#connectionsMax = connectionsMax;
  }

  /** `headers`: lines, each with its line end. Rejects when the connection breaks before the answer is whole. */
  send(method: string, path: string, headers: string, body = ''): Promise<LeanAnswer> {
    const length = `content-length: ${Buffer.byteLength(body)}\r\n`;
    const request = `${method} ${path} HTTP/1.1\r\nhost: ${this.#host}:${this.#port}\r\n${length}${headers}\r\n${body}`;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject });
      this.#sendNext(this.#idle.pop() ?? this.#open());
    });
  }

  close(): void {
    for (const connection of this.#all) connection.socket.destroy();
  }

  #open(): Connection | undefined {
    if (this.#all.size >= this.#connectionsMax) return undefined;
    const socket = connect({ host: this.#host, port: this.#port, noDelay: true });
    const connection: Connection = new Connection(socket, {
      onFree: () => this.#sendNext(connection),
      onClosed: () => {
        this.#all.delete(connection);
        const at = this.#idle.indexOf(connection);
        if (at >= 0) this.#idle.splice(at, 1);
        if (this.#waiting.length > this.#gone) this.#sendNext(this.#open());
      },
    });
    this.#all.add(connection);
    return connection;
  }

  #sendNext(connection: Connection | undefined): void {
    if (connection === undefined) return;
    const exchange = this.#waiting[this.#gone];
    if (exchange === undefined) {
      this.#idle.push(connection);
      return;
    }
    this.#gone += 1;
    if (this.#gone === this.#waiting.length || this.#gone > GONE_MAX) {
      this.#waiting.splice(0, this.#gone);
      this.#gone = 0;
    }
    connection.begin(exchange);
  }
}

/** One exchange after the other. */
class Connection {
  readonly socket: Socket;
  readonly #onFree: () => void;
  #current: Exchange | undefined;
  #received: Buffer = Buffer.alloc(0);

  constructor(socket: Socket, { onFree, onClosed }: { onFree: () => void; onClosed: () => void }) {
    this.socket = socket;
    this.#onFree = onFree;
    socket.on('data', (data: Buffer) => this.#receive(data));
    // The end of the connection is told by `close`, with or without an error before.
    socket.on('error', () => {});
    socket.on('close', () => {
      onClosed();
      this.#current?.reject(new Error('The connection broke before the answer was whole.'));
    });
  }

  begin(exchange: Exchange): void {
    this.#current = exchange;
    this.socket.write(exchange.request);
  }

  #receive(data: Buffer): void {
    this.#received = this.#received.length === 0 ? data : Buffer.concat([this.#received, data]);
    const end = this.#received.indexOf(HEADERS_END);
    if (end < 0) return;
    const head = this.#received.toString('latin1', 0, end + 2);
    const bodyAt = end + HEADERS_END.length;
    const size = bodyAt + Number(CONTENT_LENGTH.exec(head)?.[1]);
    if (Number.isNaN(size)) {
      this.socket.destroy();
      return;
    }
    if (this.#received.length < size) return;
    const answer = { status: Number(head.slice(9, 12)), body: this.#received.toString('utf8', bodyAt, size) };
    this.#received = this.#received.subarray(size);
    const exchange = this.#current;
    this.#current = undefined;
    this.#onFree();
    exchange?.resolve(answer);
  }
}
