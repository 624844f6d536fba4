// Equal requests with one idempotency key, as many as one likes, to two api processes; and apis that are killed between
// their commit and their reply, round after round. Starts its own Postgres.
//
// usage: npm run idempotency [-- [--keys=N] [--copies=N] [--rounds=N] [--out=NAME]]
//
// By default 50 copies of each of 1,000 requests, and 50 rounds of each kind of change and moment. The exit code is 1 when
// anything was wrong. `--out` writes NAME.md and NAME.json.

import { parseArgs } from 'node:util';
import { describeOrigin, writeReport } from '@punctual/loadtest-command';
import { startTestServers } from '@punctual/local-servers';
import { send } from './api-client.ts';
import { startApis } from './idempotency/apis.ts';
import { sendEqualPosts } from './idempotency/equal-posts.ts';
import { CHANGES, killBetweenCommitAndReply, type Moment } from './idempotency/killed-api.ts';

const KEYS_AT_ONCE = 10;
/** Far more than anybody has the patience for. */
const COUNT_MAX = 100_000;
const PROGRESS_INTERVAL_MS = 5_000;
const MOMENTS: readonly Moment[] = ['beforeAnswering', 'afterAnswering'];
const FAULTS_SHOWN_MAX = 20;

const { values } = parseArgs({
  options: {
    keys: { type: 'string', default: '1000' },
    copies: { type: 'string', default: '50' },
    rounds: { type: 'string', default: '50' },
    out: { type: 'string' },
  },
});
const [keys, copies, rounds] = [readCount('keys'), readCount('copies'), readCount('rounds')];

const origin = values.out === undefined ? undefined : describeOrigin('idempotency', process.argv.slice(2));
const servers = await startTestServers();
process.env.TEST_DATABASE_URL = servers.databaseUrl;
process.env.TEST_REDIS_URL = servers.redisUrl;
const faults: string[] = [];
/** What was done, a sentence each. */
const results: string[] = [];
try {
  const apis = await startApis();
  try {
    await postAll(apis.stack.apiUrls);
    await killAll(apis.stack.databaseUrl, apis.stack.apiUrls[0]!);
  } finally {
    await apis.stop();
  }
} finally {
  await servers.stop();
}
tell(`${faults.length} faults`);
for (const fault of faults.slice(0, FAULTS_SHOWN_MAX)) tell(`WRONG: ${fault}`);
if (origin) {
  const heading = `\`${origin.command}\` at \`${origin.commit}\`, ${origin.measuredAt.slice(0, 10)}`;
  const text = [heading, '', `${origin.machine}.`, '', ...results.map((result) => `- ${result}`)].join('\n');
  writeReport(values.out!, text, { ...origin, keys, copies, rounds, results, faults });
}
process.exitCode = faults.length > 0 ? 1 : 0;

function tell(result: string): void {
  results.push(result);
  console.log(result);
}

function readCount(name: 'keys' | 'copies' | 'rounds'): number {
  const count = Number(values[name]);
  if (Number.isInteger(count) && count >= 0 && count <= COUNT_MAX) return count;
  console.error(`--${name}=${values[name]} is not a whole number from 0 to ${COUNT_MAX}.`);
  process.exit(1);
}

async function postAll(apiUrls: readonly string[]): Promise<void> {
  const beganAt = performance.now();
  let done = 0;
  const readSeconds = () => (performance.now() - beganAt) / 1000;
  const progress = setInterval(() => {
    const left = ((keys - done) * readSeconds()) / Math.max(1, done);
    console.log(
      `${done} of ${keys} keys, ${Math.round((done * copies) / readSeconds())} requests/s, ${Math.round(left)} s left`,
    );
  }, PROGRESS_INTERVAL_MS);
  const report = await sendEqualPosts(apiUrls, { keys, copies, keysAtOnce: KEYS_AT_ONCE }, () => {
    done += 1;
  });
  clearInterval(progress);
  const ledger = await send<{ isBalanced: boolean; total: { created: number } }>(`${apiUrls[0]}/v1/ledger`);
  const { created } = ledger.body.total;
  faults.push(...report.faults);
  if (report.refusals > 0) faults.push(`${report.refusals} answers were 503`);
  if (created !== keys || report.ids.size !== keys) faults.push(`${keys} keys made ${created} timers`);
  if (!ledger.body.isBalanced) faults.push('the ledger does not balance');
  tell(
    `${copies} equal requests with each of ${keys} keys: ${created} timers, ${report.ids.size} ids told, ${report.conflicts} conflicts on the way, ${Math.round(readSeconds())} s`,
  );
}

async function killAll(databaseUrl: string, survivorUrl: string): Promise<void> {
  for (const [name, describeChange] of Object.entries(CHANGES)) {
    for (const moment of MOMENTS) {
      const beganAt = performance.now();
      let wrong = 0;
      for (let round = 0; round < rounds; round += 1) {
        const found = await killBetweenCommitAndReply(describeChange, moment, databaseUrl, survivorUrl);
        if (found.length > 0) wrong += 1;
        faults.push(...found.map((fault) => `${name}, killed ${moment}: ${fault}`));
      }
      const seconds = Math.round((performance.now() - beganAt) / 1000);
      tell(`${name}, killed ${moment}: ${rounds} rounds, ${wrong} wrong, ${seconds} s`);
    }
  }
}
