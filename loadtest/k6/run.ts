import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeOrigin, type Origin, openCommand, writeReport } from '@punctual/loadtest-command';
import {
  type GuardedProcess,
  LocalServerError,
  type RunningStack,
  startGuardedProcess,
  startStack,
} from '@punctual/local-servers';
import { findK6, type K6, NoK6Error } from './find-k6.ts';
import { type LoadtestOptions, readOptions, type ScenarioPlan, USAGE } from './options.ts';
import { PLAN_VARIABLE, type Plan } from './scripts/plan.ts';
import { formatReport, type K6Summary, listFailures, type ScenarioResult } from './summary.ts';

const ROOT = join(import.meta.dirname, '../..');
const SCRIPTS = join(import.meta.dirname, 'scripts');
/** Outside git, and gone with the installation. */
const K6_CACHE = join(ROOT, 'node_modules/.cache/punctual-k6');
const STOP_TIMEOUT_MS = 10_000;
const READY_TIMEOUT_MS = 5_000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const INTERRUPTED_CODE = 130;
/** k6's exit code for "ran to its end, but a threshold failed". */
const THRESHOLDS_FAILED_CODE = 99;

/** Says in one sentence what is in the way. */
class LoadtestError extends Error {}

interface Target {
  apiUrl: string;
  key: string;
  receiverUrl: string;
}

/** What runs now; the guards end it when this process is killed. */
let stack: RunningStack | undefined;
let receiver: GuardedProcess | undefined;
let current: GuardedProcess | undefined;
let isInterrupted = false;
const interruption = new AbortController();

for (const signal of SIGNALS) {
  process.on(signal, () => {
    isInterrupted = true;
    interruption.abort();
    void current?.stop();
  });
}

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const options = openCommand(args, USAGE, readOptions);
  if (typeof options === 'number') return options;
  const folder = mkdtempSync(join(tmpdir(), 'punctual-loadtest-'));
  let isFolderOfUse = false;
  try {
    const k6 = await findK6({ cacheFolder: K6_CACHE, env: process.env, signal: interruption.signal, log: writeLine });
    const results = await runAll(options, k6, folder);
    if (isInterrupted) return INTERRUPTED_CODE;
    const isGood = showReport(options, describeOrigin('loadtest', args), k6, results);
    isFolderOfUse = !isGood;
    return isGood ? 0 : 1;
  } catch (error) {
    if (isInterrupted) return INTERRUPTED_CODE;
    isFolderOfUse = readdirSync(folder).length > 0;
    const isPlain = error instanceof NoK6Error || error instanceof LoadtestError || error instanceof LocalServerError;
    console.error(isPlain ? error.message : error);
    return 1;
  } finally {
    await Promise.all([stack?.stop(), receiver?.stop()]);
    if (isInterrupted) writeLine('The run was interrupted.');
    if (isFolderOfUse) writeLine(`What was promised, and k6's summaries, are in ${folder}.`);
    else rmSync(folder, { recursive: true, force: true });
  }
}

function writeLine(line: string): void {
  process.stderr.write(`${line}\n`);
}

async function runAll(options: LoadtestOptions, k6: K6, folder: string): Promise<ScenarioResult[]> {
  const target = await openTarget(options);
  const results: ScenarioResult[] = [];
  for (const plan of options.scenarios) {
    if (isInterrupted) break;
    writeLine(`${plan.name}: ${plan.rate} a second for ${plan.seconds} s …`);
    results.push(await runScenario(k6, target, plan, join(folder, plan.name)));
  }
  return results;
}

async function openTarget(options: LoadtestOptions): Promise<Target> {
  const { url, keyFile, schedulers, workers } = options;
  const key = keyFile === undefined ? '' : readKey(keyFile);
  if (url !== undefined) await checkReady(url);
  const receiverUrl = await startReceiver();
  if (url !== undefined) return { apiUrl: url, key, receiverUrl };
  stack = await startStack({
    scheduler: schedulers,
    worker: workers,
    ephemeral: true,
    env: { LOG_LEVEL: 'warn' },
    log: writeLine,
  });
  return { apiUrl: stack.apiUrls[0]!, key, receiverUrl };
}

function readKey(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new LoadtestError(`The API key could not be read: ${(error as Error).message}.`);
  }
}

