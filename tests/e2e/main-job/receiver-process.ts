// The endpoints of the main job, in a process of their own: a busy test would answer late, and accept connections
// slowly, since Node accepts one in each turn of its event loop. Tells its parent the ports, then each request.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Delivery, FLAKY_FAILURES, RETRY_AFTER_SECONDS, TARGETS, type Target } from './delivery.ts';

/** Some requests take this long, so that every moment finds some under way (ms). */
const SLOW_MS = 300;
const SLOW_ONE_IN = 4;
/** The first request to the flaky endpoint takes this long, so that a run can be cancelled meanwhile on a slow machine (ms). */
const FLAKY_FIRST_MS = 1_000;
/** Requests are told together once in this time (ms). */
const TELL_INTERVAL_MS = 20;
/** Longer than the test: an idle connection must not be closed while a worker counts on it (ms). */
const KEEP_ALIVE_MS = 600_000;

let count = 0;
let untold: Delivery[] = [];

function tell(): void {
  if (untold.length > 0) process.send!({ deliveries: untold });
  untold = [];
}

function chooseAnswer(target: Target, attempt: number): { status: number; headers?: Record<string, string> } {
  if (target === 'good' || (target === 'flaky' && attempt > FLAKY_FAILURES)) return { status: 200 };
  if (target === 'failing') return { status: 500 };
  return { status: 503, ...(attempt === 1 && { headers: { 'retry-after': String(RETRY_AFTER_SECONDS) } }) };
}

/** What is in a payload only to make it large is not worth telling. */
function readBody(bytes: Buffer): Delivery['body'] {
  const body = JSON.parse(bytes.toString('utf8'));
  if (body.payload !== null) delete body.payload.padding;
  return body;
}

async function listen(target: Target): Promise<number> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const receivedAt = Date.now();
      const { headers } = request;
      // Some other process of the machine that tries ports.
      if (headers['webhook-id'] === undefined) {
        response.writeHead(400).end();
        return;
      }
      const attempt = Number(headers['punctual-attempt']);
      untold.push({
        target,
        timerId: String(headers['webhook-id']),
        idempotencyKey: String(headers['idempotency-key']),
        attempt,
        dueAt: Date.parse(String(headers['punctual-due-at'])),
        body: readBody(Buffer.concat(chunks)),
        receivedAt,
      });
      count += 1;
      const { status, headers: answerHeaders } = chooseAnswer(target, attempt);
      const answer = () => response.writeHead(status, answerHeaders).end();
      if (target === 'flaky' && attempt === 1) setTimeout(answer, FLAKY_FIRST_MS);
      else if (count % SLOW_ONE_IN === 0) setTimeout(answer, SLOW_MS);
      else answer();
    });
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

// Any message asks for what was not told yet.
process.on('message', () => {
  tell();
  process.send!({ toldAll: true });
});
process.on('disconnect', () => process.exit());
const ports: Partial<Record<Target, number>> = {};
for (const target of TARGETS) ports[target] = await listen(target);
process.send!({ ports });
setInterval(tell, TELL_INTERVAL_MS);
