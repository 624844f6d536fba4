import { createTimers } from '@punctual/database';
import { createTestLogger, makeTimer, stopAutovacuum, TEST_PARTITION_COUNT, useTestDatabase } from '@punctual/testkit';
import { Registry } from 'prom-client';
import { beforeAll, expect, it } from 'vitest';
import { DueForecast, FORECAST_MINUTES } from '../due-forecast.ts';
import { createSchedulerMetrics } from '../metrics.ts';

const db = useTestDatabase(1);
beforeAll(() => stopAutovacuum(db.database));

function openForecast(listOwned: () => number[], bounds: { rowsWished?: number; rowsMax?: number } = {}) {
  const metrics = createSchedulerMetrics(new Registry());
  const { logger } = createTestLogger();
  const forecast = new DueForecast({ database: db.service, listOwned, metrics, logger, ...bounds });
  return {
    /** What it tells after one look: of each minute how many timers. */
    async look(): Promise<number[]> {
      await forecast.runOnce();
      const { values } = await metrics.timersDueSoon.get();
      return values
        .toSorted((a, b) => Number(a.labels.minute) - Number(b.labels.minute))
        .map(({ labels, value }, index) => {
          expect(labels.minute).toBe(String(index + 1));
          return value;
        });
    },
  };
}

/** `seconds` from now: the middles of minutes, so that the seconds that the test takes do not matter. */
async function store(count: number, seconds: number, fields: object = {}): Promise<void> {
  const dueAt = Date.now() + seconds * 1_000;
  await createTimers(
    db.database.hot,
    Array.from({ length: count }, () => makeTimer({ dueAt, ...fields })),
  );
}

const ALL = [...Array(TEST_PARTITION_COUNT).keys()];

/** So many of each partition, in few statements. */
async function storeInEach(partitions: readonly number[], count: number, seconds: number): Promise<void> {
  const dueAt = Date.now() + seconds * 1_000;
  const timers = partitions.flatMap((partition) =>
    Array.from({ length: count }, () => makeTimer({ dueAt, partition })),
  );
  for (let from = 0; from < timers.length; from += 1_000)
    await createTimers(db.database.hot, timers.slice(from, from + 1_000));
}

it('tells exactly how few timers come due in each minute, of its partitions only, and nothing of what is due, pulled or later', async () => {
  const [mine, other] = [400, 401];
  await store(3, 30, { partition: mine });
  await store(2, 90, { partition: mine });
  await store(5, 270, { partition: mine });
  await store(7, 330, { partition: mine });
  await store(7, -5, { partition: mine });
  await store(7, 30, { partition: mine, pullQueue: 'q', action: '{"type":"pull","queue":"q"}' });
  await store(7, 30, { partition: other });
  let owned = [mine];
  const forecast = openForecast(() => owned);
  expect(await forecast.look()).toEqual([3, 2, 0, 0, 5]);
  owned = [mine, other];
  expect(await forecast.look()).toEqual([10, 2, 0, 0, 5]);
  // Whoever lost them all says nothing of them any more.
  owned = [];
  expect(await forecast.look()).toEqual(Array(FORECAST_MINUTES).fill(0));
  owned = [other];
  expect(await forecast.look()).toEqual([7, 0, 0, 0, 0]);
});

it('reckons from some partitions what many timers are in all, others at each look, by the index alone', async () => {
  const partitions = ALL.map((partition) => partition + 500);
  await storeInEach(partitions, 50, 150);
  await db.database.ordinary.query('VACUUM timers');
  const forecast = openForecast(() => partitions, { rowsWished: 125 });
  const expected = [0, 0, partitions.length * 50, 0, 0];
  expect(await forecast.look()).toEqual(expected);
  const { rows } = await readIndexUse();
  expect(await forecast.look()).toEqual(expected);
  const after = await readIndexUse();
  const read = after.rows.map((row, index) => [row.path, row.reads - rows[index]!.reads] as const);
  expect(read.filter(([, reads]) => reads > 0)).toEqual([['timers_wake', 100]]);

  // The next ones in turn: what lies in one of them alone is seen sooner or later.
  const lonely = partitions.at(-1)!;
  await store(300, 30, { partition: lonely });
  const seen: number[] = [];
  for (let look = 0; look < partitions.length; look += 1) seen.push((await forecast.look())[0]!);
  expect(seen.some((count) => count > 0)).toBe(true);
  expect(seen.some((count) => count === 0)).toBe(true);
});

async function readIndexUse() {
  await db.service.hot.query('SELECT pg_stat_force_next_flush()');
  return db.service.hot.query<{ path: string; reads: number }>(
    `SELECT indexrelname::text AS path, idx_tup_read::int AS reads FROM pg_stat_user_indexes WHERE relname = 'timers'
     UNION ALL SELECT 'sequential', seq_tup_read::int FROM pg_stat_user_tables WHERE relname = 'timers' ORDER BY path`,
  );
}

it('passes no more than its bound when a herd meets it unprepared, and sees all of it two looks later', async () => {
  const partitions = ALL.map((partition) => partition + 700);
  await storeInEach(partitions, 40, 90);
  const forecast = openForecast(() => partitions, { rowsWished: 50, rowsMax: 5 * partitions.length });
  expect(await forecast.look()).toEqual([0, 5 * partitions.length, 0, 0, 0]);
  // Ten partitions share the bound, then one has it to itself.
  expect(await forecast.look()).toEqual([0, 32 * partitions.length, 0, 0, 0]);
  expect(await forecast.look()).toEqual([0, 40 * partitions.length, 0, 0, 0]);
});
