// Restarts every service, one process after the other, while timers are created and delivered at a fixed rate; with `--from`
// the processes of another version are replaced by this one's, on a database that is migrated beneath them.
//
// usage: npm run roll [-- [--rate=N] [--seconds=N] [--from=COMMIT] [--out=NAME]]
//
// By default 1,389 timers a second, and 20 s before the first restart, with both versions at work, and after the last one. The
// exit code is 1 when anything was wrong. `--out` writes NAME.md and NAME.json.

import { parseArgs } from 'node:util';
import { describeOrigin, readWholeNumber, writeReport } from '@punctual/loadtest-command';
import { openVersion } from './roll/other-version.ts';
import { type Lateness, roll } from './roll/roll.ts';

const LIMITS = { rate: 10_000, seconds: 600 };

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '1389' },
    seconds: { type: 'string', default: '20' },
    from: { type: 'string' },
    out: { type: 'string' },
  },
});
const log = (line: string) => console.error(line);
const rate = readWholeNumber('rate', values.rate, { max: LIMITS.rate });
const seconds = readWholeNumber('seconds', values.seconds, { max: LIMITS.seconds });
const origin = describeOrigin('roll', process.argv.slice(2));
if (values.from !== undefined) log(`installing ${values.from} …`);
const other = values.from === undefined ? undefined : await openVersion(values.from);
try {
  const result = await roll({ rate, seconds, log, ...(other && { from: other.folder }) });
  const { before, during, after, created, restarts, restartSeconds, slowestAnswerMs, faults } = result;
  const row = (name: string, { timers, p50, p95, p99, max }: Lateness) =>
    `| ${[name, timers, p50, p95, p99, max, (p95 / before.p95).toFixed(2)].join(' | ')} |`;
  const text = [
    `\`${origin.command}\` at \`${origin.commit}\`, ${origin.measuredAt.slice(0, 10)}`,
    '',
    `${origin.machine}. ${created} timers, ${restarts} restarts in ${restartSeconds.toFixed(1)} s; the slowest answer took ${Math.round(slowestAnswerMs)} ms.`,
    '',
    '| | timers | late p50 ms | p95 | p99 | max | p95, ratio |',
    '|---|---|---|---|---|---|---|',
    row('before', before),
    row('during', during),
    row('after', after),
    '',
    faults.length === 0
      ? 'No request was refused, no timer lost, repeated or early; the ledger balances.'
      : `${faults.length} faults:`,
    ...faults.map((fault) => `- ${fault}`),
  ].join('\n');
  console.log(text);
  if (values.out !== undefined) writeReport(values.out, text, { ...origin, ...result });
  process.exitCode = faults.length > 0 ? 1 : 0;
} finally {
  await other?.remove();
}