async function checkReady(url: string): Promise<void> {
  const signal = AbortSignal.timeout(READY_TIMEOUT_MS);
  const isReady = await fetch(`${url}/v1/health/ready`, { signal }).then(
    ({ ok }) => ok,
    () => false,
  );
  if (!isReady) throw new LoadtestError(`There is no api at ${url} that says that it is ready.`);
}

async function startReceiver(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  receiver = await startGuardedProcess({
    command: process.execPath,
    args: [join(import.meta.dirname, 'receiver.ts')],
    env: process.env,
    cwd: ROOT,
    stopSignal: 'SIGTERM',
    hardSignal: 'SIGKILL',
    stopTimeoutMs: STOP_TIMEOUT_MS,
    output: { onLine: (line) => (line.startsWith('{"port":') ? resolve(line) : writeLine(line)) },
  });
  const line = await Promise.race([promise, receiver.exited.then(() => undefined)]);
  if (line === undefined) throw new LoadtestError('The receiver ended at its start; what it said is above.');
  return `http://127.0.0.1:${(JSON.parse(line) as { port: number }).port}`;
}

async function runScenario(k6: K6, target: Target, scenario: ScenarioPlan, path: string): Promise<ScenarioResult> {
  const { name, rate, seconds, limits } = scenario;
  const run = `${target.receiverUrl}/${name}-${Date.now()}`;
  const plan: Plan = {
    apiUrl: target.apiUrl,
    key: target.key,
    hookUrl: run,
    receiptsUrl: run,
    rate,
    seconds,
    limits,
    journal: `${path}.journal`,
    summary: `${path}.load.json`,
  };
  // k6 makes the journal with the first promise: a load without any still has one, an empty one.
  writeFileSync(plan.journal, '');
  const load = await runK6(k6, `${name}.ts`, plan, ['--console-output', plan.journal]);
  if (isInterrupted) return { plan: scenario, load };
  const proof = await runK6(k6, 'verify.ts', { ...plan, summary: `${path}.proof.json` }, []);
  const result = { plan: scenario, load, proof };
  const failures = listFailures(result);
  for (const failure of failures) writeLine(failure);
  if (failures.length === 0) writeLine(`${name}: every threshold held`);
  return result;
}

/** Runs one script to its end and reads its summary. */
async function runK6(k6: K6, script: string, plan: Plan, args: readonly string[]): Promise<K6Summary> {
  current = await startGuardedProcess({
    command: k6.program,
    // Without the server on a fixed port, the statistics for its makers and the search for extensions: k6 speaks to the
    // api and the receiver only.
    args: [
      'run',
      '--quiet',
      '--no-color',
      '--no-usage-report',
      '--address',
      '',
      '--log-format',
      'raw',
      ...args,
      script,
    ],
    env: { ...process.env, K6_AUTO_EXTENSION_RESOLUTION: 'false', [PLAN_VARIABLE]: JSON.stringify(plan) },
    cwd: SCRIPTS,
    stopSignal: 'SIGTERM',
    hardSignal: 'SIGKILL',
    stopTimeoutMs: STOP_TIMEOUT_MS,
    output: { onLine: writeLine },
  });
  // Told to stop while it was starting.
  if (isInterrupted) void current.stop();
  const { code, signal } = await current.exited;
  current = undefined;
  if (code === 0 || code === THRESHOLDS_FAILED_CODE || isInterrupted) {
    return isInterrupted ? { metrics: {} } : (JSON.parse(readFileSync(plan.summary, 'utf8')) as K6Summary);
  }
  throw new LoadtestError(
    `k6 did not run ${script} to its end (${signal ?? `exit code ${code}`}); what it said is above.`,
  );
}

/** Prints the table, writes the files that were asked for; false when a threshold failed. */
function showReport(options: LoadtestOptions, made: Origin, k6: K6, results: readonly ScenarioResult[]): boolean {
  const origin = { ...made, k6: k6.version, ...(options.note !== undefined && { note: options.note }) };
  const report = formatReport(origin, results);
  const failures = results.flatMap(listFailures);
  if (options.out !== undefined) writeReport(options.out, report, { ...origin, failures, results });
  console.log(report);
  return failures.length === 0;
}
