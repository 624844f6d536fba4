import {
  createTimers,
  dropIdleLanes,
  finishTimers,
  listTimerLanes,
  postponeTimers,
  readLaneWishes,
  retryTimers,
  type StartedTimer,
  startInLanes,
  startLanedTimers,
  startTimers,
  WorkflowVersions,
  wakeLanes,
  wakeNeglectedLanes,
} from '@punctual/database';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { beginRuns, makeTimer, storeWorkflow, useTestDatabase, waitUntil, waitUntilDue } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';
import { nameLanes } from '../repositories/name-lanes.ts';

const TIMEOUT_MS = 10_000;
const MARGIN_MS = 15_000;
const db = useTestDatabase(10);

async function store(key: string, count: number, rule: object = { limit: 1 }): Promise<string[]> {
  const dueAt = Date.now() - 60_000;
  const timers = Array.from({ length: count }, (_, index) =>
    makeTimer({ dueAt: dueAt + index, concurrency: JSON.stringify({ key, ...rule }) }),
  );
  for (let from = 0; from < count; from += 1_000) await createTimers(db.database.hot, timers.slice(from, from + 1_000));
  const ids = timers.map(({ id }) => id);
  await waitUntilDue(db.database, ids);
  return ids;
}

const readHints = async (ids: readonly string[]) => {
  const { rows } = await db.database.ordinary.query<{ id: string; version: number }>(
    `SELECT id, version FROM timers WHERE id = ANY ($1) AND state = 'scheduled' AND wake_at <= clock_timestamp()`,
    [ids],
  );
  return rows;
};

/** What a worker does with hints. */
async function start(ids: readonly string[]): Promise<StartedTimer[]> {
  const wishes = await readLaneWishes(db.database.hot, await readHints(ids));
  const timers = wishes.map((wish) => ({ ...wish, lanes: listTimerLanes(wish, []) }));
  return startInLanes(db.database.hot, timers, (client, chosen) =>
    startLanedTimers(client, chosen, TIMEOUT_MS, MARGIN_MS),
  );
}

const finish = ({ id, version }: StartedTimer) =>
  finishTimers(db.database.hot, [
    {
      id,
      version,
      state: 'succeeded',
      outcome: 'succeeded',
      startedAt: 0,
      latenessMs: 0,
      durationMs: 1,
      httpStatus: null,
      error: null,
      responseBody: null,
    },
  ]);
const wake = (key: string) => wakeLanes(db.database.hot, [{ tenantId: DEFAULT_TENANT_ID, name: `key:${key}` }]);

describe('in a lane a priority', () => {
  const storeOne = async (key: string, dueAt: number, priority: number) => {
    const timer = makeTimer({ dueAt, priority: priority || null, concurrency: JSON.stringify({ key, limit: 1 }) });
    await createTimers(db.database.hot, [timer]);
    await waitUntilDue(db.database, [timer.id]);
    return timer.id;
  };
  const drain = async (key: string, first: StartedTimer, ids: readonly string[]) => {
    const order: string[] = [];
    for (let running: StartedTimer | undefined = first; running; ) {
      order.push(running.id);
      await finish(running);
      await wake(key);
      [running] = await start(ids);
    }
    return order;
  };

  it('goes before an earlier due time, the highest first, and before nobody who has waited hours longer', async () => {
    const key = createId();
    const now = Date.now();
    const running = await storeOne(key, now - 10_000, 0);
    const [started] = await start([running]);
    const plain = [await storeOne(key, now - 5_000, 0), await storeOne(key, now - 4_000, 0)];
    const low = await storeOne(key, now - 3_000, 1);
    const high = await storeOne(key, now - 2_000, 9);
    const old = await storeOne(key, now - 2 * 3_600_000, 0);
    const ids = [...plain, low, high, old];
    expect(await start(ids), 'they wait').toEqual([]);
    expect(await drain(key, started!, ids)).toEqual([running, high, old, low, ...plain]);
  });

  it('is seen however many wait before it', async () => {
    const key = createId();
    const ids = await store(key, 3_000);
    const [started] = await start(ids.slice(0, 1));
    for (let from = 1; from < ids.length; from += 500) expect(await start(ids.slice(from, from + 500))).toEqual([]);
    const high = await storeOne(key, Date.now() - 1_000, 1);
    expect(await start([high])).toEqual([]);
    await finish(started!);
    await wake(key);
    expect((await start([...ids.slice(1, 200), high])).map(({ id }) => id)).toEqual([high]);
  });
});

