import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { SECURITY_HEADERS } from './security-headers.ts';

/**
 * Bytes of a request's line and headers. Node's own default, said here so that it stays. Numbers of headers need no limit
 * beside it, and must have none: Node would drop those beyond it in silence.
 */
export const REQUEST_HEAD_BYTES_MAX = 16_384;

/** Options of Node's server under Fastify. */
export const HTTP_SERVER_OPTIONS = {
  maxHeaderSize: REQUEST_HEAD_BYTES_MAX,
  // A request without a host is refused by a hook, which can say so in a body (RFC 9112, section 3.2).
  requireHostHeader: false,
} as const;

/** A refusal of something that never became a request. */
interface WireProblem {
  status: 400 | 408 | 413 | 417 | 431;
  title: string;
  code: string;
  detail: string;
}

const MALFORMED: WireProblem = {
  status: 400,
  title: 'Bad Request',
  code: 'malformed_http',
  detail: 'This is not HTTP.',
};

// By the codes of Node's errors.
const PROBLEMS: Readonly<Record<string, WireProblem>> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    title: 'Request Header Fields Too Large',
    code: 'headers_too_large',
    detail: `The line and the headers of a request must not be larger than ${REQUEST_HEAD_BYTES_MAX} bytes together.`,
  },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    status: 413,
    title: 'Payload Too Large',
    code: 'body_too_large',
    detail: 'The extensions of the chunks are larger than allowed.',
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    title: 'Request Timeout',
    code: 'request_timeout',
    detail: 'The request did not arrive in time.',
  },
};

const EXPECTATION_FAILED: WireProblem = {
  status: 417,
  title: 'Expectation Failed',
  code: 'expectation_failed',
  detail: 'The only expectation that can be met is 100-continue.',
};

/** Answers what Node's parser refused, as Fastify's `clientErrorHandler`, and closes the connection. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const problem = PROBLEMS[error.code ?? ''] ?? MALFORMED;
  const body = renderWireProblem(problem);
  const headers = listHeaders(body).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${problem.status} ${problem.title}\r\n${headers.join('')}\r\n${body}`);
}

/**
 * Has the server answer for itself where Node would answer without a word. Of a HOST that stands for two addresses
 * (`localhost`) it is the first one's server.
 */
export function answerBareRefusals(server: Server): void {
  server.maxHeadersCount = 0;
  server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    const body = renderWireProblem(EXPECTATION_FAILED);
    response.writeHead(EXPECTATION_FAILED.status, Object.fromEntries(listHeaders(body))).end(body);
  });
}

function renderWireProblem({ status, title, code, detail }: WireProblem): string {
  return JSON.stringify({ type: 'about:blank', title, status, detail, code, requestId: '' });
}

function listHeaders(body: string): (readonly [name: string, value: string])[] {
  return [
    ...SECURITY_HEADERS,
    ['content-type', 'application/problem+json; charset=utf-8'],
    ['content-length', String(Buffer.byteLength(body))],
    ['connection', 'close'],
  ];
}
