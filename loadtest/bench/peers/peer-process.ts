// One process of a peer. It does what it is told in lines on standard input and answers each with one line of JSON.
//
// usage: node peer-process.ts PEER set-up|producer|worker SINK_URL
//        DATABASE_URL and REDIS_URL in the environment
//        a producer takes `put COUNT` and `create RATE SECONDS`; it answers with the milliseconds that it took, and with
//        a CreatorResult
import { createInterface } from 'node:readline';
import { Pool } from 'undici';
import { readMonotonicMs } from '../clock.ts';
import { BATCH_TIMERS, BATCHES_AT_ONCE, DELAY_MS, PAYLOAD } from '../engines/engine.ts';
import { runOpenLoop } from '../open-loop.ts';
import { bullmqPostgres, bullmqRedis } from './bullmq.ts';
import { graphileWorker } from './graphile-worker.ts';
import type { Deliver, Job, Peer, Producer } from './peer.ts';
import { pgBoss } from './pg-boss.ts';

const PEERS: Record<string, Peer> = {
  'graphile-worker': graphileWorker,
  'pg-boss': pgBoss,
  'bullmq-redis': bullmqRedis,
  'bullmq-postgres': bullmqPostgres,
};
/** As many as a Punctual worker opens to one origin. */
const CONNECTIONS = 256;

const [name = '', role, sinkUrl = ''] = process.argv.slice(2);
const peer = PEERS[name];
if (peer === undefined) throw new Error(`There is no peer "${name}".`);
const urls = { databaseUrl: process.env.DATABASE_URL!, redisUrl: process.env.REDIS_URL! };
const answer = (value: unknown) => console.log(JSON.stringify(value));

if (role === 'set-up') {
  await peer.setUp(urls);
  answer({});
} else if (role === 'producer') {
  const producer = await peer.openProducer(urls);
  answer({});
  listen(async (line) => {
    const [command, ...numbers] = line.split(' ');
    const [first = 0, second = 0] = numbers.map(Number);
    if (command === 'put') answer({ tookMs: await put(producer, first) });
    if (command === 'create') answer(await runOpenLoop(first, second, () => addOne(producer)));
  });
} else {
  await peer.openWorker(urls, makeDeliver(sinkUrl));
  answer({});
  listen(async () => {});
}

// The benchmark has its figures by then; whatever a library would still write down is of no interest.
function listen(onLine: (line: string) => Promise<void>): void {
  createInterface({ input: process.stdin })
    .on('line', (line) => void onLine(line))
    .on('close', () => process.exit(0));
}

async function put(producer: Producer, count: number): Promise<number> {
  const beganAt = readMonotonicMs();
  let left = count;
  const putBatches = async () => {
    while (left > 0) {
      const size = Math.min(left, BATCH_TIMERS);
      left -= size;
      const job: Job = { dueAt: Date.now(), payload: PAYLOAD };
      await producer.addMany(Array.from({ length: size }, () => job));
    }
  };
  await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, putBatches));
  return readMonotonicMs() - beganAt;
}

async function addOne(producer: Producer): Promise<boolean> {
  const dueAt = Math.round(Date.now() + DELAY_MS.min + Math.random() * (DELAY_MS.max - DELAY_MS.min));
  await producer.addOne({ dueAt, payload: PAYLOAD });
  return true;
}

function makeDeliver(url: string): Deliver {
  const { origin, pathname } = new URL(url);
  const pool = new Pool(origin, { connections: CONNECTIONS, pipelining: 1, allowH2: false });
  return async (id, job) => {
    const { statusCode, body } = await pool.request({
      path: pathname,
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'punctual-due-at': new Date(job.dueAt).toISOString(),
      },
      body: JSON.stringify({ id, dueAt: job.dueAt, payload: job.payload }),
    });
    await body.dump();
    if (statusCode >= 300) throw new Error(`the sink answered ${statusCode}`);
  };
}
