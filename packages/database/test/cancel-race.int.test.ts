import {
  cancelLoneTimers,
  cancelTimers,
  createTimers,
  finishTimers,
  inTransaction,
  postponeTimers,
  restartTimers,
  retryTimers,
  startTimers,
} from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { makeTimer, TEST_ORIGIN, useTestDatabase, waitUntil, waitUntilDue } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';

const CONNECTIONS = 8;
const db = useTestDatabase(CONNECTIONS);

// Timers without runs are cancelled by either statement.
const cancel = (ids: readonly string[]): Promise<{ id: string }[]> =>
  (Math.random() < 0.5 ? cancelTimers : cancelLoneTimers)(
    db.database.hot,
    DEFAULT_TENANT_ID,
    ids.map((id) => ({ id, origin: TEST_ORIGIN })),
  );
// Starts commit without waiting for the disk in production, and must be exact all the same.
const start = (hints: readonly { id: string; version: number }[]) =>
  startTimers(db.database.relaxed, hints, 10_000, 15_000);

async function storeTimers(count: number): Promise<string[]> {
  const timers = Array.from({ length: count }, () => makeTimer());
  for (let from = 0; from < count; from += 1_000) await createTimers(db.database.hot, timers.slice(from, from + 1_000));
  const ids = timers.map((timer) => timer.id);
  await waitUntilDue(db.database, ids);
  return ids;
}

/** Pieces of 1 to `sizeMax` in a random order. */
function cutRandomly<Item>(items: readonly Item[], sizeMax: number): Item[][] {
  const shuffled = items.map((item) => ({ item, key: Math.random() })).toSorted((a, b) => a.key - b.key);
  const pieces: Item[][] = [];
  for (let from = 0; from < shuffled.length; ) {
    const size = 1 + Math.floor(Math.random() * sizeMax);
    pieces.push(shuffled.slice(from, from + size).map(({ item }) => item));
    from += size;
  }
  return pieces;
}

/** Works through all pieces, several at once. */
async function runAll<Piece>(pieces: Piece[], atOnce: number, work: (piece: Piece) => Promise<void>): Promise<void> {
  const left = [...pieces];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let piece = left.pop(); piece !== undefined; piece = left.pop()) await work(piece);
    }),
  );
}

