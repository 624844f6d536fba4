import { runClosedLoop } from '../client.ts';
import type { PunctualEngine } from '../engines/punctual.ts';
import { withProgress } from '../progress.ts';
import { readMemory, startCostClock } from './measure.ts';
import type { OwnResult, OwnScenario, OwnScenarioOptions } from './own-scenario.ts';

/** A task of a workflow, as it is asked for. */
export interface Task {
  key: string;
  after?: string[];
  forEach?: { task: string; path: string };
  in?: string;
  action: { type: 'noop'; durationMs?: number; output?: unknown } | { type: 'pull'; queue: string };
}

/** Runs of one batch, so that a batch makes some thousand timers at most, and no more tasks than the api takes. */
const RUNS_PER_BATCH = 500;
const ROOTS_PER_BATCH_MAX = 5_000;
const TASKS_PER_BATCH_MAX = 50_000;
const BATCHES_AT_ONCE = 4;
const POLL_MS = 250;
/** No task ends for so long: the run has failed (ms). */
const STALL_LIMIT_MS = 60_000;

const noop = { type: 'noop' } as const;

/** Ten tasks: one, three beside each other, a join, four, a join. */
export const TEN: Task[] = [
  { key: 'a', action: noop },
  ...['b1', 'b2', 'b3'].map((key) => ({ key, after: ['a'], action: noop })),
  { key: 'c', after: ['b1', 'b2', 'b3'], action: noop },
  ...['d1', 'd2', 'd3', 'd4'].map((key) => ({ key, after: ['c'], action: noop })),
  { key: 'e', after: ['d1', 'd2', 'd3', 'd4'], action: noop },
];

/** 122 tasks: one, ten, a hundred, ten, one. */
const MAP_REDUCE: Task[] = [
  { key: 'split', action: noop },
  ...Array.from({ length: 10 }, (_, i) => ({ key: `map${i}`, after: ['split'], action: noop })),
  ...Array.from({ length: 100 }, (_, i) => ({ key: `leaf${i}`, after: [`map${Math.floor(i / 10)}`], action: noop })),
  ...Array.from({ length: 10 }, (_, i) => ({
    key: `reduce${i}`,
    after: Array.from({ length: 10 }, (_leaf, leaf) => `leaf${i * 10 + leaf}`),
    action: noop,
  })),
  { key: 'join', after: Array.from({ length: 10 }, (_, i) => `reduce${i}`), action: noop },
];

/** The same 122 tasks as five: what is beside each other runs once per element. */
const TEN_ELEMENTS = Array.from({ length: 10 }, (_, n) => n);
const MAPPED: Task[] = [
  { key: 'split', action: { ...noop, output: TEN_ELEMENTS } },
  { key: 'map', forEach: { task: 'split', path: '' }, action: { ...noop, output: TEN_ELEMENTS } },
  { key: 'leaf', forEach: { task: 'map', path: '' }, action: { ...noop, output: '{{ item }}' } },
  { key: 'reduce', in: 'map', after: ['leaf'], action: { ...noop, output: '{{ inputs.leaf }}' } },
  { key: 'join', after: ['reduce'], action: { ...noop, output: '{{ inputs.reduce }}' } },
];
const MAPPED_TASKS = 122;

const WAIT = { type: 'noop', durationMs: 500 } as const;
const TWO: Task[] = [
  { key: 'first', action: WAIT },
  { key: 'second', after: ['first'], action: WAIT },
];

export const dag: OwnScenario = {
  summary: '--count runs of ten noop tasks with two joins',
  countDefault: 100_000,
  run: (engine, _sink, options) => runAll(engine, TEN, options),
};

export const mapreduce: OwnScenario = {
  summary: '--count runs of 122 noop tasks: 1, 10, 100, 10, 1',
  countDefault: 1_000,
  run: (engine, _sink, options) => runAll(engine, MAP_REDUCE, options),
};

export const mapped: OwnScenario = {
  summary: '--count runs of the same 122 tasks by forEach: each element handed down, and all of them handed up again',
  countDefault: 1_000,
  run: (engine, _sink, options) => runAll(engine, MAPPED, options, MAPPED_TASKS),
};

export const jobs: OwnScenario = {
  summary: '--count runs of two noop tasks of 500 ms, one after the other, at most 10,000 under way',
  countDefault: 100_000,
  env: { WORKER_ATTEMPTS_MAX: '10000' },
  run: (engine, _sink, options) => runAll(engine, TWO, options),
};

const count = (number: number) => number.toLocaleString('en');

/** From the first request to the last task's end, creates included. */
export async function runAll(
  engine: PunctualEngine,
  tasks: Task[],
  options: OwnScenarioOptions,
  tasksPerRun = tasks.length,
): Promise<OwnResult> {
  const runs = options.count;
  const workflow = await engine.client.send<{ id: string }>('POST', '/v1/workflows', { name: 'bench', tasks });
  const roots = tasks.filter((task) => task.after === undefined && task.forEach === undefined).length;
  const perBatch = Math.min(
    RUNS_PER_BATCH,
    Math.floor(ROOTS_PER_BATCH_MAX / roots),
    Math.floor(TASKS_PER_BATCH_MAX / tasks.length),
  );
  const expected = runs * tasksPerRun;
  const readCost = startCostClock(engine);
  const beganAt = performance.now();
  let redisBytesMax = 0;
  let largestMegabytes = 0;
  const creating = runClosedLoop(Math.ceil(runs / perBatch), BATCHES_AT_ONCE, async (index) => {
    const size = Math.min(perBatch, runs - index * perBatch);
    await engine.client.send('POST', '/v1/runs/batch', {
      workflowId: workflow.id,
      runs: Array.from({ length: size }, () => ({})),
    });
  });
  let seen = -1;
  let changedAt = performance.now();
  let ended = 0;
  let sampledAt = 0;
  const waitForEnd = async () => {
    while (ended < expected && performance.now() - changedAt < STALL_LIMIT_MS) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      // Cheap; the ledger has the last word.
      ended = await engine.countEnded();
      if (ended !== seen) {
        seen = ended;
        changedAt = performance.now();
      }
      if (performance.now() - sampledAt > 2_000) {
        sampledAt = performance.now();
        redisBytesMax = Math.max(redisBytesMax, (await engine.readSizes()).redisBytes);
        largestMegabytes = Math.max(largestMegabytes, ...Object.values(readMemory(engine)));
      }
    }
  };
  await withProgress(options.log, () => `${count(ended)} of ${count(expected)} tasks have ended`, waitForEnd);
  const seconds = (changedAt - beganAt) / 1000;
  const cost = readCost(expected);
  await creating;
  return {
    figures: {
      seconds: Math.round(seconds * 10) / 10,
      'tasks/s': Math.round(expected / seconds),
      'CPU µs/task': cost.cpuMicrosecondsPerTimer.total,
      'Redis, MB at most': Math.round(redisBytesMax / 1e5) / 10,
      'largest process, MB': largestMegabytes,
      'stolen %': Math.round(cost.stolenShare * 100),
    },
    faults: [
      ...(ended === expected ? [] : [`${expected - ended} of ${expected} tasks did not succeed`]),
      ...(await engine.check()),
    ],
  };
}
