// The endpoint of the load tests, as a process of its own: answers 200 to everything that is posted to it and keeps a
// line for each request, so that the proof can hold them against what the api promised.
//
// usage: node receiver.ts      prints its port as JSON; ends with SIGTERM
//
//   POST /RUN          a delivery; RUN keeps the timers of one scenario apart from all others
//   GET  /RUN?from=N   the receipts from the N-th on as lines `ID RECEIVED_AT`, at most LINES_MAX of them
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

/** Some 3 MB an answer. */
const LINES_MAX = 50_000;

const runs = new Map<string, string[]>();

function handle(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', 'http://receiver');
  if (request.method === 'GET') {
    const from = Number(url.searchParams.get('from') ?? 0);
    const lines = runs.get(url.pathname)?.slice(from, from + LINES_MAX) ?? [];
    response.end(lines.join('\n'));
    return;
  }
  // Date.now() is cut off to whole milliseconds, as due times are, and reads the clock that the database of this
  // machine reads: a receipt in the due time's own millisecond is not early.
  const receivedAt = Date.now();
  const line = `${request.headers['webhook-id'] ?? 'without-id'} ${receivedAt}`;
  const lines = runs.get(url.pathname);
  if (lines === undefined) runs.set(url.pathname, [line]);
  else lines.push(line);
  request.resume();
  response.end('ok');
}

const server = createServer(handle);
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(JSON.stringify({ port: typeof address === 'object' ? address?.port : undefined }));
});
process.on('SIGTERM', () => process.exit(0));