describe('a cancel and a start of the same timers', () => {
  it('have exactly one winner for each timer, and after an acknowledged cancel nothing starts', async () => {
    const ids = await storeTimers(4_000);
    const started = new Set<string>();
    const cancelled = new Set<string>();
    const startedAfterCancel: string[] = [];
    await Promise.all([
      runAll(cutRandomly(ids, 64), CONNECTIONS / 2, async (piece) => {
        for (const { id } of await start(piece.map((id) => ({ id, version: 1 })))) started.add(id);
      }),
      runAll(cutRandomly(ids, 64), CONNECTIONS / 2, async (piece) => {
        const gone = await cancel(piece);
        for (const { id } of gone) cancelled.add(id);
        const late = await start(gone.flatMap(({ id }) => [1, 2, 3].map((version) => ({ id, version }))));
        startedAfterCancel.push(...late.map(({ id }) => id));
      }),
    ]);
    expect(startedAfterCancel).toEqual([]);
    expect([...started].filter((id) => cancelled.has(id))).toEqual([]);
    expect(started.size + cancelled.size).toBe(ids.length);
    expect(started.size, 'the race must have been one').toBeGreaterThan(100);
    expect(cancelled.size, 'the race must have been one').toBeGreaterThan(100);
    const { rows } = await db.database.ordinary.query(
      `SELECT (SELECT count(*)::int FROM timers WHERE state = 'running') AS running, (SELECT count(*)::int FROM timers) AS live,
         (SELECT count(*)::int FROM finished_timers WHERE state = 'cancelled') AS cancelled,
         (SELECT sum(cancelled)::int FROM ledger_entries) AS booked`,
    );
    expect(rows).toEqual([
      { running: started.size, live: started.size, cancelled: cancelled.size, booked: cancelled.size },
    ]);
  });

  it('stay exact while outcomes send timers back to wait in between', async () => {
    const ids = await storeTimers(600);
    const cancelled = new Set<string>();
    /** The version after which a cancel was acknowledged is never started: each start is written down at its return. */
    const startedAfterCancel: string[] = [];
    const versions = new Map(ids.map((id) => [id, 1]));
    const record = {
      outcome: 'retryable',
      startedAt: 0,
      latenessMs: 0,
      durationMs: 0,
      httpStatus: 500,
      error: null,
      responseBody: null,
    } as const;
    const cycle = async (piece: string[]) => {
      for (let round = 0; round < 4; round += 1) {
        const cancelledBefore = new Set(piece.filter((id) => cancelled.has(id)));
        const started = await start(piece.map((id) => ({ id, version: versions.get(id)! })));
        startedAfterCancel.push(...started.flatMap(({ id }) => (cancelledBefore.has(id) ? [id] : [])));
        const [first, second] = [started.filter((_, index) => index % 2), started.filter((_, index) => !(index % 2))];
        await retryTimers(
          db.database.hot,
          first.map(({ id, version }) => ({ id, version, ...record, waitMs: -1 })),
        );
        await postponeTimers(
          db.database.hot,
          second.map(({ id, version }) => ({ id, version, waitMs: -1 })),
        );
        for (const { id, version } of started) versions.set(id, version + 1);
      }
    };
    await Promise.all([
      runAll(cutRandomly(ids, 32), 4, cycle),
      runAll(cutRandomly([...ids, ...ids, ...ids], 16), 4, async (piece) => {
        for (const { id } of await cancel(piece)) {
          expect(cancelled.has(id), 'cancelled twice').toBe(false);
          cancelled.add(id);
        }
      }),
    ]);
    expect(startedAfterCancel).toEqual([]);
    expect(cancelled.size).toBeGreaterThan(50);
    const live = await db.database.kysely.selectFrom('timers').select('id').where('id', 'in', ids).execute();
    expect(live.filter(({ id }) => cancelled.has(id))).toEqual([]);
    expect(live.length + cancelled.size).toBe(ids.length);
  });

  it('never deadlock, in whatever order the ids are given, on either kind of connection', async () => {
    // The api cancels inside transactions of either pool; starts have a pool of their own.
    const ids = await storeTimers(800);
    const faults: unknown[] = [];
    const pieces = cutRandomly([...ids, ...ids, ...ids, ...ids], 300);
    await runAll(pieces, CONNECTIONS, async (piece) => {
      const pool = Math.random() < 0.5 ? db.database.hot : db.database.ordinary;
      const work =
        Math.random() < 0.3
          ? cancelTimers(pool, DEFAULT_TENANT_ID, piece)
          : startTimers(
              db.database.relaxed,
              piece.flatMap((id) => [1, 2, 3, 4].map((version) => ({ id, version }))),
              0,
              0,
            );
      await work.catch((error: unknown) => faults.push(error));
    });
    expect(faults).toEqual([]);
  });

  it('wait for a change under way, and the cancel then finds the timer as it is', async () => {
    const [id] = await storeTimers(1);
    const cancelling = await inTransaction(db.database.ordinary, async (client) => {
      await client.query('UPDATE timers SET version = version + 1, due_at = due_at WHERE id = $1', [id]);
      const pending = cancel([id!]);
      await waitUntil('the cancel waits for the change', async () => {
        const { rows } = await db.database.ordinary.query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        );
        return rows.length > 0;
      });
      return { pending };
    });
    expect(await cancelling.pending).toMatchObject([{ id }]);
    const row = await db.database.kysely
      .selectFrom('finished_timers')
      .select('version')
      .where('id', '=', id!)
      .executeTakeFirst();
    expect(row).toEqual({ version: 3 });
  });

  it('belong to one tenant: another tenant can not cancel', async () => {
    const [id] = await storeTimers(1);
    expect(await cancelTimers(db.database.hot, makeTimer().id, [id!])).toEqual([]);
    expect(await start([{ id: id!, version: 1 }])).toHaveLength(1);
  });
});

describe('an outcome and a new start of the same timer, after its lease lapsed', () => {
  it('have exactly one winner', async () => {
    const ids = await storeTimers(1_000);
    const first = await startTimers(
      db.database.hot,
      ids.map((id) => ({ id, version: 1 })),
      0,
      -1,
    );
    const record = {
      outcome: 'succeeded',
      startedAt: 0,
      latenessMs: 0,
      durationMs: 0,
      httpStatus: 200,
      error: null,
      responseBody: null,
    } as const;
    const finished = new Set<string>();
    const restarted = new Set<string>();
    await Promise.all([
      runAll(cutRandomly(first, 32), 4, async (piece) => {
        const ended = await finishTimers(
          db.database.hot,
          piece.map(({ id, version }) => ({ id, version, ...record, state: 'succeeded' as const })),
        );
        for (const { id } of ended) finished.add(id);
      }),
      runAll(cutRandomly(first, 32), 4, async (piece) => {
        for (const { id } of await restartTimers(db.database.relaxed, piece, 10_000, 15_000)) restarted.add(id);
      }),
    ]);
    expect([...finished].filter((id) => restarted.has(id))).toEqual([]);
    expect(finished.size + restarted.size).toBe(ids.length);
    expect(Math.min(finished.size, restarted.size), 'the race must have been one').toBeGreaterThan(50);
  });
});
