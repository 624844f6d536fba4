import pg from 'pg';
import type { PunctualEngine } from '../engines/punctual.ts';
import type { OwnScenario } from './own-scenario.ts';
import { steady } from './steady.ts';
import { compareStages, type Stage } from './steady-stages.ts';

/** Asleep in the first stages of `backlog`; --count in the last one. */
const ASLEEP = [10_000, 1_000_000];
const A_YEAR_MS = 365 * 86_400_000;

/** The steady rate before a mass of sleeping timers, which have lain there for a while. */
export const backlog: OwnScenario = {
  summary: `the steady rate with ${ASLEEP.map((count) => count.toLocaleString('en')).join(', ')}, and --count timers asleep`,
  countDefault: 20_000_000,
  secondsDefault: 120,
  async run(engine, sink, { count, rate, seconds }) {
    const asleepUntil = Date.now() + A_YEAR_MS;
    const [few, ...more] = [...ASLEEP.filter((some) => some < count), count];
    await engine.putAt(few!, asleepUntil);
    await settle(engine);
    const stages: [Stage, ...Stage[]] = [{ name: describe(few!), result: await steady(engine, sink, rate, seconds) }];
    let asleep = few!;
    for (const next of more) {
      await engine.putAt(next - asleep, asleepUntil);
      await settle(engine);
      asleep = next;
      stages.push({ name: describe(asleep), result: await steady(engine, sink, rate, seconds) });
    }
    return compareStages(stages);
  },
};

// A mass that is stored within minutes leaves a vacuum of the whole table and gigabytes to write, which Postgres would do in the
// midst of what is measured: it does them before.
async function settle(engine: PunctualEngine): Promise<void> {
  const client = new pg.Client({ connectionString: engine.databaseUrl });
  await client.connect();
  try {
    await client.query('VACUUM (ANALYZE) timers');
    await client.query('CHECKPOINT');
  } finally {
    await client.end();
  }
}

const describe = (asleep: number) => `${asleep.toLocaleString('en')} asleep`;

/** The steady rate while another session keeps an old snapshot, as a dump or a forgotten transaction does. */
export const snapshot: OwnScenario = {
  summary: 'the steady rate, then the same while another session holds a transaction open',
  countDefault: 1,
  secondsDefault: 600,
  async run(engine, sink, { rate, seconds }) {
    const before = await steady(engine, sink, rate, seconds);
    const during = await withOldSnapshot(engine, () => steady(engine, sink, rate, seconds));
    return compareStages([
      { name: 'before', result: before },
      { name: 'during', result: during },
    ]);
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
