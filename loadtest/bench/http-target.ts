import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { Agent, type Dispatcher } from 'undici';
// biome-ignore lint/style/noRestrictedImports: this measures a part of the worker that the worker does not export.
import { createEgressPolicy } from '../../packages/domain/index.ts';
// biome-ignore lint/style/noRestrictedImports: this measures a part of the worker that the worker does not export.
import { createHttpTarget } from '../../services/worker-service/targets/http-target.ts';
// biome-ignore lint/style/noRestrictedImports: this measures a part of the worker that the worker does not export.
import { createOriginGate } from '../../services/worker-service/targets/origin-gate.ts';

const USAGE = `What one attempt over HTTP costs this process, beside undici's bare dispatch, to an endpoint in another process.

  node loadtest/bench/http-target.ts [--calls 60000] [--connections 64] [--rounds 5]`;

const ANSWER =
  'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\nconnection: keep-alive\r\n\r\n{"ok":true}';
const WARM_UP_CALLS = 20_000;
const TIMER_ID = '01920000-0000-7000-8000-000000000001';
const BODY = JSON.stringify({ timerId: TIMER_ID, attempt: 1, payload: { text: 'x'.repeat(200) } });

type Call = () => Promise<unknown>;

if (process.argv[2] === 'sink') runSink();
else await main();

/** Answers every chunk that arrives with one answer: enough while a request is one chunk, and cheap. */
function runSink(): void {
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    socket.on('data', () => socket.write(ANSWER));
  });
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as { port: number }).port));
  process.on('disconnect', () => process.exit());
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      calls: { type: 'string', default: '60000' },
      connections: { type: 'string', default: '64' },
      rounds: { type: 'string', default: '5' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const [calls, connections, rounds] = [Number(values.calls), Number(values.connections), Number(values.rounds)];

  const sink = fork(import.meta.filename, ['sink']);
  const [port] = (await once(sink, 'message')) as [number];
  const origin = `http://127.0.0.1:${port}`;
  const agent = new Agent({ connections, pipelining: 1, allowH2: false, headersTimeout: 0, bodyTimeout: 0 });
  const target = createHttpTarget({
    egressPolicy: createEgressPolicy({ allow: ['127.0.0.1'], deny: [] }),
    userAgent: 'punctual/bench',
    maxConnectionsPerOrigin: connections,
  });
  const gate = createOriginGate({
    maxInFlightPerOrigin: connections,
    maxWaitingPerOrigin: 0,
    briefMs: 0,
    waitMaxMs: 1_000,
  });
  const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
  const perform = (signingSecrets: string[]) =>
    target.perform({
      url: `${origin}/hook?x=1`,
      method: 'POST',
      body: BODY,
      timeoutMs: 10_000,
      timerId: TIMER_ID,
      attempt: 1,
      dueAt: Date.now(),
      signingSecrets,
      right: { mayBegin: () => true, goodUntil: Number.POSITIVE_INFINITY, ask: () => Promise.resolve(undefined) },
    });
  const cases: [string, Call][] = [
    ['undici dispatch, same headers', () => dispatchBare(agent, origin)],
    ['perform', () => perform([])],
    ['perform, signed', () => perform([secret])],
    [
      'gate and perform, signed',
      async () => {
        await gate.enter(origin);
        const { durationMs } = await perform([secret]);
        gate.leave(origin, durationMs);
      },
    ],
  ];

  console.log(`${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.version}`);
  console.log(`${calls} calls a round, ${connections} at once, median of ${rounds} rounds\n`);
  const costs = new Map(cases.map(([name]) => [name, { cpuUs: [] as number[], rate: [] as number[] }]));
  for (const [, call] of cases) await repeat(call, WARM_UP_CALLS, connections);
  // In turns, so that what else the machine does falls on all of them alike.
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, call] of cases) {
      const cpuBefore = process.cpuUsage();
      const startedAt = performance.now();
      await repeat(call, calls, connections);
      const seconds = (performance.now() - startedAt) / 1_000;
      const cpu = process.cpuUsage(cpuBefore);
      costs.get(name)?.cpuUs.push((cpu.user + cpu.system) / calls);
      costs.get(name)?.rate.push(calls / seconds);
    }
  }
  for (const [name, { cpuUs, rate }] of costs) {
    const spread = `${Math.min(...cpuUs).toFixed(1)}–${Math.max(...cpuUs).toFixed(1)}`;
    const cost = `${findMedian(cpuUs).toFixed(1)} µs CPU (${spread})`;
    console.log(`${name.padEnd(32)} ${cost.padEnd(28)} ${Math.round(findMedian(rate))}/s`);
  }
  await Promise.all([agent.close(), target.close()]);
  sink.disconnect();
}

/** Makes `count` calls, so many at a time. */
async function repeat(call: Call, count: number, atOnce: number): Promise<void> {
  let left = count;
  const work = async () => {
    while (left > 0) {
      left -= 1;
      await call();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

function dispatchBare(agent: Agent, origin: string): Promise<number> {
  const headers = [
    'webhook-id',
    TIMER_ID,
    'idempotency-key',
    TIMER_ID,
    'webhook-timestamp',
    '1795000000',
    'punctual-attempt',
    '1',
    'punctual-due-at',
    '2026-11-21T12:00:00.000Z',
    'user-agent',
    'punctual/bench',
    'content-type',
    'application/json',
  ];
  return new Promise((resolve, reject) => {
    let status = 0;
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart() {},
      onResponseStart(_controller, statusCode) {
        status = statusCode;
      },
      onResponseData() {},
      onResponseEnd: () => resolve(status),
      onResponseError: (_controller, error) => reject(error),
    };
    agent.dispatch({ origin, path: '/hook?x=1', method: 'POST', headers, body: BODY }, handler);
  });
}

function findMedian(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