describe('a timer with a key', () => {
  it('is not started by what starts all others', async () => {
    const ids = await store(createId(), 1);
    expect(await startTimers(db.database.hot, await readHints(ids), TIMEOUT_MS, MARGIN_MS)).toEqual([]);
    expect(await start(ids)).toHaveLength(1);
  });

  it('waits without being due until its turn has come, and the one that is due first goes first', async () => {
    const key = createId();
    const ids = await store(key, 3);
    // The last one is asked for first.
    expect(await start([ids[2]!])).toEqual([]);
    const [first] = await start(ids);
    expect(first!.id).toBe(ids[0]);
    expect(await readHints(ids)).toEqual([]);
    await wake(key);
    expect(await readHints(ids)).toEqual([]);
    await finish(first!);
    await wake(key);
    expect((await readHints(ids)).map(({ id }) => id)).toEqual([ids[1]]);
    // Somebody new does not overtake the one that was woken.
    const late = await store(key, 1);
    expect(await start(late)).toEqual([]);
    const [second] = await start(ids);
    expect(second!.id).toBe(ids[1]);
  });

  it('keeps its place while it runs, whoever lost it', async () => {
    const key = createId();
    const ids = await store(key, 2);
    const [first] = await start(ids);
    await db.database.ordinary.query(
      "UPDATE timers SET lease_ends_at = clock_timestamp() - interval '1 minute' WHERE id = $1",
      [first!.id],
    );
    await wake(key);
    expect(await readHints(ids)).toEqual([]);
  });

  it('is woken although whoever freed the place never told', async () => {
    const key = createId();
    const ids = await store(key, 2);
    const [first] = await start(ids);
    await finish(first!);
    expect(await readHints(ids)).toEqual([]);
    await waitUntil('somebody has looked', async () => (await wakeNeglectedLanes(db.database.hot, 0, 100)) > 0);
    expect((await readHints(ids)).map(({ id }) => id)).toEqual([ids[1]]);
  });

  it('goes on when the one that was woken is cancelled, and lanes out of use are forgotten', async () => {
    const key = createId();
    const ids = await store(key, 3);
    const [first] = await start(ids);
    await finish(first!);
    await wake(key);
    await db.database.ordinary.query('DELETE FROM timers WHERE id = $1', [ids[1]]);
    await wakeNeglectedLanes(db.database.hot, 0, 100);
    const [third] = await start(ids);
    expect(third!.id).toBe(ids[2]);
    expect(await dropIdleLanes(db.database.hot, 0, 1_000)).toBeGreaterThanOrEqual(0);
    const { rows } = await db.database.ordinary.query('SELECT FROM lanes WHERE name = $1', [`key:${key}`]);
    expect(rows).toHaveLength(1);
    await finish(third!);
    await wake(key);
    await waitUntil('the lanes are forgotten', async () => {
      await wakeNeglectedLanes(db.database.hot, 0, 1_000);
      await dropIdleLanes(db.database.hot, 0, 1_000);
      const left = await db.database.ordinary.query('SELECT FROM lanes WHERE name = $1', [`key:${key}`]);
      return left.rows.length === 0;
    });
  });

  it('keeps its turn when it is given back unsent for a moment, and not when it waits for a retry', async () => {
    const key = createId();
    const ids = await store(key, 2);
    const [first] = await start([ids[0]!]);
    await postponeTimers(db.database.hot, [{ id: first!.id, version: first!.version, waitMs: 1_500 }]);
    expect(await start([ids[1]!])).toEqual([]);
    await db.database.ordinary.query('UPDATE timers SET wake_at = clock_timestamp() WHERE id = $1', [first!.id]);
    await waitUntilDue(db.database, [first!.id]);
    const [again] = await start([ids[0]!]);
    expect(again!.attempt).toBe(1);
    await retryTimers(db.database.hot, [
      {
        id: again!.id,
        version: again!.version,
        waitMs: 60_000,
        outcome: 'retryable',
        startedAt: 0,
        latenessMs: 0,
        durationMs: 1,
        httpStatus: 500,
        error: null,
        responseBody: null,
      },
    ]);
    await wake(key);
    expect((await readHints(ids)).map(({ id }) => id)).toEqual([ids[1]]);
  });

  it('is woken by who frees its place at the very moment in which it is told to wait', async () => {
    const key = createId();
    const [firstId] = await store(key, 1);
    const [first] = await start([firstId!]);
    const [secondId] = await store(key, 1);
    const [wish] = await readLaneWishes(db.database.hot, await readHints([secondId!]));
    let woken: Promise<void> | undefined;
    await startInLanes(db.database.hot, [{ ...wish!, lanes: listTimerLanes(wish!, []) }], async () => {
      await finish(first!);
      woken = wake(key);
      await Promise.race([
        woken,
        waitUntil('the wake waits for the lane', async () => {
          const { rows } = await db.database.ordinary.query('SELECT FROM pg_locks WHERE NOT granted');
          return rows.length > 0;
        }),
      ]);
      return [];
    });
    await woken;
    expect((await readHints([secondId!])).map(({ id }) => id)).toEqual([secondId]);
  });

  it('has its turn behind any number of others that are paused or wait for a retry, which are passed over', async () => {
    const key = createId();
    const ids = await store(key, 1_000);
    for (let more = 0; more < 5; more += 1) ids.push(...(await store(key, 1_000)));
    const asleep = ids.slice(0, -2);
    await db.database.ordinary.query(
      `UPDATE timers SET wake_at = clock_timestamp() + interval '1 hour', attempt = 1, state = CASE WHEN id < $2 THEN 'paused'::timer_state ELSE state END
       WHERE id = ANY ($1)`,
      [asleep, asleep[3_000]],
    );
    const [first, second] = ids.slice(-2);
    expect((await start([second!, first!])).map(({ id }) => id)).toEqual([first]);
    const [running] = await db.database.ordinary
      .query<StartedTimer>('SELECT id, version FROM timers WHERE id = $1', [first])
      .then(({ rows }) => rows);
    await finish(running!);
    await wake(key);
    expect((await readHints(ids)).map(({ id }) => id)).toEqual([second]);
  });

  it('is told its key with thousands of others of its run, whose input is large and read once', async () => {
    const versions = new WorkflowVersions();
    const workflowId = await storeWorkflow(db.database, [{ key: 'only', action: { type: 'noop' } }]);
    const input = JSON.stringify({ customerId: 7, items: Array.from({ length: 40_000 }, (_, index) => ({ index })) });
    const [runId] = await beginRuns(db.database, versions, workflowId, 1, input);
    const timers = Array.from({ length: 10_000 }, () => ({
      runId: runId!,
      concurrency: '{"key":"customer-{{input.customerId}}"}',
    }));
    await nameLanes(db.database.hot, timers);
    expect(new Set(timers.map(({ concurrency }) => concurrency))).toEqual(new Set(['{"key":"customer-7"}']));
  }, 20_000);

  it('never runs beside another of its key, whoever asks, ends and dies at once, and all of them end', async () => {
    const keys = [createId(), createId(), createId()];
    const limits = [1, 1, 2];
    const ids = (await Promise.all(keys.map((key, index) => store(key, 40, { limit: limits[index]! })))).map(
      (of) => of,
    );
    const all = ids.flat();
    const keyOf = new Map(ids.flatMap((of, index) => of.map((id) => [id, index] as const)));
    const running = [0, 0, 0];
    const mostAtOnce = [0, 0, 0];
    const order: string[][] = [[], [], []];
    let done = 0;
    const worker = async (number: number) => {
      while (done < all.length) {
        const hints = await readHints(all);
        const some = hints.toSorted(() => Math.random() - 0.5).slice(0, 1 + number * 3);
        for (const timer of await start(some.map(({ id }) => id))) {
          const key = keyOf.get(timer.id)!;
          running[key] = running[key]! + 1;
          mostAtOnce[key] = Math.max(mostAtOnce[key]!, running[key]!);
          order[key]!.push(timer.id);
          // Long enough for the others to begin beside it if they could.
          for (let look = 0; look < 5; look += 1) await readHints(all);
          running[key] = running[key]! - 1;
          await finish(timer);
          done += 1;
          // Every other one dies before it can tell.
          if (number % 2 === 0) await wake(keys[key]!);
        }
        await wakeNeglectedLanes(db.database.hot, 50, 100);
      }
    };
    await Promise.all([0, 1, 2, 3].map(worker));
    for (const [index, limit] of limits.entries()) {
      expect(mostAtOnce[index]).toBeLessThanOrEqual(limit);
      expect(order[index]).toHaveLength(40);
      if (limit === 1) expect(order[index]).toEqual(ids[index]);
    }
    await wakeNeglectedLanes(db.database.hot, 0, 1_000);
    const { rows } = await db.database.ordinary.query('SELECT FROM timers WHERE lane = ANY ($1)', [keys]);
    expect(rows).toEqual([]);
  }, 60_000);
});
