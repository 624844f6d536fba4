import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeOrigin, openCommand, readWholeNumber, UsageError, writeReport } from '@punctual/loadtest-command';
import { Child } from './child.ts';
import { ENGINE_NAMES, type Engine, type EngineName } from './engines/engine.ts';
import { startPeer } from './engines/peer-engine.ts';
import { type PunctualEngine, startPunctual } from './engines/punctual.ts';
import { withProgress } from './progress.ts';
import { formatReport, type RunResult } from './report.ts';
import { affinity } from './scenarios/affinity.ts';
import { backlog, snapshot } from './scenarios/backdrops.ts';
import { bulk } from './scenarios/bulk.ts';
import { create } from './scenarios/create.ts';
import { drain } from './scenarios/drain.ts';
import { edit } from './scenarios/edit.ts';
import { herd } from './scenarios/herd.ts';
import { hour } from './scenarios/hour.ts';
import type { OwnScenario } from './scenarios/own-scenario.ts';
import { pause } from './scenarios/pause.ts';
import { pulled } from './scenarios/pulled.ts';
import { dag, jobs, mapped, mapreduce } from './scenarios/runs.ts';
import { scale } from './scenarios/scale.ts';
import { steady } from './scenarios/steady.ts';

/** What only Punctual runs. */
const OWN: Readonly<Record<string, OwnScenario>> = {
  create,
  edit,
  herd,
  hour,
  backlog,
  snapshot,
  dag,
  mapreduce,
  mapped,
  pulled,
  jobs,
  affinity,
  bulk,
  pause,
  scale,
};

const USAGE = `Measures Punctual, and what a team would take instead, on this machine: every part a process of its own, with a
Postgres, a Redis and an endpoint of their own, one engine after the other.

  npm run bench -- drain     timers that are already due, delivered as fast as it goes
  npm run bench -- steady    so many creates and as many deliveries a second
  npm run bench              both

${Object.entries(OWN)
  .map(([name, { summary, countDefault }]) => `  ${`npm run bench -- ${name}`.padEnd(26)} ${summary} (${countDefault})`)
  .join('\n')}

  --quick                 less of everything: all engines in under three minutes
  --engines LIST          of ${ENGINE_NAMES.join(', ')}; or all (punctual)
  --rounds N              each engine so often, in turn; the table shows medians (1)
  --timers N              of drain (200000)
  --count N               of the scenarios that Punctual runs alone; their defaults stand behind them
  --rate N  --seconds N   of steady, hour, backlog and snapshot (1389; 600, 300, 120 and 600)
  --schedulers N          Punctual's processes (1)
  --workers N             Punctual's, and the peers' (1)
  --queue redis|postgres  where Punctual keeps its queue (redis)
  --out NAME              write NAME.json and NAME.md, too

The exit code is 1 when a timer was lost, repeated or early, or a ledger does not balance.`;

const QUICK = { timers: 10_000, seconds: 4 };
const TIMERS_DEFAULT = 200_000;
const SECONDS_DEFAULT = 600;
const LIMITS = {
  count: 20_000_000,
  timers: 5_000_000,
  rate: 50_000,
  seconds: 7_200,
  rounds: 20,
  schedulers: 32,
  workers: 32,
};
const COMPARED = ['drain', 'steady'] as const;

interface Options {
  scenarios: readonly string[];
  engines: readonly EngineName[];
  rounds: number;
  timers: number;
  /** Undefined: each scenario's own. */
  count: number | undefined;
  rate: number;
  /** Undefined: each scenario's own. */
  seconds: number | undefined;
  schedulers: number;
  workers: number;
  queue: 'redis' | 'postgres';
  out: string | undefined;
}

