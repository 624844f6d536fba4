import pg from 'pg';
import type { PunctualEngine } from '../engines/punctual.ts';
import type { OwnResult, OwnScenario } from './own-scenario.ts';
import { type SteadyResult, steady } from './steady.ts';

/** Asleep in the quiet half of `backlog`. */
const FEW_ASLEEP = 10_000;
const A_YEAR_MS = 365 * 86_400_000;

/** The steady rate before a mass of sleeping timers. */
export const backlog: OwnScenario = {
  summary: `the steady rate with ${FEW_ASLEEP.toLocaleString('en')} timers asleep, then with --count`,
  countDefault: 1_000_000,
  async run(engine, sink, options) {
    const asleepUntil = Date.now() + A_YEAR_MS;
    await engine.putAt(FEW_ASLEEP, asleepUntil);
    const before = await steady(engine, sink, options.rate, options.seconds);
    await engine.putAt(options.count - FEW_ASLEEP, asleepUntil);
    const after = await steady(engine, sink, options.rate, options.seconds);
    return compare('few asleep', before, 'many asleep', after);
  },
};

/** The steady rate while another session keeps an old snapshot, as a dump or a forgotten transaction does. */
export const snapshot: OwnScenario = {
  summary: 'the steady rate, then the same while another session holds a transaction open',
  countDefault: 1,
  async run(engine, sink, options) {
    const before = await steady(engine, sink, options.rate, options.seconds);
    const during = await withOldSnapshot(engine, () => steady(engine, sink, options.rate, options.seconds));
    return compare('before', before, 'during', during);
  },
};

async function withOldSnapshot<T>(engine: PunctualEngine, work: () => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: engine.databaseUrl });
  await client.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await client.query('SELECT count(*) FROM timers');
    return await work();
  } finally {
    await client.end();
  }
}

function compare(beforeName: string, before: SteadyResult, afterName: string, after: SteadyResult): OwnResult {
  const figures = (name: string, { latenessMs, cpuMicrosecondsPerTimer, stolenShare }: SteadyResult) => ({
    [`${name}: late p50 ms`]: latenessMs.p50,
    [`${name}: p95 ms`]: latenessMs.p95,
    [`${name}: p99 ms`]: latenessMs.p99,
    [`${name}: CPU µs/timer`]: cpuMicrosecondsPerTimer.total,
    [`${name}: stolen %`]: Math.round(stolenShare * 100),
  });
  return {
    figures: {
      ...figures(beforeName, before),
      ...figures(afterName, after),
      'p95, ratio': after.latenessMs.p95 / before.latenessMs.p95,
      'CPU, ratio': after.cpuMicrosecondsPerTimer.total / before.cpuMicrosecondsPerTimer.total,
    },
    faults: [...before.faults, ...after.faults],
  };
}
