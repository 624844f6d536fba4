import { changeTimers, createTimers, inTransaction, type NewTimer, startTimers } from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { TIMERS_PER_CHUNK_MAX } from '@punctual/queue';
import { createTestQueue, makeTimer, TEST_ORIGIN, type TestQueue, useTestDatabase, waitUntil } from '@punctual/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HAND_OVER_EARLY_MS } from '../dispatcher.ts';
import { openRig, type Rig, type RigOptions, WINDOW_MS } from './open-rig.ts';

const db = useTestDatabase(6);
/** Longer than any test: what must not happen in it is ruled out. */
const NEVER_MS = 3_600_000;

let queue: TestQueue;
const rigs: Rig[] = [];

beforeEach(async () => {
  // Each test looks at its own timers only, whatever was left by those before.
  await db.database.ordinary.query('TRUNCATE timers');
  queue = await createTestQueue('redis', db);
});
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.stop();
  await queue.drop();
});

async function open(options: Partial<RigOptions> = {}, database = db.service): Promise<Rig> {
  const rig = await openRig(database, { connection: queue.connection, ...options });
  rigs.push(rig);
  return rig;
}

async function store(timers: readonly NewTimer[]): Promise<string[]> {
  for (let from = 0; from < timers.length; from += 1_000)
    await createTimers(db.database.hot, timers.slice(from, from + 1_000));
  return timers.map(({ id }) => id);
}

const storeDue = (count: number, fields: Partial<NewTimer> = {}) =>
  store(Array.from({ length: count }, () => makeTimer(fields)));
const setWakeAt = (ids: readonly string[], wakeAt: number) =>
  db.database.ordinary.query('UPDATE timers SET wake_at = to_timestamp($2::float8 / 1000) WHERE id = ANY ($1)', [
    ids,
    wakeAt,
  ]);

const idsOf = (rig: Rig) => rig.handedOver.map(({ id }) => id);

