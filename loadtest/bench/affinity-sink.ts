// The endpoint of `affinity`, as a process of its own: it answers each request after a while, and notes whether another of the
// same key was being answered then, and whether each came in its turn.
//
// usage: node affinity-sink.ts ANSWER_MS     prints its port, then answers lines on standard input: `count`, `stats`
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

/** What it has seen. */
export interface AffinityStats {
  timers: number;
  requests: number;
  /** Requests that came while another of their key was being answered. */
  overlaps: number;
  /** The same, where whoever had sent the other one had died meanwhile. */
  overlapsWithKilled: number;
  /** Timers whose first request came after that of one that was due later, of the same key. */
  outOfOrder: number;
}

interface Open {
  isAbandoned: boolean;
}

function serve(answerMs: number): void {
  const stats = { requests: 0, overlaps: 0, overlapsWithKilled: 0, outOfOrder: 0 };
  const seen = new Set<string>();
  const open = new Map<string, Set<Open>>();
  const lastDue = new Map<string, number>();
  const server = createServer((request, response) => {
    const key = request.url!;
    const { 'webhook-id': id, 'punctual-due-at': dueText } = request.headers as Record<string, string>;
    stats.requests += 1;
    if (!seen.has(id!)) {
      seen.add(id!);
      const due = Date.parse(dueText!);
      const last = lastDue.get(key) ?? 0;
      if (due < last) stats.outOfOrder += 1;
      lastDue.set(key, Math.max(due, last));
    }
    const beside = open.getOrInsertComputed(key, () => new Set<Open>());
    if (beside.size > 0) {
      if ([...beside].every(({ isAbandoned }) => isAbandoned)) stats.overlapsWithKilled += 1;
      else stats.overlaps += 1;
    }
    const entry: Open = { isAbandoned: false };
    beside.add(entry);
    let isAnswered = false;
    response.on('close', () => {
      entry.isAbandoned = !isAnswered;
    });
    request.resume();
    setTimeout(() => {
      isAnswered = true;
      beside.delete(entry);
      response.writeHead(200).end();
    }, answerMs);
  });
  server.keepAliveTimeout = 600_000;
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    console.log(JSON.stringify({ port: typeof address === 'object' ? address?.port : undefined }));
  });
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      if (line === 'stats') console.log(JSON.stringify({ ...stats, timers: seen.size } satisfies AffinityStats));
      if (line === 'count') console.log(JSON.stringify({ timers: seen.size }));
    })
    .on('close', () => process.exit(0));
}

if (import.meta.main) serve(Number(process.argv[2]));
