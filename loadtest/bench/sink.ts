// The endpoint of the benchmarks, as a process of its own: answers 200 to everything and remembers, for each
// `webhook-id`, how often and how late it came. It reads HTTP/1.1 by hand, because node:http would cost more CPU than
// the engine that is measured. Requests carry a content-length; that is all it must understand.
//
// usage: node sink.ts [ANSWER_MS [ADDRESSES]]   answers after so long (at once), at so many addresses from 127.0.0.1 on (1); prints its port, then answers lines on standard input: `stats`, `reset`

import { type AddressInfo, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { readMonotonicMs } from './clock.ts';
import { percentile } from './percentile.ts';

const ANSWER = Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
const ANSWER_MS = Number(process.argv[2] ?? 0);
const ADDRESSES = Number(process.argv[3] ?? 1);
const HEADERS_END = Buffer.from('\r\n\r\n');

interface Receipt {
  count: number;
  /** First receipt minus due time (ms). */
  latenessMs: number;
}

let receipts = new Map<string, Receipt>();
let requests = 0;
let firstAt = 0;
let lastAt = 0;

function readHeader(head: string, name: string): string | undefined {
  const start = head.indexOf(`\r\n${name}: `);
  if (start < 0) return undefined;
  const from = start + name.length + 4;
  return head.slice(from, head.indexOf('\r\n', from));
}

function record(head: string): void {
  const now = readMonotonicMs();
  requests += 1;
  firstAt ||= now;
  lastAt = now;
  const id = readHeader(head, 'webhook-id') ?? 'none';
  const known = receipts.get(id);
  if (known) known.count += 1;
  else receipts.set(id, { count: 1, latenessMs: now - Date.parse(readHeader(head, 'punctual-due-at') ?? '') });
}

function answerAll(socket: Socket, answers: number): void {
  for (let left = answers; left > 0; left -= 1) socket.write(ANSWER);
}

function serve(socket: Socket): void {
  socket.setNoDelay(true);
  let pending: Buffer = Buffer.alloc(0);
  socket.on('data', (data: Buffer) => {
    pending = pending.length === 0 ? data : Buffer.concat([pending, data]);
    let answers = 0;
    for (;;) {
      const end = pending.indexOf(HEADERS_END);
      if (end < 0) break;
      const head = `${pending.toString('latin1', 0, end)}\r\n`;
      const size = end + HEADERS_END.length + Number(readHeader(head, 'content-length') ?? 0);
      if (pending.length < size) break;
      record(head);
      pending = pending.subarray(size);
      answers += 1;
    }
    if (ANSWER_MS > 0) setTimeout(answerAll, ANSWER_MS, socket, answers);
    else answerAll(socket, answers);
  });
  socket.on('error', () => socket.destroy());
}

function readStats(): SinkStats {
  const late = Array.from(receipts.values(), (receipt) => receipt.latenessMs).sort((a, b) => a - b);
  return {
    requests,
    timers: receipts.size,
    duplicates: requests - receipts.size,
    early: late.filter((ms) => ms < 0).length,
    firstAt,
    lastAt,
    lateness: {
      min: late[0] ?? Number.NaN,
      p50: percentile(late, 0.5),
      p95: percentile(late, 0.95),
      p99: percentile(late, 0.99),
      max: late.at(-1) ?? Number.NaN,
    },
  };
}

/** What the sink has seen since the last reset. Times in ms. */
export interface SinkStats {
  requests: number;
  timers: number;
  duplicates: number;
  early: number;
  firstAt: number;
  lastAt: number;
  lateness: { min: number; p50: number; p95: number; p99: number; max: number };
}

if (import.meta.main) {
  const first = createServer(serve);
  first.listen(0, '127.0.0.1', () => {
    const { port } = first.address() as AddressInfo;
    // An address is an origin of its own.
    for (let last = 2; last <= ADDRESSES; last += 1) createServer(serve).listen(port, `127.0.0.${last}`);
    console.log(JSON.stringify({ port }));
  });
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      if (line === 'stats') console.log(JSON.stringify(readStats()));
      if (line === 'count') console.log(JSON.stringify({ timers: receipts.size }));
      if (line === 'reset') {
        receipts = new Map();
        requests = firstAt = lastAt = 0;
        console.log('{}');
      }
    })
    .on('close', () => process.exit(0));
}
