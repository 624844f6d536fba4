import { connectDatabase, migrateUp } from '@punctual/database';
import { describeOrigin, openCommand, writeReport } from '@punctual/loadtest-command';
import { LocalServerError, startPostgres } from '@punctual/local-servers';
import { migrateQueue } from '@punctual/queue';
import { startFuzzedApi } from './api.ts';
import { type FuzzResult, fuzz } from './fuzz.ts';
import { type FuzzCommand, readOptions, USAGE } from './options.ts';
import { formatReport } from './report.ts';
import { NoSchemathesisError } from './schemathesis/find-schemathesis.ts';
import { runSchemathesis } from './schemathesis/run-schemathesis.ts';

/** Between two lines of progress (ms). */
const PROGRESS_INTERVAL_MS = 5_000;
const CONNECTIONS = 4;
/** As after SIGINT. */
const INTERRUPTED_CODE = 130;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const options = openCommand(args, USAGE, readOptions);
  if (typeof options === 'number') return options;
  // Whatever was started runs under guards, which end it when this process is gone.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => process.exit(INTERRUPTED_CODE));
  try {
    if (options.kind === 'schemathesis') return await runSchemathesis(options, describeOrigin('fuzz', args));
    return await runOwn(options, args);
  } catch (error) {
    const isPlain = error instanceof LocalServerError || error instanceof NoSchemathesisError;
    console.error(isPlain ? error.message : error);
    return 1;
  }
}

async function runOwn(options: FuzzCommand, args: readonly string[]): Promise<number> {
  const origin = { ...describeOrigin('fuzz', args), ...(options.note !== undefined && { note: options.note }) };
  const { seed, cases, round: fromRound } = options;
  writeLine(`Seed ${seed}. Starting Postgres and the api …`);
  const postgres = await startPostgres({ ephemeral: true, log: () => {} });
  const database = connectDatabase({
    connectionString: postgres.url,
    applicationName: 'punctual-fuzz',
    poolSizeMax: CONNECTIONS,
  });
  try {
    await migrateUp(postgres.url);
    await migrateQueue({ databaseUrl: postgres.url });
    const api = await startFuzzedApi(postgres.url);
    try {
      const memory = [api.readMemory()];
      const startedAt = performance.now();
      const seconds = () => (performance.now() - startedAt) / 1000;
      const result = await fuzz({ api, database, cases, seed, fromRound, onProgress: createProgress(cases, seconds) });
      memory.push(api.readMemory());
      const report = formatReport(origin, result, { seed, seconds: seconds(), memory });
      if (options.out !== undefined) writeReport(options.out, report, { ...origin, seed, memory, ...result });
      console.log(report);
      if (result.failures.length > 0) writeLine(`Again: npm run fuzz -- --cases ${cases} --seed ${seed}`);
      return result.failures.length === 0 ? 0 : 1;
    } finally {
      await api.stop();
    }
  } finally {
    await database.close();
    await postgres.stop();
  }
}

function createProgress(cases: number, seconds: () => number): (progress: FuzzResult) => void {
  let shownAt = 0;
  return (progress) => {
    const now = performance.now();
    if (now - shownAt < PROGRESS_INTERVAL_MS) return;
    shownAt = now;
    const rate = Math.round(progress.cases / seconds());
    writeLine(`${progress.cases} of ${cases} cases, ${rate} a second, ${progress.failures.length} failures`);
  };
}

function writeLine(line: string): void {
  process.stderr.write(`${line}\n`);
}
