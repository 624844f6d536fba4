import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startStack } from '@punctual/local-servers';
import { request } from 'undici';
import { Child } from './child.ts';
import { readMonotonicMs } from './clock.ts';
import { readCpuSeconds, readMemoryBytes } from './cpu.ts';
import type { CreatorResult } from './creator.ts';
import type { SinkStats } from './sink.ts';

const USAGE = `Measures Punctual on this machine, every part a process of its own, with a local Postgres, Redis and endpoint.

  node loadtest/bench/run.ts drain  [--timers 100000]                 timers that are already due, delivered as fast as it goes
  node loadtest/bench/run.ts steady [--rate 1389] [--seconds 60]      that many creates and as many deliveries a second
  node loadtest/bench/run.ts                                          both, one after the other

  --schedulers 1  --workers 1  --queue redis|postgres (redis)`;

const BATCH_TIMERS = 500;
/** Batches under way at once while timers are put in. */
const BATCHES_AT_ONCE = 4;
/** A run that delivers nothing for so long has failed (ms). */
const STALL_LIMIT_MS = 30_000;
const POLL_MS = 200;
/** Before the measured time, so that nothing is cold (s). */
const WARM_UP_SECONDS = 5;
const WARM_UP_TIMERS = 5_000;
const DELAY_MS = { min: 1_000, max: 5_000 };
const HERE = import.meta.dirname;

interface Options {
  timers: number;
  rate: number;
  seconds: number;
  schedulers: number;
  workers: number;
  queue: string;
}

type Stack = Awaited<ReturnType<typeof startStack>>;

async function openStack(options: Options, schedulers: number): Promise<Stack> {
  return startStack({
    api: 1,
    scheduler: schedulers,
    worker: options.workers,
    ephemeral: true,
    ...(options.queue === 'postgres' ? { redisUrl: null } : {}),
    env: { LOG_LEVEL: 'warn' },
    log: (line) => process.stderr.write(`${line}\n`),
  });
}

function listPids(stack: Stack): Record<string, number> {
  return Object.fromEntries([...stack.processes, ...stack.servers].map(({ name, pid }) => [name, pid]));
}

/** The ledger's answer, and what the receivers saw, decide whether a run counts at all. */
async function checkRun(stack: Stack, stats: SinkStats, expected: number): Promise<string[]> {
  const faults: string[] = [];
  if (stats.timers !== expected) faults.push(`${expected - stats.timers} of ${expected} timers were not delivered`);
  if (stats.duplicates > 0) faults.push(`${stats.duplicates} requests were repeated`);
  if (stats.early > 0) faults.push(`${stats.early} requests came early`);
  const { statusCode, body } = await request(`${stack.apiUrls[0]}/v1/ledger`);
  const ledger = (await body.json()) as { isBalanced?: boolean };
  if (statusCode !== 200 || !ledger.isBalanced)
    faults.push(`the ledger does not balance: ${JSON.stringify(ledger).slice(0, 500)}`);
  return faults;
}

async function putTimers(apiUrl: string, sinkUrl: string, count: number): Promise<void> {
  const timer = { action: { type: 'http', url: sinkUrl }, payload: 'x'.repeat(280) };
  let left = count;
  const putBatches = async () => {
    while (left > 0) {
      const size = Math.min(left, BATCH_TIMERS);
      left -= size;
      const { statusCode, body } = await request(`${apiUrl}/v1/timers/batch`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ timers: Array.from({ length: size }, () => timer) }),
      });
      const text = await body.text();
      if (statusCode !== 207) throw new Error(`a batch was answered ${statusCode}: ${text.slice(0, 500)}`);
    }
  };
  await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, putBatches));
}

async function waitForDeliveries(sink: Child, expected: number): Promise<void> {
  let seen = -1;
  let changedAt = performance.now();
  for (;;) {
    const { timers } = await sink.ask<{ timers: number }>('count');
    if (timers >= expected) return;
    if (timers !== seen) {
      seen = timers;
      changedAt = performance.now();
    } else if (performance.now() - changedAt > STALL_LIMIT_MS) {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function subtract(after: Record<string, number>, before: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(after).map(([name, seconds]) => [name, seconds - (before[name] ?? 0)]));
}

function describeCpu(seconds: Record<string, number>, timers: number): Record<string, number> {
  const perTimer = Object.fromEntries(
    Object.entries(seconds).map(([name, value]) => [name, Math.round((value / timers) * 1e7) / 10]),
  );
  const total = Object.values(seconds).reduce((sum, value) => sum + value, 0);
  return { total: Math.round((total / timers) * 1e7) / 10, ...perTimer };
}

function readMemory(pids: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, Math.round(readMemoryBytes(pid) / 1e6)]));
}

async function withSink<T>(work: (sink: Child, url: string) => Promise<T>): Promise<T> {
  const sink = new Child(join(HERE, 'sink.ts'));
  try {
    const { port } = await sink.read<{ port: number }>();
    return await work(sink, `http://127.0.0.1:${port}/hook`);
  } finally {
    sink.stop();
  }
}

