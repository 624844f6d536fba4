import { createTimers, type DueTimer, FIRST_ID, readDueTimers, startTimers } from '@punctual/database';
import { createId } from '@punctual/domain';
import { makeTimer, useTestDatabase } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';

const db = useTestDatabase(4);

/** An hour ago: behind the moment of the insert, which a fresh timer's wake time never is, so it is set afterwards. */
const HOUR_AGO = Date.now() - 3_600_000;

async function storeAwake(partition: number, wakeAts: readonly number[]): Promise<string[]> {
  const timers = wakeAts.map(() => makeTimer({ partition, dueAt: HOUR_AGO }));
  for (let from = 0; from < timers.length; from += 1_000)
    await createTimers(db.database.hot, timers.slice(from, from + 1_000));
  const ids = timers.map(({ id }) => id);
  await db.database.ordinary.query(
    `UPDATE timers AS t SET wake_at = to_timestamp(w.wake_at / 1000) FROM unnest($1::uuid[], $2::float8[]) AS w(id, wake_at) WHERE t.id = w.id`,
    [ids, wakeAts],
  );
  return ids;
}

const readFrom = (partition: number, wakeAt = 0, id: string = FIRST_ID) => ({ partition, wakeAt, id });

/** Reads a partition page by page, each behind the last row of the one before. */
async function readPages(partition: number, limit: number): Promise<DueTimer[][]> {
  const pages: DueTimer[][] = [];
  let from = readFrom(partition);
  for (;;) {
    const { timers } = await readDueTimers(db.database.hot, [from], 0, limit);
    if (timers.length === 0) return pages;
    pages.push(timers);
    from = readFrom(partition, timers.at(-1)!.wakeAt, timers.at(-1)!.id);
  }
}

describe('a read of due timers', () => {
  it('goes in the order of wake time and id, and from page to page misses and repeats nothing, at equal wake times too', async () => {
    // Milliseconds that a double holds only nearly when they are divided by 1,000, many timers at each of them.
    const wakeAts = Array.from({ length: 1_500 }, (_, index) => HOUR_AGO + (index % 23));
    const ids = await storeAwake(1, wakeAts);
    const expected = ids
      .map((id, index) => ({ id, wakeAt: wakeAts[index]! }))
      .toSorted((a, b) => a.wakeAt - b.wakeAt || (a.id < b.id ? -1 : 1));
    for (const limit of [1_000, 97]) {
      const pages = await readPages(1, limit);
      expect(pages.flat().map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
      expect(pages.flat().every(({ wakeAt }, index) => Math.abs(wakeAt - expected[index]!.wakeAt) < 0.01)).toBe(true);
      expect(pages.slice(0, -1).every((page) => page.length === limit)).toBe(true);
    }
  });

  it('gives each partition its own limit and its own beginning, and nothing of the others', async () => {
    const second = await storeAwake(2, [HOUR_AGO, HOUR_AGO + 1, HOUR_AGO + 2]);
    const third = await storeAwake(3, [HOUR_AGO, HOUR_AGO + 1, HOUR_AGO + 2]);
    await storeAwake(4, [HOUR_AGO]);
    const { timers } = await readDueTimers(
      db.database.hot,
      [readFrom(2), readFrom(3, HOUR_AGO, third[0]), readFrom(5)],
      0,
      2,
    );
    expect(timers.filter(({ partition }) => partition === 2).map(({ id }) => id)).toEqual(second.slice(0, 2));
    expect(timers.filter(({ partition }) => partition === 3).map(({ id }) => id)).toEqual(third.slice(1));
    expect(timers).toHaveLength(4);
    expect(timers[0]).toMatchObject({ version: 1 });
  });

  it('reaches as far ahead, or stays as far behind, as it is told', async () => {
    const now = Date.now();
    const ids = await storeAwake(6, [now - 2_000, now - 200, now + 800, now + 60_000]);
    const read = async (untilMs: number) =>
      (await readDueTimers(db.database.hot, [readFrom(6)], untilMs, 10)).timers.map(({ id }) => id);
    expect(await read(-1_000)).toEqual(ids.slice(0, 1));
    expect(await read(0)).toEqual(ids.slice(0, 2));
    expect(await read(30_000)).toEqual(ids.slice(0, 3));
    expect(await read(120_000)).toEqual(ids);
  });

  it('finds what is scheduled, what must be retried and what got lost alike, and nothing that is parked', async () => {
    const [scheduled, lost, paused] = await storeAwake(7, [HOUR_AGO, HOUR_AGO + 1, HOUR_AGO + 2]);
    await startTimers(db.database.hot, [{ id: lost!, version: 1 }], 0, -1);
    await db.database.ordinary.query(`UPDATE timers SET state = 'paused', wake_at = 'infinity' WHERE id = $1`, [
      paused,
    ]);
    const { timers } = await readDueTimers(db.database.hot, [readFrom(7)], 0, 10);
    expect(timers.map(({ id, version }) => [id, version])).toEqual([
      [scheduled, 1],
      [lost, 2],
    ]);
  });

  it('tells the time of the database when there is nothing to find', async () => {
    const askedAt = Date.now();
    const { timers, serverAt } = await readDueTimers(db.database.hot, [readFrom(8)], 0, 10);
    expect(timers).toEqual([]);
    expect(Math.abs(serverAt - askedAt)).toBeLessThan(1_000);
    expect((await readDueTimers(db.database.hot, [], 0, 10)).timers).toEqual([]);
  });

  it('begins, with the first of all ids, at every timer of that instant', async () => {
    const [id] = await storeAwake(9, [HOUR_AGO]);
    expect((await readDueTimers(db.database.hot, [readFrom(9, HOUR_AGO)], 0, 10)).timers).toMatchObject([{ id }]);
    expect((await readDueTimers(db.database.hot, [readFrom(9, HOUR_AGO, createId())], 0, 10)).timers).toEqual([]);
  });
});
