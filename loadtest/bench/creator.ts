// Creates timers over the API at a fixed rate, open loop. A process of its own, so that its work is not taken for the
// engine's.
//
// usage: node creator.ts API_URL SINK_URL RATE SECONDS MIN_DELAY_MS MAX_DELAY_MS KEYS
//        KEYS: api keys, separated by commas, that the requests carry in turn
//        prints a CreatorResult as one line of JSON when all answers are in
import { PAYLOAD } from './engines/engine.ts';
import { LeanClient } from './lean-client.ts';
import { runOpenLoop } from './open-loop.ts';

const CONNECTIONS = 64;

const [apiUrl, sinkUrl, ...rest] = process.argv.slice(2);
const [rate, seconds, minDelayMs, maxDelayMs] = rest.slice(0, 4).map(Number) as [number, number, number, number];
const client = new LeanClient(apiUrl!, CONNECTIONS);
const action = JSON.stringify({ type: 'http', url: sinkUrl });
const headers = rest[4]!.split(',').map((key) => `content-type: application/json\r\nauthorization: Bearer ${key}\r\n`);
let sent = 0;
// A benchmark that gave up leaves nobody behind who goes on creating.
process.stdin.on('end', () => process.exit(1)).resume();
const result = await runOpenLoop(rate, seconds, async () => {
  const dueAt = new Date(Math.round(Date.now() + minDelayMs + Math.random() * (maxDelayMs - minDelayMs))).toISOString();
  const body = `{"dueAt":"${dueAt}","action":${action},"payload":"${PAYLOAD}"}`;
  const { status } = await client.send('POST', '/v1/timers', headers[sent++ % headers.length]!, body);
  return status === 201;
});
console.log(JSON.stringify(result));
client.close();
process.stdin.destroy();