// The schedulers are stopped (SIGSTOP) while the timers are put in, and go on when all of them are due: what is measured
// is the way from the database to the endpoint, with every process warm.
async function drain(options: Options): Promise<object> {
  return withSink(async (sink, sinkUrl) => {
    const stack = await openStack(options, options.schedulers);
    const signalSchedulers = (signal: NodeJS.Signals) => {
      for (const service of stack.processes) if (service.name.startsWith('scheduler')) service.kill(signal);
    };
    try {
      await putTimers(stack.apiUrls[0]!, sinkUrl, WARM_UP_TIMERS);
      await waitForDeliveries(sink, WARM_UP_TIMERS);
      await sink.ask('reset');
      signalSchedulers('SIGSTOP');
      const putAt = performance.now();
      await putTimers(stack.apiUrls[0]!, sinkUrl, options.timers);
      const putSeconds = (performance.now() - putAt) / 1000;
      const early = await sink.ask<SinkStats>('stats');
      const before = readCpuSeconds(listPids(stack));
      signalSchedulers('SIGCONT');
      await waitForDeliveries(sink, options.timers);
      const cpu = subtract(readCpuSeconds(listPids(stack)), before);
      const stats = await sink.ask<SinkStats>('stats');
      return {
        scenario: 'drain',
        timers: options.timers,
        timersPerSecond: Math.round((stats.timers / (stats.lastAt - stats.firstAt)) * 1000),
        createdPerSecondInBatches: Math.round(options.timers / putSeconds),
        cpuMicrosecondsPerTimer: describeCpu(cpu, stats.timers),
        memoryMegabytes: readMemory(listPids(stack)),
        faults: [
          ...(await checkRun(stack, stats, options.timers)),
          ...(early.requests > 0 ? [`${early.requests} were delivered while the schedulers stood still`] : []),
        ],
      };
    } finally {
      signalSchedulers('SIGCONT');
      await stack.stop();
    }
  });
}

async function steady(options: Options): Promise<object> {
  return withSink(async (sink, sinkUrl) => {
    const stack = await openStack(options, options.schedulers);
    const create = (seconds: number) => {
      const { rate } = options;
      const args = [stack.apiUrls[0]!, sinkUrl, rate, seconds, DELAY_MS.min, DELAY_MS.max].map(String);
      return new Child(join(HERE, 'creator.ts'), args).read<CreatorResult>((seconds + 60) * 1000);
    };
    try {
      const warm = await create(WARM_UP_SECONDS);
      await waitForDeliveries(sink, warm.created);
      await sink.ask('reset');
      const before = readCpuSeconds(listPids(stack));
      const created = await create(options.seconds);
      await waitForDeliveries(sink, created.created);
      const stats = await sink.ask<SinkStats>('stats');
      const cpu = subtract(readCpuSeconds(listPids(stack)), before);
      return {
        scenario: 'steady',
        rate: options.rate,
        seconds: options.seconds,
        creates: created,
        latenessMs: stats.lateness,
        cpuMicrosecondsPerTimer: describeCpu(cpu, stats.timers),
        memoryMegabytes: readMemory(listPids(stack)),
        faults: [
          ...(await checkRun(stack, stats, created.created)),
          ...(created.refused > 0 ? [`${created.refused} creates were refused`] : []),
        ],
      };
    } finally {
      await stack.stop();
    }
  });
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      timers: { type: 'string', default: '100000' },
      rate: { type: 'string', default: '1389' },
      seconds: { type: 'string', default: '60' },
      schedulers: { type: 'string', default: '1' },
      workers: { type: 'string', default: '1' },
      queue: { type: 'string', default: 'redis' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const scenarios = { drain, steady };
  const unknown = positionals.filter((name) => !Object.hasOwn(scenarios, name));
  if (values.help || unknown.length > 0) {
    console.log(unknown.length > 0 ? `There is no scenario "${unknown[0]}".\n\n${USAGE}` : USAGE);
    return unknown.length > 0 ? 1 : 0;
  }
  const options: Options = {
    timers: Number(values.timers),
    rate: Number(values.rate),
    seconds: Number(values.seconds),
    schedulers: Number(values.schedulers),
    workers: Number(values.workers),
    queue: values.queue,
  };
  const chosen = positionals.length > 0 ? positionals : Object.keys(scenarios);
  const results = [];
  for (const name of chosen) {
    process.stderr.write(`${name} …\n`);
    results.push(await scenarios[name as keyof typeof scenarios](options));
  }
  const report = {
    command: `node loadtest/bench/run.ts ${process.argv.slice(2).join(' ')}`.trim(),
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    machine: `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
    measuredAt: new Date(readMonotonicMs()).toISOString(),
    results,
  };
  console.log(JSON.stringify(report, undefined, 2));
  return results.every((result) => (result as { faults: string[] }).faults.length === 0) ? 0 : 1;
}

process.exitCode = await main();
