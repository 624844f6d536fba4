// The whole test run: lint, types and all tests, against one Postgres and one Redis that are started for it, and a few of
// the tests once more while calls of the services' clients fail now and then.
//
// usage: npm test [-- [--faults[=RATE] [--seed=N] [--out=NAME]] ARGUMENT...]
//
//   --faults      lets this share of the calls to Postgres and Redis fail, 0.01 unless told otherwise, in all tests of the
//                 services, the queue and the whole system, or in those that the arguments choose (docs/testing.md)
//   --seed        chooses the calls that fail; by default another one each time, which is printed
//   --out         writes NAME.md and NAME.json: how many tests passed, and what failed on purpose
//   ARGUMENT      goes to vitest: a part of a file name, -t NAME, ...
//
// The last line printed is "N passed, N failed"; lint and types count as one each. The exit code is 1 unless nothing
// failed, 130 when the run was interrupted.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeOrigin, type Origin, writeReport } from '../loadtest/command/index.ts';
import { LocalServerError, startTestServers } from '../packages/local-servers/index.ts';
import { type FaultCounts, readFaultCounts } from '../packages/testkit/faults/fault-record.ts';
import { judgeFaults, showFaults } from '../packages/testkit/faults/judge-faults.ts';
import { describeFaultSettings, FAULT_RATE_MAX } from '../packages/testkit/faults/settings.ts';

type Counts = { passed: number; failed: number };

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const BIN = join(ROOT, 'node_modules/.bin');
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const INTERRUPTED_CODE = 130;

/** What runs under injected faults: whatever has services in it. */
const FAULT_SUITES = [
  'services/api-service/test/',
  'services/scheduler-service/test/',
  'services/worker-service/test/',
  'packages/queue/test/',
  'tests/e2e/',
];
const FAULT_RATE_DEFAULT = 0.01;
/**
 * With every run: some suites, in less than a minute, and more faults to make up for it. Those of the worker and the queue wait
 * for leases and time limits after some faults, for longer than everybody should.
 */
const SHORT_FAULT_SUITES = [
  'services/api-service/test/timers.int',
  'services/api-service/test/runs.int',
  'services/scheduler-service/test/read-ahead',
];
const SHORT_FAULT_RATE = 0.03;

/** What runs now, to be ended when the run is interrupted. */
let current: ReturnType<typeof spawn> | undefined;
let isInterrupted = false;

for (const signal of SIGNALS) {
  process.on(signal, () => {
    isInterrupted = true;
    current?.kill('SIGTERM');
  });
}

const counts: Counts = { passed: 0, failed: 0 };
const { faults, args } = readArguments(process.argv.slice(2));
add(await runCheck('lint', 'biome', ['check']));
add(await runCheck('types', 'tsc', ['-p', '.']));
if (!isInterrupted && faults) add(await runUnderFaults(faults, args.length > 0 ? args : FAULT_SUITES));
if (!isInterrupted && !faults) add(await runTests(args));
if (!isInterrupted && !faults && args.length === 0) {
  add(await runUnderFaults({ rate: SHORT_FAULT_RATE, seed: chooseSeed() }, SHORT_FAULT_SUITES));
}
if (isInterrupted) console.log('The run was interrupted.');
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = isInterrupted ? INTERRUPTED_CODE : counts.failed > 0 ? 1 : 0;

function add(more: Counts): void {
  counts.passed += more.passed;
  counts.failed += more.failed;
}

async function runCheck(name: string, program: string, args: string[]): Promise<Counts> {
  if (isInterrupted) return { passed: 0, failed: 0 };
  console.log(`== ${name}`);
  const isGood = (await runProgram(program, args, process.env)) === 0;
  return { passed: isGood ? 1 : 0, failed: isGood ? 0 : 1 };
}

/** Options of ours, and what is left for vitest. Ends the process when they make no sense. */
function readArguments(all: readonly string[]): { faults: Faults | undefined; args: string[] } {
  const isOurs = (argument: string) => /^--(faults|seed|out)(=|$)/.test(argument);
  const args = all.filter((argument) => !isOurs(argument));
  const options = new Map(
    all.filter(isOurs).map((argument) => {
      const [name, value] = argument.slice(2).split('=');
      return [name!, value];
    }),
  );
  if (!options.has('faults')) {
    if (options.has('seed') || options.has('out')) refuse('--seed and --out go with --faults.');
    return { faults: undefined, args };
  }
  const rate = Number(options.get('faults') ?? FAULT_RATE_DEFAULT);
  if (!(rate > 0 && rate <= FAULT_RATE_MAX)) refuse(`--faults takes a share above 0 and up to ${FAULT_RATE_MAX}.`);
  const seed = Number(options.get('seed') ?? chooseSeed());
  if (!Number.isSafeInteger(seed) || seed < 0) refuse('--seed takes a whole number.');
  return { faults: { rate, seed, out: options.get('out') }, args };
}

