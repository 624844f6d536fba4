import type { Socket } from 'node:net';
import type { GuardedConnect } from '../egress/guarded-connector.ts';
import { AnswerParser, type AnswerReader } from './answer-parser.ts';

/**
 * How long an idle connection is kept when its server does not say (ms). Common servers close theirs after 5 s or
 * later; below that, a request never meets a connection that is just being closed at the other end, which it could
 * not tell from one that broke after the request was acted upon.
 */
const KEEP_ALIVE_MS = 4_000;
/** The most of what a server promises by `Keep-Alive: timeout=` that is used (ms). */
const KEEP_ALIVE_MAX_MS = 60_000;
/** How much sooner than promised an idle connection is given up (ms): the time that the promise travelled and more. */
const KEEP_ALIVE_MARGIN_MS = 1_000;
/** What a method and a header's name consist of (RFC 9110 §5.6.2). */
export const TOKEN = /^[!#$%&'*+\-.^_`|~\w]+$/;
const PATH = /^[\x21-\xff]+$/;
/** Methods whose request says that it has no body by its length (RFC 9110 §8.6). */
const METHODS_WITH_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

export interface HttpRequest {
  path: string;
  method: string;
  /** Lines as they are written, each with its end; none of those that frame the message or name the host. */
  headers: string;
  body: string | Buffer | null;
}

/** Uses a connection for one request. One of `onEnd` and `onError` is the last that it is told, unless it destroys the connection. */
export interface Exchange extends AnswerReader {
  /** The most that is read of the answer, its head and the framing of its body included (bytes). */
  readonly answerBytesMax: number;
  /** The last call before the first byte. What it throws, `onError` is told; then nothing is sent, and the connection stays open. */
  onSending(): void;
  /**
   * The answer is complete. Another request may be sent over the connection after two turns of the event loop: by then all that had
   * come behind the answer has been seen, be it the end or what nobody asked for, and would not be taken for the next answer.
   */
  onEnd(): void;
  /** There will be no complete answer. */
  onError(error: Error): void;
  /** More than `answerBytesMax` have come, and the answer is not complete. */
  onFlood(): void;
}

/** The request can not be written as HTTP. */
export class RequestError extends Error {
  readonly code = 'PUNCTUAL_REQUEST_INVALID';
  readonly isRetryable = false;

  constructor() {
    super('The request has an invalid method, path or header.');
    this.name = 'RequestError';
  }
}

/** The other side has closed the connection before the answer was complete. */
class ConnectionClosedError extends Error {
  readonly code = 'PUNCTUAL_CONNECTION_CLOSED';
  readonly isRetryable = true;

  constructor() {
    super('The connection was closed before the answer was complete.');
    this.name = 'ConnectionClosedError';
  }
}

/**
 * HTTP/1.1 to one origin over at most one socket, one request at a time; when the other side closes it in between, the next
 * request opens another. A request is never sent twice.
 *
 * It stands in the place of undici's Client, which costs twice as much processor time a request (docs/decisions/0044): that
 * has to serve everybody's needs, and this serves those of attempts, which want one deadline and a bounded part of the answer.
 */
export class HttpConnection {
  readonly #origin: URL;
  /** As it stands in the head of every request. */
  readonly #host: string;
  readonly #connect: GuardedConnect;
  /** Told when the socket was closed between two exchanges, by whichever side. */
  readonly #onIdleClosed: () => void;
  readonly #parser = new AnswerParser();
  #socket: Socket | undefined;
  #isConnected = false;
  #request: HttpRequest | undefined;
  #exchange: Exchange | undefined;
  /** The request has been written. */
  #isSent = false;
  #answerBytes = 0;
  /** How the last request began, up to the headers of its own. */
  #start = '';
  #startMethod = '';
  #startPath = '';
  #idleUntil = Number.NEGATIVE_INFINITY;
  #isDestroyed = false;

  constructor(origin: string, connect: GuardedConnect, onIdleClosed: () => void) {
    this.#origin = new URL(origin);
    this.#host = this.#origin.host;
    this.#connect = connect;
    this.#onIdleClosed = onIdleClosed;
  }

  /** Until when it may serve another request (`performance.now()`); never where its socket is closed. */
  get idleUntil(): number {
    const socket = this.#socket;
    // Closed already, though its events are yet to come.
    const isOpen = this.#isConnected && socket?.readable && socket.writable;
    return isOpen ? this.#idleUntil : Number.NEGATIVE_INFINITY;
  }

  /** Sends the request, as soon as there is a socket. None may be under way. */
  send(request: HttpRequest, exchange: Exchange): void {
    this.#request = request;
    this.#exchange = exchange;
    this.#isSent = false;
    if (this.idleUntil > performance.now()) {
      this.#write();
      return;
    }
    this.#leaveSocket();
    this.#open();
  }

  /** Closes the socket in any phase and resolves when it is closed. The exchange under way is told nothing more. */
  async destroy(): Promise<void> {
    this.#isDestroyed = true;
    this.#exchange = undefined;
    const socket = this.#leaveSocket();
    if (socket && !socket.closed) await new Promise<void>((resolve) => socket.once('close', () => resolve()));
  }

  #open(): void {
    const { protocol, host, hostname, port } = this.#origin;
    const target = { protocol, host, port, hostname: hostname.replace(/^\[(.*)\]$/, '$1') };
    const onBytes = (bytes: Buffer) => {
      if (this.#socket === connecting && this.#isConnected) this.#read(bytes);
    };
    const onConnected: Parameters<GuardedConnect>[1] = (error, socket) => {
      if (this.#isDestroyed) {
        socket?.destroy();
        return;
      }
      if (error) {
        this.#fail(error);
        return;
      }
      this.#isConnected = true;
      this.#idleUntil = performance.now() + KEEP_ALIVE_MS;
      this.#watch(socket);
      this.#write();
    };
    const connecting = this.#connect(target, onConnected, onBytes);
    // Undefined where the host was refused; then the error is on its way.
    this.#socket = connecting;
    // The connector reports what happens until it is connected, but for an end without an error.
    connecting?.once('close', () => {
      if (this.#socket === connecting) this.#onClosed();
    });
  }

  #watch(socket: Socket): void {
    socket.on('end', () => {
      if (this.#socket === socket) this.#onClosed();
    });
    socket.on('error', (error) => {
      if (this.#socket === socket) this.#onClosed(error);
    });
  }

  #write(): void {
    const [request, exchange] = [this.#request!, this.#exchange!];
    let text: string | Buffer;
    try {
      text = this.#format(request);
      exchange.onSending();
    } catch (error) {
      this.#exchange = undefined;
      exchange.onError(error as Error);
      return;
    }
    this.#isSent = true;
    this.#answerBytes = 0;
    this.#parser.begin(exchange, request.method);
    if (typeof text === 'string') this.#socket!.write(text, 'latin1');
    else this.#socket!.write(text);
  }

  // In one piece, since each costs the kernel as much as all. Text that is ASCII needs no buffer of ours.
  #format({ path, method, headers, body }: HttpRequest): string | Buffer {
    if (path !== this.#startPath || method !== this.#startMethod) this.#formatStart(method, path);
    const head = this.#start + headers;
    if (body === null || body.length === 0) {
      return METHODS_WITH_BODY.has(method) ? `${head}content-length: 0\r\n\r\n` : `${head}\r\n`;
    }
    const length = Buffer.byteLength(body);
    if (typeof body === 'string' && length === body.length) return `${head}content-length: ${length}\r\n\r\n${body}`;
    const whole = `${head}content-length: ${length}\r\n\r\n`;
    const text = Buffer.allocUnsafe(whole.length + length);
    text.write(whole, 'latin1');
    if (typeof body === 'string') text.write(body, whole.length, 'utf8');
    else body.copy(text, whole.length);
    return text;
  }

  // Most requests over a connection begin as the one before did.
  #formatStart(method: string, path: string): void {
    if (!TOKEN.test(method) || !PATH.test(path)) throw new RequestError();
    this.#start = `${method} ${path} HTTP/1.1\r\nhost: ${this.#host}\r\nconnection: keep-alive\r\n`;
    this.#startMethod = method;
    this.#startPath = path;
  }

  #read(bytes: Buffer): void {
    const exchange = this.#exchange;
    if (exchange === undefined || !this.#isSent) {
      // Nobody asked.
      this.#onClosed();
      return;
    }
    let read: number;
    try {
      read = this.#parser.read(bytes);
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    if (this.#exchange !== exchange) return;
    if (this.#parser.isDone) {
      this.#finish(read === bytes.length);
      return;
    }
    this.#answerBytes += bytes.length;
    if (this.#answerBytes > exchange.answerBytesMax) exchange.onFlood();
  }

  // `isAll`: nothing came behind the answer. An answer to a request that is still being written ends its connection, too.
  #finish(isAll: boolean): void {
    const exchange = this.#exchange!;
    this.#exchange = undefined;
    const keepMs = this.#chooseKeepMs();
    const isWritten = this.#socket?.writableLength === 0;
    if (isAll && isWritten && keepMs > 0) this.#idleUntil = performance.now() + keepMs;
    else this.#leaveSocket();
    exchange.onEnd();
  }

  #chooseKeepMs(): number {
    const { keepsAlive, keepAliveSeconds } = this.#parser;
    if (!keepsAlive) return 0;
    if (keepAliveSeconds === undefined) return KEEP_ALIVE_MS;
    return Math.min(KEEP_ALIVE_MAX_MS, keepAliveSeconds * 1_000) - KEEP_ALIVE_MARGIN_MS;
  }

  // The other side has closed the socket, or sent what nobody asked for.
  #onClosed(error?: Error): void {
    const exchange = this.#exchange;
    if (exchange !== undefined && error === undefined && this.#isSent && this.#parser.end()) {
      this.#exchange = undefined;
      this.#leaveSocket();
      exchange.onEnd();
    } else if (exchange !== undefined) {
      this.#fail(error ?? new ConnectionClosedError());
    } else {
      this.#leaveSocket();
      this.#onIdleClosed();
    }
  }

  #fail(error: Error): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#leaveSocket();
    exchange?.onError(error);
  }

  #leaveSocket(): Socket | undefined {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#isConnected = false;
    this.#parser.stop();
    socket?.destroy();
    return socket;
  }
}
