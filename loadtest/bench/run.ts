import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { Child } from './child.ts';
import { ENGINE_NAMES, type Engine, type EngineName } from './engines/engine.ts';
import { startPeer } from './engines/peer-engine.ts';
import { startPunctual } from './engines/punctual.ts';
import { describeOrigin, formatReport, type RunResult } from './report.ts';
import { drain } from './scenarios/drain.ts';
import { steady } from './scenarios/steady.ts';

const USAGE = `Measures Punctual, and what a team would take instead, on this machine: every part a process of its own, with a
Postgres, a Redis and an endpoint of their own, one engine after the other.

  npm run bench -- drain     timers that are already due, delivered as fast as it goes
  npm run bench -- steady    so many creates and as many deliveries a second
  npm run bench              both

  --quick                 less of everything: all engines in under three minutes
  --engines LIST          of ${ENGINE_NAMES.join(', ')}; or all (punctual)
  --rounds N              each engine so often, in turn; the table shows medians (1)
  --timers N              of drain (100000)
  --rate N  --seconds N   of steady (1389, 60)
  --schedulers N          Punctual's processes (1)
  --workers N             Punctual's, and the peers' (1)
  --queue redis|postgres  where Punctual keeps its queue (redis)
  --out NAME              write NAME.json and NAME.md, too

The exit code is 1 when a timer was lost, repeated or early, or a ledger does not balance.`;

const QUICK = { timers: 20_000, seconds: 5 };
const LIMITS = { timers: 5_000_000, rate: 50_000, seconds: 7_200, rounds: 20, schedulers: 32, workers: 32 };
const SCENARIOS = ['drain', 'steady'] as const;

interface Options {
  scenarios: readonly (typeof SCENARIOS)[number][];
  engines: readonly EngineName[];
  rounds: number;
  timers: number;
  rate: number;
  seconds: number;
  schedulers: number;
  workers: number;
  queue: 'redis' | 'postgres';
  out: string | undefined;
}

class UsageError extends Error {}

function readOptions(args: readonly string[]): Options | undefined {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      engines: { type: 'string', default: 'punctual' },
      rounds: { type: 'string', default: '1' },
      timers: { type: 'string' },
      rate: { type: 'string', default: '1389' },
      seconds: { type: 'string' },
      schedulers: { type: 'string', default: '1' },
      workers: { type: 'string', default: '1' },
      queue: { type: 'string', default: 'redis' },
      out: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const engines = values.quick || values.engines === 'all' ? ENGINE_NAMES : values.engines.split(',');
  const unknown =
    positionals.find((name) => !SCENARIOS.some((scenario) => scenario === name)) ??
    engines.find((name) => !ENGINE_NAMES.some((engine) => engine === name));
  if (unknown !== undefined) throw new UsageError(`There is no scenario and no engine "${unknown}".`);
  if (values.queue !== 'redis' && values.queue !== 'postgres') throw new UsageError('--queue is redis or postgres.');
  const read = (name: keyof typeof LIMITS, text: string) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= 1 && value <= LIMITS[name]) return value;
    throw new UsageError(`--${name} is a whole number from 1 to ${LIMITS[name]}.`);
  };
  return {
    scenarios: positionals.length > 0 ? (positionals as Options['scenarios']) : SCENARIOS,
    engines: engines as EngineName[],
    rounds: read('rounds', values.rounds),
    timers: read('timers', values.timers ?? String(values.quick ? QUICK.timers : 100_000)),
    rate: read('rate', values.rate),
    seconds: read('seconds', values.seconds ?? String(values.quick ? QUICK.seconds : 60)),
    schedulers: read('schedulers', values.schedulers),
    workers: read('workers', values.workers),
    queue: values.queue,
    out: values.out,
  };
}

async function runOnce(
  options: Options,
  engineName: EngineName,
  scenario: Options['scenarios'][number],
  round: number,
): Promise<RunResult> {
  const sink = new Child(join(import.meta.dirname, 'sink.ts'));
  let engine: Engine | undefined;
  try {
    const { port } = await sink.read<{ port: number }>();
    const sinkUrl = `http://127.0.0.1:${port}/hook`;
    const log = (line: string) => process.stderr.write(`${line}\n`);
    engine =
      engineName === 'punctual'
        ? await startPunctual(sinkUrl, { ...options, log })
        : await startPeer(engineName, sinkUrl, { workers: options.workers, log });
    return scenario === 'drain'
      ? { scenario, engine: engineName, round, result: await drain(engine, sink, options.timers) }
      : { scenario, engine: engineName, round, result: await steady(engine, sink, options.rate, options.seconds) };
  } finally {
    await engine?.stop();
    sink.stop();
  }
}

async function main(args: readonly string[]): Promise<number> {
  let options: Options | undefined;
  try {
    options = readOptions(args);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  if (options === undefined) {
    console.log(USAGE);
    return 0;
  }
  const runs: RunResult[] = [];
  for (const scenario of options.scenarios) {
    for (let round = 1; round <= options.rounds; round += 1) {
      for (const engine of options.engines) {
        process.stderr.write(`${scenario} ${round}/${options.rounds}: ${engine} …\n`);
        runs.push(await runOnce(options, engine, scenario, round));
      }
    }
  }
  const origin = describeOrigin(args);
  const report = formatReport(origin, runs);
  const json = `${JSON.stringify({ ...origin, runs }, undefined, 2)}\n`;
  if (options.out !== undefined) {
    mkdirSync(dirname(options.out), { recursive: true });
    writeFileSync(`${options.out}.json`, json);
    writeFileSync(`${options.out}.md`, `${report}\n`);
  } else {
    process.stderr.write(json);
  }
  console.log(report);
  return runs.every((run) => run.result.faults.length === 0) ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
