// The whole test run: lint, types and all tests, against one Postgres and one Redis that are started for it.
//
// usage: npm test [-- ARGUMENT...]     the arguments go to vitest: a part of a file name, -t NAME, ...
//
// The last line printed is "N passed, N failed"; lint and types count as one each. The exit code is 1 unless nothing
// failed, 130 when the run was interrupted.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LocalServerError, startTestServers } from '../packages/local-servers/index.ts';

type Counts = { passed: number; failed: number };

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const BIN = join(ROOT, 'node_modules/.bin');
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const INTERRUPTED_CODE = 130;

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
add(await runCheck('lint', 'biome', ['check']));
add(await runCheck('types', 'tsc', ['-p', '.']));
if (!isInterrupted) add(await runTests(process.argv.slice(2)));
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

async function runTests(args: string[]): Promise<Counts> {
  console.log('== tests');
  const folder = mkdtempSync(join(tmpdir(), 'punctual-test-run-'));
  const reportPath = join(folder, 'report.json');
  try {
    const servers = await startTestServers();
    const env = { ...process.env, TEST_DATABASE_URL: servers.databaseUrl, TEST_REDIS_URL: servers.redisUrl };
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
  const left = report.numTotalTests - report.numPassedTests - report.numFailedTests;
  if (left > 0) console.log(`${left} tests did not run.`);
  return { passed: report.numPassedTests, failed: failed === 0 && !isGood ? 1 : failed };
}

/** The part that is read of vitest's JSON report. */
type VitestReport = {
  numTotalTests: number;
  numPassedTests: number;
  numFailedTests: number;
  testResults: { status: string; assertionResults: { status: string }[] }[];
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
