import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { describeOrigin, openCommand, readWholeNumber, UsageError, writeReport } from '@punctual/loadtest-command';
import { Child } from './child.ts';
import { type PunctualEngine, startPunctual } from './engines/punctual.ts';
import { formatComparison, type Turn } from './report-comparison.ts';
import { findFaults, startCostClock, waitForDeliveries } from './scenarios/measure.ts';
import type { SinkStats } from './sink.ts';

const USAGE = `Measures this checkout beside another one, in short turns: both are up all the time, each with a Postgres, a Redis and an
endpoint of its own, and only one has work. What the machine does meanwhile meets both, so a few per cent can be seen where two
runs of the benchmark, minutes apart, differ by more than that.

  npm run compare -- FOLDER            another checkout, with its packages installed (npm test, or npm start, does that)

  --rounds N              turns of each (10)
  --rate N  --seconds N   timers created and delivered a second, and for how long, in each turn (1389; 6)
  --drain N               in place of that: so many timers that are due already
  --out NAME              write NAME.json and NAME.md, too

The exit code is 1 when a timer was lost, repeated or early, or a ledger does not balance.`;

const LIMITS = { rounds: 100, rate: 50_000, seconds: 600, drain: 1_000_000 };
/** Turns before those that count, so that nothing is cold. */
const WARM_UP_ROUNDS = 1;
const ENTRIES = {
  api: 'services/api-service/main.ts',
  scheduler: 'services/scheduler-service/main.ts',
  worker: 'services/worker-service/main.ts',
  migrate: 'services/standalone/migrate.ts',
};

interface Options {
  folder: string;
  rounds: number;
  rate: number;
  seconds: number;
  /** Undefined: the steady rate. */
  drain: number | undefined;
  out: string | undefined;
}

/** One checkout at work. */
interface Side {
  name: string;
  sink: Child;
  engine: PunctualEngine;
}

const log = (line: string) => process.stderr.write(`${line}\n`);

function readOptions(args: readonly string[]): Options | undefined {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '10' },
      rate: { type: 'string', default: '1389' },
      seconds: { type: 'string', default: '6' },
      drain: { type: 'string' },
      out: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const [folder, ...others] = positionals;
  if (folder === undefined || others.length > 0) throw new UsageError('Name one folder: that of the other checkout.');
  const missing = Object.values(ENTRIES).find((entry) => !existsSync(join(folder, entry)));
  if (missing !== undefined) throw new UsageError(`${folder} is no checkout of Punctual: it has no ${missing}.`);
  if (!existsSync(join(folder, 'node_modules'))) throw new UsageError(`${folder} has no packages: run npm test there.`);
  const read = (name: keyof typeof LIMITS, text: string) => readWholeNumber(name, text, { max: LIMITS[name] });
  return {
    folder: resolve(folder),
    rounds: read('rounds', values.rounds),
    rate: read('rate', values.rate),
    seconds: read('seconds', values.seconds),
    drain: values.drain === undefined ? undefined : read('drain', values.drain),
    out: values.out,
  };
}

async function startSide(folder: string): Promise<Side> {
  const name = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: folder, encoding: 'utf8' }).trim();
  const sink = new Child(join(import.meta.dirname, 'sink.ts'));
  try {
    const { port } = await sink.read<{ port: number }>();
    const entries = Object.fromEntries(Object.entries(ENTRIES).map(([kind, entry]) => [kind, join(folder, entry)]));
    const size = { schedulers: 1, workers: 1, queue: 'redis' } as const;
    const engine = await startPunctual(`http://127.0.0.1:${port}/hook`, { ...size, entries, log });
    return { name, sink, engine };
  } catch (error) {
    sink.stop();
    throw error;
  }
}

async function stopSide({ engine, sink }: Side): Promise<void> {
  await engine.stop();
  sink.stop();
}

async function runTurn({ engine, sink }: Side, { rate, seconds, drain }: Options): Promise<Turn> {
  await sink.ask('reset');
  if (drain !== undefined) {
    await engine.pause();
    await engine.putDue(drain);
  }
  const readCost = startCostClock(engine);
  if (drain !== undefined) await engine.resume();
  const { created, refused } =
    drain === undefined ? await engine.create(rate, seconds) : { created: drain, refused: 0 };
  await waitForDeliveries(sink, created);
  const stats = await sink.ask<SinkStats>('stats');
  return {
    ...readCost(stats.timers),
    latenessMs: stats.lateness,
    timersPerSecond: (stats.timers / (stats.lastAt - stats.firstAt)) * 1000,
    faults: [
      ...(await findFaults(engine, stats, created)),
      ...(refused > 0 ? [`${refused} creates were refused`] : []),
    ],
  };
}

async function main(args: readonly string[]): Promise<number> {
  const options = openCommand(args, USAGE, readOptions);
  if (typeof options === 'number') return options;
  const own = resolve(import.meta.dirname, '../..');
  const sides: Side[] = [];
  const turns: Turn[][] = [[], []];
  try {
    for (const folder of [options.folder, own]) sides.push(await startSide(folder));
    for (let round = 1 - WARM_UP_ROUNDS; round <= options.rounds; round += 1) {
      log(round < 1 ? 'warming up …' : `round ${round} of ${options.rounds} …`);
      // The first is never the same: what one turn leaves to do would always meet the other.
      const order = round % 2 === 0 ? [0, 1] : [1, 0];
      for (const index of order) {
        const turn = await runTurn(sides[index]!, options);
        if (round >= 1) turns[index]!.push(turn);
      }
    }
  } finally {
    await Promise.all(sides.map(stopSide));
  }
  const origin = describeOrigin('compare', args);
  const names = sides.map(({ name }) => name) as [string, string];
  const [before, after] = turns as [Turn[], Turn[]];
  const report = formatComparison(origin, names, before, after);
  if (options.out !== undefined) writeReport(options.out, report, { ...origin, names, before, after });
  console.log(report);
  return turns.flat().every(({ faults }) => faults.length === 0) ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
