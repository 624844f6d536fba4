import {
  asTenant,
  cancelLoneTimers,
  cancelTimers,
  createTimers,
  finishTimers,
  inTransaction,
  leaseTimers,
  listTimerLanes,
  NOTHING_SEEN,
  postponeTimers,
  readDueByPriority,
  readDuePulls,
  readDueTimers,
  readFirstWakes,
  readLaneWishes,
  readNextLease,
  restartTimers,
  retryTimers,
  startInLanes,
  startLanedTimers,
  startTimers,
  wakeLanes,
} from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { makeTimer, stopAutovacuum, TEST_ORIGIN, useTestDatabase, waitUntilDue } from '@punctual/testkit';
import type pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';

const NIL = '00000000-0000-0000-0000-000000000000';
// One connection a pool: plans are made per connection, and its statistics can be flushed at once.
const db = useTestDatabase(1);
beforeAll(() => stopAutovacuum(db.database));

/** Rows, or index entries, read of `timers` so far, by the way they were reached. */
async function readAccesses(pool: pg.Pool): Promise<Record<string, number>> {
  await pool.query('SELECT pg_stat_force_next_flush()');
  const { rows } = await pool.query<{ path: string; reads: number }>(
    `SELECT indexrelname::text AS path, idx_tup_read AS reads FROM pg_stat_user_indexes WHERE relname = 'timers'
     UNION ALL SELECT 'sequential', seq_tup_read FROM pg_stat_user_tables WHERE relname = 'timers'`,
  );
  return Object.fromEntries(rows.map((row) => [row.path, row.reads]));
}

async function countReads(pool: pg.Pool, work: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = await readAccesses(pool);
  await work();
  const after = await readAccesses(pool);
  const used = Object.entries(after).map(([path, reads]) => [path, reads - (before[path] ?? 0)] as const);
  return Object.fromEntries(used.filter(([, reads]) => reads > 0));
}

const record = {
  outcome: 'retryable',
  startedAt: 0,
  latenessMs: 0,
  durationMs: 0,
  httpStatus: 500,
  error: null,
  responseBody: null,
} as const;
const idsOf = (timers: readonly { id: string }[]) => timers.map(({ id }) => id);
const hints = (timers: readonly { id: string }[], version: number) => timers.map(({ id }) => ({ id, version }));

