// Random histories of timers against the model, as many as one likes, with progress. Starts its own Postgres.
//
// usage: npm run histories [-- [--count=N] [--seed=N] [--path=P] [--out=NAME]]
//        npm run histories -- --breakage=NAME
//
// By default 100,000 histories that a seed of the moment chooses. A history that does not go as the model says is made as
// short as can be and told step by step, with the seed and the path that lead to it again. The exit code is 1 then.
// With `--breakage`, looks for a seed whose first histories notice that breakage of a statement, for noticing-seeds.ts; an
// empty name means all of them.
// `--out` writes NAME.md and NAME.json: how many went as the model says, at which commit, on which machine.
import { parseArgs } from 'node:util';
import { describeOrigin, type Origin, writeReport } from '../loadtest/command/index.ts';
import { BREAKAGES } from '../packages/database/test/histories/breakages.ts';
import { findNoticingSeed } from '../packages/database/test/histories/noticing-seeds.ts';
import { checkHistories, HistoryRunner } from '../packages/database/test/histories/runner.ts';
import { startTestServers } from '../packages/local-servers/index.ts';

const COUNT_DEFAULT = 100_000;
/** A day and more. */
const COUNT_MAX = 10_000_000;
/** Histories that one seed chooses: fast-check tells which of them failed by its number. */
const HISTORIES_PER_BLOCK = 500;
/** Histories side by side, each on a database of its own: while one waits for Postgres another is reckoned here. */
const LANES = 3;
const PROGRESS_INTERVAL_MS = 10_000;

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: String(COUNT_DEFAULT) },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 30)) },
    path: { type: 'string' },
    breakage: { type: 'string' },
    out: { type: 'string' },
  },
});
const count = Number(values.count);
const firstSeed = Number(values.seed);
if (!Number.isInteger(count) || count < 1 || count > COUNT_MAX)
  fail(`--count takes a whole number from 1 to ${COUNT_MAX}.`);
if (!Number.isInteger(firstSeed)) fail('--seed takes a whole number.');

const breakages = BREAKAGES.filter(({ name }) => values.breakage === '' || name === values.breakage);
if (values.breakage !== undefined && breakages.length === 0)
  fail(`--breakage takes one of: ${BREAKAGES.map(({ name }) => name).join('; ')}.`);

const origin = values.out === undefined ? undefined : describeOrigin('histories', process.argv.slice(2));
const servers = await startTestServers();
process.env.TEST_DATABASE_URL = servers.databaseUrl;
process.env.TEST_REDIS_URL = servers.redisUrl;
if (values.breakage !== undefined) {
  await searchSeeds().finally(() => servers.stop());
  process.exit();
}
const beganAt = performance.now();
let done = 0;
let nextBlock = 0;
let failure: string | undefined;
const progress = setInterval(tellProgress, PROGRESS_INTERVAL_MS);
try {
  console.log(`${count} histories from seed ${firstSeed} on`);
  const lanes = values.path === undefined ? LANES : 1;
  await Promise.all(Array.from({ length: lanes }, runLane));
} finally {
  clearInterval(progress);
  await servers.stop();
}
tellProgress();
if (origin) report(values.out!, origin);
if (failure !== undefined) fail(failure);
console.log('All of them went as the model says.');

async function searchSeeds(): Promise<void> {
  const runner = await HistoryRunner.open();
  try {
    for (const breakage of breakages) {
      const seed = await findNoticingSeed(runner, breakage);
      console.log(`${breakage.name}: ${seed === undefined ? 'no seed notices it' : `seed ${seed}`}`);
      if (seed === undefined) process.exitCode = 1;
    }
  } finally {
    await runner.close();
  }
}

async function runLane(): Promise<void> {
  const runner = await HistoryRunner.open();
  try {
    while (failure === undefined && nextBlock * HISTORIES_PER_BLOCK < count) {
      const block = nextBlock++;
      const seed = firstSeed + block;
      const numRuns = Math.min(HISTORIES_PER_BLOCK, count - block * HISTORIES_PER_BLOCK);
      const found = await checkHistories(runner, { numRuns, seed, path: values.path }, () => {
        done += 1;
      });
      if (found)
        failure = `${found.report}\n\nAgain: npm run histories -- --seed=${seed} --path=${found.path} --count=1`;
    }
  } finally {
    await runner.close();
  }
}

function tellProgress(): void {
  const seconds = (performance.now() - beganAt) / 1000;
  const rate = done / seconds;
  const minutesLeft = Math.max(0, (count - done) / rate / 60);
  console.log(
    `${done} of ${count} histories in ${Math.round(seconds)} s, ${Math.round(rate)} a second, ${minutesLeft.toFixed(1)} min left`,
  );
}

function report(out: string, origin: Origin): void {
  const seconds = Math.round((performance.now() - beganAt) / 1000);
  const outcome = failure ?? 'All of them went as the model says.';
  const text = [
    `\`${origin.command}\` at \`${origin.commit}\`, ${origin.measuredAt.slice(0, 10)}`,
    '',
    `${origin.machine}.`,
    '',
    `${done} of ${count} histories from seed ${firstSeed} on, in ${seconds} s. ${outcome}`,
  ].join('\n');
  writeReport(out, text, { ...origin, seed: firstSeed, count, done, seconds, failure: failure ?? null });
}

function fail(sentence: string): never {
  console.error(sentence);
  process.exit(1);
}