describe('read ahead and dispatch', () => {
  it('hand over each timer once, at most so long before it is due as its way through the queue and the window take', async () => {
    const rig = await open();
    rig.start();
    const now = Date.now();
    const ids = await store(Array.from({ length: 400 }, (_, index) => makeTimer({ dueAt: now + 20 + index * 4 })));
    await waitUntil('all are handed over', () => rig.handedOver.length >= ids.length);
    for (let turns = 0; turns < 10; turns += 1) await rig.turn();
    expect(idsOf(rig).toSorted()).toEqual(ids.toSorted());
    const earliest = HAND_OVER_EARLY_MS + WINDOW_MS + 0.01;
    for (const hint of rig.handedOver) expect(hint.atLatest).toBeGreaterThanOrEqual(Math.ceil(hint.wakeAt) - earliest);
  });

  it('hand over together what comes due within the window', async () => {
    const rig = await open({ windowMs: 300, lookAheadMs: 5_000 });
    rig.start();
    const soon = Date.now() + 3_000;
    await store(Array.from({ length: 50 }, (_, index) => makeTimer({ dueAt: soon + index * 4 })));
    const [last] = await store([makeTimer({ dueAt: soon + 400 })]);
    await waitUntil('all are handed over', () => rig.handedOver.length === 51);
    const moments = [...new Set(rig.handedOver.map(({ at }) => at))];
    expect(moments).toHaveLength(2);
    expect(rig.handedOver.filter(({ at }) => at === moments[1]).map(({ id }) => id)).toEqual([last]);
  });

  it('hand over what is due when it is read, whatever comes due later', async () => {
    const rig = await open({ windowMs: 300 });
    rig.start();
    await store([makeTimer({ dueAt: Date.now() + 3_600_000 })]);
    await storeDue(1);
    await waitUntil('the first is handed over', () => rig.handedOver.length === 1);
    await storeDue(TIMERS_PER_CHUNK_MAX);
    await waitUntil('the others are handed over', () => rig.handedOver.length === 1 + TIMERS_PER_CHUNK_MAX);
  });

  it('find a row that was committed long after its wake time', async () => {
    const rig = await open();
    rig.start();
    const timer = makeTimer();
    await inTransaction(db.database.ordinary, async (client) => {
      await createTimers(client, [timer]);
      await waitUntil('the row is older than any read looks back', () => Date.now() > timer.dueAt + 1_200);
    });
    await waitUntil('it is handed over', () => idsOf(rig).includes(timer.id));
    expect(rig.handedOver).toHaveLength(1);
  });

  it('find a row that was committed a moment late within ten reads, without a sweep', async () => {
    // Longer than this machine may stand still between two of these lines, shorter than the clock is old.
    const rig = await open({ sweepIntervalMs: NEVER_MS, lateCommitMs: 30_000 });
    await rig.turn();
    const timer = makeTimer();
    await inTransaction(db.database.ordinary, async (client) => {
      await createTimers(client, [timer]);
      // This read goes past its place.
      await rig.turn();
    });
    // Only every tenth read looks that far back.
    for (let turns = 0; turns < 10; turns += 1) await rig.turn();
    expect(idsOf(rig)).toEqual([timer.id]);
  });

  it('go on when the look for lost hints runs out of time', async () => {
    const hot = Object.create(db.service.hot, {
      query: {
        value: (query: { name: string; text: string; values: unknown[] }) =>
          query.name === 'read_due_timers' && Number(query.values[3]) < 0
            ? Promise.reject(new Error('canceling statement due to statement timeout'))
            : db.service.hot.query(query),
      },
    });
    const rig = await open({ sweepIntervalMs: 20 }, { ...db.service, hot });
    rig.start();
    const ids = await storeDue(50);
    await waitUntil('all are handed over', () => rig.handedOver.length >= ids.length);
    expect(idsOf(rig).toSorted()).toEqual(ids.toSorted());
  });

  it('find an attempt whose lease has ended, under its new version, and say since when it is overdue', async () => {
    const rig = await open({ sweepIntervalMs: 20 });
    rig.start();
    const [id] = await storeDue(1, { dueAt: Date.now() - 600_000, timeoutMs: 1_000 });
    await waitUntil('it is handed over', () => rig.handedOver.length === 1);
    const [started] = await startTimers(db.database.hot, [{ id: id!, version: 1 }], 1_000, 500);
    await waitUntil('it is handed over again', () => rig.handedOver.length === 2);
    const again = rig.handedOver[1]!;
    expect(again).toMatchObject({ id, version: 2 });
    expect(again.atLatest - started!.started_at).toBeGreaterThanOrEqual(1_500);
    const [overdue] = (await rig.metrics.oldestOverdueSeconds.get()).values;
    expect(overdue!.value).toBeLessThan(300);
  });

  it('find an attempt whose lease has ended although the queue is full', async () => {
    const rig = await open({ sweepIntervalMs: 20, queueChunksMax: 1 });
    const [id] = await storeDue(1, { dueAt: Date.now() - 600_000, timeoutMs: 1 });
    await startTimers(db.database.hot, [{ id: id!, version: 1 }], 1, 1);
    await storeDue(1_000);
    rig.start();
    await waitUntil('the queue is full', async () => (await rig.metrics.readPauses.get()).values[0]!.value > 2);
    await waitUntil('it is handed over', () => rig.handedOver.some((hint) => hint.id === id && hint.version === 2));
  });

  it('find a row that an edit moved to an earlier time, under its new version', async () => {
    const rig = await open();
    rig.start();
    const [id] = await storeDue(1, { dueAt: Date.now() + NEVER_MS });
    await rig.turn();
    const [changed] = await changeTimers(db.database.hot, DEFAULT_TENANT_ID, [
      { id: id!, version: 1, due: { dueAt: Date.now() + 100, delay: null }, origin: TEST_ORIGIN },
    ]);
    await waitUntil('it is handed over', () => rig.handedOver.length > 0);
    expect(rig.handedOver).toMatchObject([{ id, version: changed!.version }]);
  });

  it('do not hand over again what was read lately, however often it is read', async () => {
    const rig = await open({ sweepIntervalMs: 0 });
    const ids = await storeDue(500);
    // By what is known of the database's clock they may not be due for some turns yet.
    await waitUntil('all are handed over', async () => {
      await rig.turn();
      return rig.handedOver.length >= ids.length;
    });
    for (let turns = 0; turns < 30; turns += 1) await rig.turn();
    expect(idsOf(rig).toSorted()).toEqual(ids.toSorted());
  });

  it('hand over again what was not started, after the time set and by twice that', async () => {
    const redispatchAfterMs = 400;
    const sweepIntervalMs = 100;
    const rig = await open({ redispatchAfterMs, sweepIntervalMs });
    rig.start();
    await storeDue(3);
    await waitUntil('each was handed over twice', () => rig.handedOver.length === 6);
    for (const [, [first, second]] of Map.groupBy(rig.handedOver, ({ id }) => id)) {
      // The sweep looks at what is at least half a second old.
      const pauseMs = second!.at - first!.at;
      expect(pauseMs).toBeGreaterThanOrEqual(redispatchAfterMs);
      expect(pauseMs).toBeLessThan(2 * redispatchAfterMs + 500 + sweepIntervalMs + 3_000);
    }
  });

  it('miss nothing that came due while reading paused, without waiting for a sweep', async () => {
    const rig = await open({ sweepIntervalMs: NEVER_MS });
    await rig.turn();
    const ids = await storeDue(2_000);
    const storedAt = Date.now();
    await waitUntil('the pause is longer than reads look back', () => Date.now() > storedAt + 1_000);
    await waitUntil('all are handed over', async () => {
      await rig.turn();
      return rig.handedOver.length >= ids.length;
    });
    expect(idsOf(rig).toSorted()).toEqual(ids.toSorted());
  });
});

describe('a new owner of a partition', () => {
  it('begins at its beginning', async () => {
    const first = await open({ partitions: [5], sweepIntervalMs: NEVER_MS });
    const ids = await storeDue(50, { partition: 5 });
    await setWakeAt(ids.slice(0, 25), Date.now() - NEVER_MS);
    await first.turn();
    expect(idsOf(first).toSorted()).toEqual(ids.toSorted());
    const second = await open({ partitions: [5], sweepIntervalMs: NEVER_MS });
    await second.turn();
    expect(idsOf(second).toSorted()).toEqual(ids.toSorted());
  });

  it('begins there also when it had owned it before', async () => {
    const rig = await open({ partitions: [5], sweepIntervalMs: NEVER_MS });
    await rig.turn();
    await rig.turn();
    rig.partitions.length = 0;
    await rig.turn();
    const ids = await storeDue(5, { partition: 5 });
    await setWakeAt(ids, Date.now() - NEVER_MS);
    rig.partitions.push(5);
    await rig.turn();
    expect(idsOf(rig).toSorted()).toEqual(ids.toSorted());
  });

  it('reads nothing of partitions that it does not own', async () => {
    const rig = await open({ partitions: [1, 2] });
    await storeDue(10, { partition: 3 });
    const own = await storeDue(10, { partition: 2 });
    // A queue that is reached for the first time may need a moment.
    await waitUntil('its own are handed over', async () => {
      await rig.turn();
      return idsOf(rig).length >= own.length;
    });
    for (let turns = 0; turns < 3; turns += 1) await rig.turn();
    expect(idsOf(rig).toSorted()).toEqual(own.toSorted());
  });
});