describe('in a database that was never analyzed', () => {
  it.each(['hot', 'relaxed', 'ordinary'] as const)(
    'the statements of %s connections look timers up by id, however many there are',
    async (name) => {
      const pool = db.database[name];
      const batch = Array.from({ length: 20 }, () => makeTimer());
      // The first call makes the plan, while the table is all but empty.
      const runAll = async (on: typeof pool, timers: readonly { id: string }[]) => {
        await startTimers(on, hints(timers, 1), 10_000, 10_000);
        await restartTimers(on, hints(timers, 2), 10_000, 10_000);
        await retryTimers(
          on,
          hints(timers, 2).map((hint) => ({ ...hint, ...record, waitMs: -1 })),
        );
        await startTimers(on, hints(timers, 3), 10_000, 10_000);
        await postponeTimers(
          on,
          hints(timers, 4).map((hint) => ({ ...hint, waitMs: -1 })),
        );
        await startTimers(on, hints(timers.slice(0, 10), 5), 10_000, 10_000);
        await finishTimers(
          on,
          hints(timers.slice(0, 10), 6).map((hint) => ({ ...hint, ...record, state: 'succeeded' })),
        );
        await cancelTimers(
          on,
          DEFAULT_TENANT_ID,
          timers.slice(10, 15).map(({ id }) => id),
        );
        await cancelLoneTimers(
          on,
          DEFAULT_TENANT_ID,
          timers.slice(15).map(({ id }) => ({ id, origin: TEST_ORIGIN })),
        );
      };
      const first = Array.from({ length: 20 }, () => makeTimer());
      await createTimers(pool, first);
      await waitUntilDue(db.database, idsOf(first));
      // Plans for good are made from the sixth use on where they are not forced.
      for (let use = 0; use < 6; use += 1) await runAll(pool, first);
      for (let made = 0; made < 5; made += 1)
        await createTimers(
          pool,
          Array.from({ length: 1_000 }, () => makeTimer()),
        );
      await createTimers(pool, batch);
      await waitUntilDue(db.database, idsOf(batch));
      const reads = await countReads(pool, () => runAll(pool, batch));
      const { rows } = await db.database.ordinary.query(
        'SELECT count(*)::int AS ended FROM finished_timers WHERE id = ANY ($1)',
        [batch.map(({ id }) => id)],
      );
      expect(rows).toEqual([{ ended: 20 }]);
      if (name === 'ordinary') {
        // Only the api's cancels run there; while the table is small such a connection may read all of it.
        expect(Object.keys(reads)).not.toContain('timers_list');
        return;
      }
      expect(Object.keys(reads)).toEqual(['timers_pkey']);
      // A version of a row leaves an index entry until it is cleaned away.
      expect(reads.timers_pkey).toBeLessThan(20 * 7 * 8);
    },
  );

  it('a read of due timers touches no more than is due, although many times as much sleeps', async () => {
    const now = Date.now();
    const sleeping = Array.from({ length: 5_000 }, () => makeTimer({ partition: 3, dueAt: now + 3_600_000 }));
    for (let from = 0; from < sleeping.length; from += 1_000)
      await createTimers(db.database.hot, sleeping.slice(from, from + 1_000));
    await createTimers(
      db.database.hot,
      Array.from({ length: 10 }, () => makeTimer({ partition: 3, dueAt: now - 1_000 })),
    );
    const from = [{ partition: 3, wakeAt: now - 5_000, id: '00000000-0000-0000-0000-000000000000' }];
    const reads = await countReads(db.database.hot, async () => {
      expect((await readDueTimers(db.database.hot, from, 150, 1_000)).timers.length).toBeGreaterThanOrEqual(10);
    });
    expect(Object.keys(reads)).toEqual(['timers_wake']);
    expect(reads.timers_wake).toBeLessThan(500);
  });

  it('a backlog for pull workers lies in the way of nothing but a lease, and a lease touches what it takes', async () => {
    const now = Date.now();
    const lying = Array.from({ length: 5_000 }, (_, index) =>
      makeTimer({ partition: 500, dueAt: now - 60_000 + index, pullQueue: 'q', action: '{"type":"pull","queue":"q"}' }),
    );
    for (let from = 0; from < lying.length; from += 1_000)
      await createTimers(db.database.hot, lying.slice(from, from + 1_000));
    // As if they had lain there for a minute.
    await db.database.ordinary.query("UPDATE timers SET wake_at = due_at WHERE pull_queue = 'q'");
    await db.database.ordinary.query('VACUUM timers');
    const called = Array.from({ length: 10 }, () => makeTimer({ partition: 500, dueAt: now - 1_000 }));
    await createTimers(db.database.hot, called);
    const sweep = [{ partition: 500, wakeAt: 0, id: '00000000-0000-0000-0000-000000000000' }];
    const reads = await countReads(db.database.hot, async () => {
      expect((await readDueTimers(db.database.hot, sweep, 0, 1_000)).timers).toHaveLength(10);
      await readFirstWakes(db.database.hot, [{ partition: 500, wakeAt: 0 }]);
    });
    expect(Object.keys(reads)).toEqual(['timers_wake']);
    expect(reads.timers_wake).toBeLessThan(100);

    const recent = [{ ...sweep[0]!, wakeAt: now - 100, seen: NOTHING_SEEN }];
    const announced = await countReads(db.database.hot, () => readDuePulls(db.database.hot, recent, 256));
    expect(announced.timers_pull_wake ?? 0).toBeLessThan(10);
    expect(Object.keys(announced).filter((path) => path !== 'timers_pull_wake')).toEqual([]);

    const { hot } = asTenant(db.database, DEFAULT_TENANT_ID);
    const slots = Array.from({ length: 50 }, () => ({ workerId: 'w', leaseMs: 30_000 }));
    const leases = await countReads(db.database.hot, async () => {
      const { leased } = await leaseTimers(hot, DEFAULT_TENANT_ID, 'q', 0, slots);
      expect(leased.map(({ id }) => id).toSorted()).toEqual(
        lying
          .slice(0, 50)
          .map(({ id }) => id)
          .toSorted(),
      );
    });
    expect(Object.keys(leases).toSorted()).toEqual(['timers_pkey', 'timers_pull']);
    expect(leases.timers_pull).toBeLessThan(100);
    expect(leases.timers_pkey).toBeLessThan(50 * 3);
    const looks = await countReads(db.database.hot, () => readNextLease(hot, DEFAULT_TENANT_ID, 'none'));
    expect(Object.values(looks).reduce((sum, reads) => sum + reads, 0)).toBeLessThan(10);
  });

  it('what has a priority is found by its index, past all that waits, and costs nothing where nothing has', async () => {
    const now = Date.now();
    const partitions = [7];
    const read = () => readDueByPriority(db.database.hot, NIL, 100, partitions, 50);
    await db.database.ordinary.query('VACUUM ANALYZE timers');
    const idle = await countReads(db.database.hot, read);
    expect(Object.values(idle).reduce((sum, reads) => sum + reads, 0)).toBe(0);

    const waiting = Array.from({ length: 2_000 }, (_, index) =>
      makeTimer({ partition: 7, dueAt: now - 60_000 + index }),
    );
    const raised = Array.from({ length: 20 }, (_, index) =>
      makeTimer({ partition: 7, dueAt: now - 1_000 + index, priority: 1 + (index % 9) }),
    );
    const asleep = Array.from({ length: 900 }, () => makeTimer({ partition: 7, dueAt: now + 3_600_000, priority: 5 }));
    for (const some of [waiting, raised, asleep])
      for (let from = 0; from < some.length; from += 1_000)
        await createTimers(db.database.hot, some.slice(from, from + 1_000));
    await waitUntilDue(db.database, idsOf(raised));
    const reads = await countReads(db.database.hot, async () => {
      const { timers } = await read();
      expect(idsOf(timers).toSorted()).toEqual(idsOf(raised).toSorted());
      expect(timers.map(({ priority }) => priority)).toEqual(
        raised.map(({ priority }) => priority!).toSorted((a, b) => b - a),
      );
    });
    expect(Object.keys(reads)).toEqual(['timers_priority']);
    expect(reads.timers_priority).toBeLessThan(100);
  });

  it("a lane's start and wake touch those who have a turn, however many wait or sleep behind them", async () => {
    const now = Date.now();
    const make = (dueAt: number) => makeTimer({ dueAt, concurrency: '{"key":"crowded","limit":2}' });
    const timers = Array.from({ length: 4_000 }, (_, index) =>
      make(now - 60_000 + index + (index < 2_000 ? 0 : 3_600_000)),
    );
    for (let from = 0; from < timers.length; from += 1_000)
      await createTimers(db.database.hot, timers.slice(from, from + 1_000));
    const first = timers.slice(0, 3);
    await waitUntilDue(db.database, idsOf(first));
    for (const pool of [db.database.hot, asTenant(db.database, DEFAULT_TENANT_ID).hot]) {
      const reads = await countReads(db.database.hot, async () => {
        const wishes = await readLaneWishes(pool, hints(first, 1));
        const laned = wishes.map((wish) => ({ ...wish, lanes: listTimerLanes(wish, []) }));
        await startInLanes(pool, laned, (client, chosen) => startLanedTimers(client, chosen, 10_000, 10_000));
        await wakeLanes(pool, [{ tenantId: DEFAULT_TENANT_ID, name: 'key:crowded' }]);
      });
      expect(
        Object.keys(reads)
          .toSorted()
          .filter((path) => path !== 'timers_lane' && path !== 'timers_parked'),
      ).toEqual(['timers_pkey']);
      expect((reads.timers_lane ?? 0) + (reads.timers_parked ?? 0)).toBeLessThan(60);
    }
  });

  it('a look at a lane passes so many that are paused or wait for a retry, and no more', async () => {
    const now = Date.now();
    const timers = Array.from({ length: 10_002 }, (_, index) =>
      makeTimer({ dueAt: now - 60_000 + index, concurrency: '{"key":"asleep"}' }),
    );
    for (let from = 0; from < timers.length; from += 1_000)
      await createTimers(db.database.hot, timers.slice(from, from + 1_000));
    await waitUntilDue(db.database, idsOf(timers));
    await db.database.ordinary.query(
      "UPDATE timers SET wake_at = clock_timestamp() + interval '1 hour', attempt = 1 WHERE id = ANY ($1)",
      [idsOf(timers.slice(0, 10_000))],
    );
    const awake = timers.slice(10_000);
    const reads = await countReads(db.database.hot, async () => {
      const wishes = await readLaneWishes(db.database.hot, hints(awake, 1));
      const laned = wishes.map((wish) => ({ ...wish, lanes: listTimerLanes(wish, []) }));
      await startInLanes(db.database.hot, laned, (client, chosen) => startLanedTimers(client, chosen, 10_000, 10_000));
      await wakeLanes(db.database.hot, [{ tenantId: DEFAULT_TENANT_ID, name: 'key:asleep' }]);
    });
    // Two looks at 2,500 rows each. Either may also meet the entries of these rows as they were before: whether Postgres has
    // dropped them by then depends on which snapshots are still held. Without a limit it would be 20,000 at the least.
    expect(reads.timers_lane ?? 0).toBeLessThan(2 * 2 * 2_500 + 100);
  });

  it('a transaction that mixes ordinary queries and hot statements keeps the rule', async () => {
    const timers = Array.from({ length: 20 }, () => makeTimer());
    await createTimers(db.database.hot, timers);
    const reads = await countReads(db.database.hot, () =>
      inTransaction(db.database.hot, (client) =>
        cancelTimers(
          client,
          DEFAULT_TENANT_ID,
          timers.map(({ id }) => id),
        ),
      ),
    );
    expect(Object.keys(reads)).toEqual(['timers_pkey']);
  });
});
