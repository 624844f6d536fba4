// What Prometheus' own programs say of monitoring/: promtool checks the configuration and the rules and runs their unit
// tests. `npm test` does what can be done without them.
//
// usage: npm run monitoring [-- [--prometheus] [--build] [--out=NAME]]
//
//   --prometheus   a real Prometheus scrapes real services, and is asked every expression of rules and dashboards
//   --build        promtool and prometheus are built with Go when they are not on the PATH
//   --out=NAME     writes what came of it to NAME.md and NAME.json
//
// Exit code 1 when something was wrong, 2 when a program is not to be had.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeOrigin, writeReport } from '../../loadtest/command/index.ts';
import { ROOT } from '../docs/markdown-files.ts';
import { tryRealPrometheus } from './real-prometheus.ts';
import { findTool, readVersion } from './tools.ts';

const CHECKS = [
  ['check', 'config', 'prometheus.yml'],
  ['check', 'rules', 'rules/recording.yml', 'rules/timers.yml', 'rules/services.yml'],
  ['test', 'rules', 'tests/alerts.yml'],
];
const NOT_FOUND =
  'is not on the PATH. Install Prometheus (Debian and Ubuntu: sudo apt-get install prometheus), or give --build where Go is.';

const args = process.argv.slice(2).filter((argument) => argument !== '--');
const { values } = parseArgs({
  args,
  options: {
    prometheus: { type: 'boolean', default: false },
    build: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const origin = values.out === undefined ? undefined : describeOrigin('monitoring', args);
const results: string[] = [];
let isWell = true;

const promtool = await findTool('promtool', values.build);
if (promtool === undefined) {
  console.error(`promtool ${NOT_FOUND}`);
  process.exit(2);
}
tell(await readVersion(promtool));
for (const check of CHECKS) {
  const { status, stdout, stderr } = spawnSync(promtool, check, {
    cwd: join(ROOT, 'monitoring/prometheus'),
    encoding: 'utf8',
  });
  if (status !== 0) console.error(`${stdout}${stderr}`);
  tell(`promtool ${check.join(' ')}: ${status === 0 ? 'well' : 'WRONG'}`);
  isWell &&= status === 0;
}

if (values.prometheus) {
  const prometheus = await findTool('prometheus', values.build);
  if (prometheus === undefined) {
    console.error(`prometheus ${NOT_FOUND}`);
    process.exit(2);
  }
  tell(await readVersion(prometheus));
  const seen = await tryRealPrometheus(prometheus);
  results.push(...seen.results);
  isWell &&= seen.isWell;
}

if (origin) {
  const heading = `\`${origin.command}\` at \`${origin.commit}\`, ${origin.measuredAt.slice(0, 10)}`;
  const text = [heading, '', `${origin.machine}.`, '', ...results.map((result) => `- ${result}`)].join('\n');
  writeReport(values.out!, text, { ...origin, results });
}
process.exitCode = isWell ? 0 : 1;

function tell(result: string): void {
  results.push(result);
  console.log(result);
}
