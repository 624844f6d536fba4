import { connect, type Socket } from 'node:net';
import { type CaseBody, type FuzzCase, isSoundHttp } from './cases/case.ts';

/** The api promises an answer within 5 s; the rest is for a machine that is busy (ms). */
const ANSWER_LIMIT_MS = 15_000;
/** More than any answer of the api measures (bytes). */
const ANSWER_BYTES_MAX = 32 * 1024 * 1024;

/** What came back. */
export type Exchange =
  | { kind: 'answer'; status: number; headers: Record<string, string>; body: string; ms: number }
  /** The connection ended before a whole answer. `received`: what there was. */
  | { kind: 'closed'; received: string }
  | { kind: 'silence' };

/**
 * One connection to the api, kept for as long as both sides like. Bytes go out as they are: an HTTP client would refuse to
 * send half of what is tried here.
 */
export class Connection {
  readonly #port: number;
  #socket: Socket | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  /** Sends one request, its ids in place, and waits for its answer. Never rejects. */
  async exchange(request: FuzzCase, authorization: readonly (readonly [string, string])[]): Promise<Exchange> {
    const socket = this.#open();
    const sentAt = performance.now();
    const isHead = request.method === 'HEAD';
    const result = await new Promise<Exchange>((resolve) => {
      let received = Buffer.alloc(0);
      const finish = (exchange: Exchange) => {
        clearTimeout(limit);
        socket.off('data', onData).off('close', onClose);
        resolve(exchange);
      };
      const onData = (chunk: Buffer) => {
        received = Buffer.concat([received, chunk]);
        const answer = readAnswer(received, isHead);
        if (answer) finish({ ...answer, ms: performance.now() - sentAt });
        else if (received.length > ANSWER_BYTES_MAX) finish({ kind: 'closed', received: 'more than can be read' });
      };
      const onClose = () => finish({ kind: 'closed', received: received.toString('latin1').slice(0, 1_000) });
      const limit = setTimeout(() => finish({ kind: 'silence' }), ANSWER_LIMIT_MS);
      socket.on('data', onData).on('close', onClose);
      socket.write(renderRequest(request, authorization));
    });
    const isReusable =
      result.kind === 'answer' && result.headers.connection !== 'close' && isSoundHttp(request) && socket.writable;
    if (!isReusable) this.close();
    return result;
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #open(): Socket {
    if (this.#socket?.destroyed) this.#socket = undefined;
    if (!this.#socket) {
      this.#socket = connect({ host: '127.0.0.1', port: this.#port, noDelay: true });
      // A connection that fails is closed, too, and that is looked at.
      this.#socket.on('error', () => {});
    }
    return this.#socket;
  }
}

function readBytes(body: CaseBody | undefined): Buffer {
  if (body === undefined) return Buffer.alloc(0);
  return 'text' in body ? Buffer.from(body.text) : Buffer.from(body.base64, 'base64');
}

function renderRequest(request: FuzzCase, authorization: readonly (readonly [string, string])[]): Buffer {
  const { method, target, headers, framing } = request;
  const body = readBytes(request.body);
  const lines: (readonly [string, string])[] = [
    ...(framing === 'no host' ? [] : [['host', '127.0.0.1'] as const]),
    ...authorization,
    ...headers,
  ];
  const length = ['content-length', String(body.length)] as const;
  const chunked = ['transfer-encoding', 'chunked'] as const;
  const chunks = Buffer.concat([
    Buffer.from(body.length === 0 ? '' : `${body.length.toString(16)}\r\n`),
    body,
    Buffer.from(body.length === 0 ? '0\r\n\r\n' : '\r\n0\r\n\r\n'),
  ]);
  let payload = body;
  if (framing === 'chunks' || framing === 'both') {
    lines.push(chunked);
    payload = chunks;
  }
  if (framing === 'two lengths') lines.push(['content-length', String(body.length + 1)]);
  if (framing === 'negative length') lines.push(['content-length', '-1']);
  else if (framing !== 'chunks' && (request.body !== undefined || framing !== 'length')) lines.push(length);
  const version = framing === 'not HTTP' ? 'HTTQ/1.1' : 'HTTP/1.1';
  // Latin-1, as HTTP's headers are: a character beyond it would become two.
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return Buffer.concat([Buffer.from(`${method} ${target} ${version}\r\n${head}\r\n`, 'latin1'), payload]);
}

/** The answer, once all of it is here. `100 Continue` is none. */
function readAnswer(received: Buffer, isHead: boolean): Omit<Extract<Exchange, { kind: 'answer' }>, 'ms'> | undefined {
  const headEnd = received.indexOf('\r\n\r\n');
  if (headEnd === -1) return undefined;
  const [statusLine = '', ...lines] = received.toString('latin1', 0, headEnd).split('\r\n');
  const status = Number(statusLine.split(' ')[1]);
  if (status < 200) return readAnswer(received.subarray(headEnd + 4), isHead);
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const length = isHead || status === 204 ? 0 : Number(headers['content-length'] ?? 0);
  const bodyStart = headEnd + 4;
  if (received.length < bodyStart + length) return undefined;
  const body = received.toString('utf8', bodyStart, bodyStart + length);
  return { kind: 'answer', status, headers, body };
}