function refuse(sentence: string): never {
  console.error(sentence);
  process.exit(1);
}

function chooseSeed(): number {
  return Math.floor(Math.random() * 2 ** 31);
}

/** The share of calls that fail, what chooses them, and the name of the report that is to be written. */
type Faults = { rate: number; seed: number; out?: string | undefined };

/** Tests while calls fail, and one check more: that they did. */
async function runUnderFaults({ rate, seed, out }: Faults, args: readonly string[]): Promise<Counts> {
  const origin = out === undefined ? undefined : describeOrigin('test', process.argv.slice(2));
  const folder = mkdtempSync(join(tmpdir(), 'punctual-faults-'));
  try {
    console.log(`== faults: ${rate * 100}% of calls fail, as seed ${seed} chooses (--faults=${rate} --seed=${seed})`);
    const result = await runTests([...args], describeFaultSettings({ rate, seed, folder }));
    if (isInterrupted) return result;
    const found = readFaultCounts(folder);
    console.log(showFaults(found));
    const complaint = judgeFaults(found, rate);
    if (complaint !== undefined) console.error(complaint);
    if (origin) report(origin, { rate, seed, out }, result, found, complaint);
    return complaint === undefined
      ? { ...result, passed: result.passed + 1 }
      : { ...result, failed: result.failed + 1 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function report(
  origin: Origin,
  { rate, seed, out }: Faults,
  { passed, failed }: Counts,
  found: FaultCounts,
  complaint: string | undefined,
): void {
  const text = [
    `\`${origin.command}\` at \`${origin.commit}\`, ${origin.measuredAt.slice(0, 10)}`,
    '',
    `${origin.machine}.`,
    '',
    `Seed ${seed}, ${rate * 100}% of the calls: ${passed} tests passed, ${failed} failed.`,
    '',
    showFaults(found),
    ...(complaint === undefined ? [] : ['', complaint]),
  ].join('\n');
  const faults = Object.fromEntries(found.faults);
  writeReport(out!, text, { ...origin, rate, seed, passed, failed, ...found, faults, complaint: complaint ?? null });
}

async function runTests(args: string[], environment: Record<string, string> = {}): Promise<Counts> {
  console.log('== tests');
  const folder = mkdtempSync(join(tmpdir(), 'punctual-test-run-'));
  const reportPath = join(folder, 'report.json');
  try {
    const servers = await startTestServers();
    const env = {
      ...process.env,
      ...environment,
      TEST_DATABASE_URL: servers.databaseUrl,
      TEST_REDIS_URL: servers.redisUrl,
    };
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportPath}`];
    try {
      const code = await runProgram('vitest', ['run', ...reporters, ...args], env);
      return countTests(reportPath, code === 0);
    } finally {
      await servers.stop();
    }
  } catch (error) {
    console.error(error instanceof LocalServerError ? error.message : error);
    return { passed: 0, failed: 1 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A test file that cannot be loaded counts as one failure, and so does a run that fails without a failed test. */
function countTests(reportPath: string, isGood: boolean): Counts {
  let report: VitestReport;
  try {
    report = JSON.parse(readFileSync(reportPath, 'utf8'));
  } catch {
    console.error('vitest ended without a report.');
    return { passed: 0, failed: 1 };
  }
  const files = report.testResults;
  const unloaded = files.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some(({ status }) => status === 'failed'),
  );
  const failed = report.numFailedTests + unloaded.length;
  const left = files.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status !== 'passed' && status !== 'failed')
      .map(({ fullName }) => `${relative(ROOT, name)}: ${fullName}`),
  );
  if (left.length > 0) console.log(['Did not run, here:', ...left].join('\n  '));
  return { passed: report.numPassedTests, failed: failed === 0 && !isGood ? 1 : failed };
}

/** The part that is read of vitest's JSON report. */
type VitestReport = {
  numPassedTests: number;
  numFailedTests: number;
  testResults: { name: string; status: string; assertionResults: { status: string; fullName: string }[] }[];
};

/** Resolves to the exit code, or to undefined when a signal ended the program or it could not be started. */
function runProgram(name: string, args: string[], env: NodeJS.ProcessEnv): Promise<number | undefined> {
  return new Promise((resolve) => {
    current = spawn(join(BIN, name), args, { cwd: ROOT, env, stdio: ['ignore', 'inherit', 'inherit'] });
    current.on('error', (error) => {
      console.error(`${name} could not be started: ${error.message}`);
      resolve(undefined);
    });
    current.on('exit', (code) => resolve(code ?? undefined));
  });
}