function readOptions(args: readonly string[]): Options | undefined {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      engines: { type: 'string', default: 'punctual' },
      rounds: { type: 'string', default: '1' },
      timers: { type: 'string' },
      count: { type: 'string' },
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
    positionals.find((name) => !Object.hasOwn(OWN, name) && !COMPARED.some((compared) => compared === name)) ??
    engines.find((name) => !ENGINE_NAMES.some((engine) => engine === name));
  if (unknown !== undefined) throw new UsageError(`There is no scenario and no engine "${unknown}".`);
  if (values.queue !== 'redis' && values.queue !== 'postgres') throw new UsageError('--queue is redis or postgres.');
  const read = (name: keyof typeof LIMITS, text: string) => readWholeNumber(name, text, { max: LIMITS[name] });
  const readSeconds = (text: string | undefined) => (text === undefined ? undefined : read('seconds', text));
  return {
    scenarios: positionals.length > 0 ? positionals : COMPARED,
    engines: engines as EngineName[],
    rounds: read('rounds', values.rounds),
    timers: read('timers', values.timers ?? String(values.quick ? QUICK.timers : TIMERS_DEFAULT)),
    count: values.count === undefined ? undefined : read('count', values.count),
    rate: read('rate', values.rate),
    seconds: readSeconds(values.seconds ?? (values.quick ? String(QUICK.seconds) : undefined)),
    schedulers: read('schedulers', values.schedulers),
    workers: read('workers', values.workers),
    queue: values.queue,
    out: values.out,
  };
}

async function withSink<T>(work: (sink: Child, url: string) => Promise<T>): Promise<T> {
  const sink = new Child(join(import.meta.dirname, 'sink.ts'));
  try {
    const { port } = await sink.read<{ port: number }>();
    return await withProgress(
      log,
      () => describeDeliveries(sink),
      () => work(sink, `http://127.0.0.1:${port}/hook`),
    );
  } finally {
    sink.stop();
  }
}

async function describeDeliveries(sink: Child): Promise<string | undefined> {
  const { timers } = await sink.ask<{ timers: number }>('count');
  return timers === 0 ? undefined : `${timers.toLocaleString('en')} delivered`;
}

async function withEngine<E extends Engine, T>(starting: Promise<E>, work: (engine: E) => Promise<T>): Promise<T> {
  const engine = await starting;
  try {
    return await work(engine);
  } finally {
    await engine.stop();
  }
}

const log = (line: string) => process.stderr.write(`${line}\n`);

function runCompared(
  options: Options,
  engineName: EngineName,
  scenario: (typeof COMPARED)[number],
  round: number,
): Promise<RunResult> {
  return withSink((sink, sinkUrl) => {
    const starting =
      engineName === 'punctual'
        ? startPunctual(sinkUrl, { ...options, log })
        : startPeer(engineName, sinkUrl, { workers: options.workers, log });
    const { timers, rate, seconds = SECONDS_DEFAULT } = options;
    return withEngine<Engine, RunResult>(starting, async (engine) =>
      scenario === 'drain'
        ? { scenario, engine: engineName, round, result: await drain(engine, sink, timers) }
        : { scenario, engine: engineName, round, result: await steady(engine, sink, rate, seconds) },
    );
  });
}

function runOwn(options: Options, name: string, round: number): Promise<RunResult> {
  const scenario = OWN[name]!;
  const count = options.count ?? scenario.countDefault;
  const seconds = options.seconds ?? scenario.secondsDefault ?? SECONDS_DEFAULT;
  return withSink((sink, sinkUrl) =>
    withEngine<PunctualEngine, RunResult>(
      startPunctual(sinkUrl, { ...options, ...(scenario.env && { env: scenario.env }), log }),
      async (engine) => ({
        scenario: 'own',
        engine: 'punctual',
        name,
        count,
        round,
        result: await scenario.run(engine, sink, { count, rate: options.rate, seconds, log }),
      }),
    ),
  );
}

async function main(args: readonly string[]): Promise<number> {
  const options = openCommand(args, USAGE, readOptions);
  if (typeof options === 'number') return options;
  const runs: RunResult[] = [];
  for (const scenario of options.scenarios) {
    for (let round = 1; round <= options.rounds; round += 1) {
      const compared = COMPARED.find((name) => name === scenario);
      for (const engine of compared === undefined ? (['punctual'] as const) : options.engines) {
        log(`${scenario} ${round}/${options.rounds}: ${engine} …`);
        runs.push(
          compared === undefined
            ? await runOwn(options, scenario, round)
            : await runCompared(options, engine, compared, round),
        );
      }
    }
  }
  const origin = describeOrigin('bench', args);
  const report = formatReport(origin, runs);
  const figures = { ...origin, runs };
  if (options.out === undefined) process.stderr.write(`${JSON.stringify(figures, undefined, 2)}\n`);
  else writeReport(options.out, report, figures);
  console.log(report);
  return runs.every((run) => run.result.faults.length === 0) ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
