// Creates timers over the API at a fixed rate, open loop: a request is sent when its time has come, whatever became of
// those before. A process of its own, so that its work is not taken for the engine's.
//
// usage: node creator.ts API_URL SINK_URL RATE SECONDS MIN_DELAY_MS MAX_DELAY_MS
//        prints one line of JSON when all answers are in
import { Pool } from 'undici';
import { readMonotonicMs } from './clock.ts';

const CONNECTIONS = 64;
const PAYLOAD = 'x'.repeat(280);
/** Between two looks at the clock (ms); requests due in between are sent together. */
const TICK_MS = 2;

/** What became of the requests. Times in ms, from when a request should have been sent to its answer. */
export interface CreatorResult {
  sent: number;
  created: number;
  refused: number;
  p50: number;
  p99: number;
  max: number;
}

async function main(args: readonly string[]): Promise<void> {
  const [apiUrl, sinkUrl, ...numbers] = args;
  const [rate, seconds, minDelayMs, maxDelayMs] = numbers.map(Number) as [number, number, number, number];
  const pool = new Pool(apiUrl!, { connections: CONNECTIONS, pipelining: 1, allowH2: false });
  const total = Math.round(rate * seconds);
  const action = JSON.stringify({ type: 'http', url: sinkUrl });
  const took: number[] = [];
  let created = 0;
  let answered = 0;
  let sent = 0;
  const beganAt = readMonotonicMs();

  const send = (shouldAt: number): Promise<void> => {
    const dueAt = new Date(
      Math.round(Date.now() + minDelayMs + Math.random() * (maxDelayMs - minDelayMs)),
    ).toISOString();
    return pool
      .request({
        path: '/v1/timers',
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: `{"dueAt":"${dueAt}","action":${action},"payload":"${PAYLOAD}"}`,
      })
      .then(async (response) => {
        await response.body.dump();
        if (response.statusCode === 201) created += 1;
      })
      .catch(() => undefined)
      .then(() => {
        answered += 1;
        took.push(readMonotonicMs() - shouldAt);
      });
  };
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const shouldHaveSent = Math.min(total, Math.floor(((readMonotonicMs() - beganAt) / 1000) * rate));
      for (; sent < shouldHaveSent; sent += 1) void send(beganAt + (sent / rate) * 1000);
      if (sent === total && answered === total) {
        clearInterval(timer);
        resolve();
      }
    }, TICK_MS);
  });
  took.sort((a, b) => a - b);
  const at = (share: number) => took[Math.min(took.length - 1, Math.floor(took.length * share))]!;
  const result: CreatorResult = {
    sent,
    created,
    refused: sent - created,
    p50: at(0.5),
    p99: at(0.99),
    max: took.at(-1)!,
  };
  console.log(JSON.stringify(result));
  await pool.close();
}

if (import.meta.main) await main(process.argv.slice(2));
