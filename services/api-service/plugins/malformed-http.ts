import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { ProblemError } from '../problem.ts';
import { renderProblem } from './problems.ts';

/** What Node's parser gave up a request for, where that is more than "not HTTP". */
const PROBLEMS: Readonly<Record<string, ProblemError>> = {
  HPE_HEADER_OVERFLOW: new ProblemError(431, 'headers_too_large', 'The headers are larger than allowed.'),
  ERR_HTTP_REQUEST_TIMEOUT: new ProblemError(408, 'request_timeout', 'The request did not arrive whole in time.'),
};
const MALFORMED = new ProblemError(400, 'malformed_http', 'This is not HTTP.');
const UNEXPECTED = new ProblemError(417, 'expectation_failed', 'Only `Expect: 100-continue` can be met.');

/** Answers what never became a request, and closes the connection: what follows in it could be anything. */
export function answerMalformedHttp(error: { code?: string }, socket: Duplex): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const problem = PROBLEMS[error.code ?? ''] ?? MALFORMED;
  const body = render(problem);
  socket.end(
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

/** Refuses expectations that nobody here can meet. Node does so by itself, but without a word. */
export function refuseExpectations(server: Server): void {
  server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    const body = render(UNEXPECTED);
    const headers = {
      'content-type': 'application/problem+json',
      'content-length': Buffer.byteLength(body),
      connection: 'close',
    };
    response.writeHead(UNEXPECTED.status, headers).end(body);
  });
}

// There is no request to name.
function render(problem: ProblemError): string {
  return JSON.stringify(renderProblem(problem, ''));
}
