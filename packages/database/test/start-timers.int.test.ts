import {
  createTimers,
  DatabaseClock,
  finishTimers,
  inTransaction,
  postponeTimers,
  readEarlyHints,
  readStandingStarts,
  restartTimers,
  retryTimers,
  type StartedTimer,
  startTimers,
  synchronizeClock,
  WorkflowVersions,
} from '@punctual/database';
import { beginRuns, makeTimer, storeWorkflow, useTestDatabase, waitUntil, waitUntilDue } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';

const TIMEOUT_MS = 10_000;
const MARGIN_MS = 15_000;
const db = useTestDatabase(10);

const start = (hints: readonly { id: string; version: number }[], timeoutMs = TIMEOUT_MS, marginMs = MARGIN_MS) =>
  startTimers(db.database.relaxed, hints, timeoutMs, marginMs);

/** A start whose lease has ended when it begins. */
const startLapsing = (hint: { id: string; version: number }) => start([hint], 0, -1);

const restart = (hint: { id: string; version: number }, timeoutMs = TIMEOUT_MS, marginMs = MARGIN_MS) =>
  restartTimers(db.database.relaxed, [hint], timeoutMs, marginMs);

async function storeTimer(fields: Parameters<typeof makeTimer>[0] = {}): Promise<{ id: string; version: number }> {
  const timer = makeTimer(fields);
  await createTimers(db.database.hot, [timer]);
  if (timer.dueAt <= Date.now()) await waitUntilDue(db.database, [timer.id]);
  return { id: timer.id, version: 1 };
}

const readTimer = (id: string) =>
  db.database.kysely.selectFrom('timers').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
const readAttempts = (id: string) =>
  db.database.kysely.selectFrom('attempts').selectAll().where('timer_id', '=', id).orderBy('finished_at').execute();

const record = {
  outcome: 'succeeded',
  startedAt: 0,
  latenessMs: 0,
  durationMs: 1,
  httpStatus: 200,
  error: null,
  responseBody: null,
} as const;

describe('a start', () => {
  it('happens once, however many starts of the same version come together', async () => {
    const timers = Array.from({ length: 40 }, () => makeTimer());
    await createTimers(db.database.hot, timers);
    await waitUntilDue(
      db.database,
      timers.map(({ id }) => id),
    );
    const hints = timers.map((timer) => ({ id: timer.id, version: 1 }));
    const starts = await Promise.all(
      Array.from({ length: 50 }, (_, index) => start(index % 2 ? hints : hints.toReversed())),
    );
    const ids = starts.flat().map((timer) => timer.id);
    expect(ids).toHaveLength(40);
    expect(new Set(ids).size).toBe(40);
    for (const timer of starts.flat()) expect(timer).toMatchObject({ version: 2, attempt: 1, lost: 0 });
  });

  it('never happens before the wake time by the database clock, however often it is tried', async () => {
    const clock = new DatabaseClock();
    await synchronizeClock(db.database.hot, clock);
    const soon = Math.ceil(clock.now());
    const timers = Array.from({ length: 60 }, (_, index) =>
      makeTimer({ dueAt: soon + 50 + index * 5, createdAt: soon }),
    );
    await createTimers(db.database.hot, timers);
    const hints = timers.map((timer) => ({ id: timer.id, version: 1 }));
    const started: StartedTimer[] = [];
    await waitUntil('all timers are started', async () => {
      const rounds = await Promise.all([start(hints), start(hints), start(hints), start(hints)]);
      started.push(...rounds.flat());
      return started.length >= timers.length;
    });
    expect(started).toHaveLength(timers.length);
    for (const timer of started) {
      expect(timer.due_at).toBeCloseTo(timers.find(({ id }) => id === timer.id)!.dueAt, 2);
      expect(timer.started_at).toBeGreaterThanOrEqual(timer.wake_at);
      expect(timer.wake_at).toBeCloseTo(timer.due_at, 2);
    }
  });

  it('drops hints of another version, of timers that are paused, and of those that never were', async () => {
    const changed = await storeTimer();
    const paused = await storeTimer();
    await db.database.ordinary.query(`UPDATE timers SET state = 'paused' WHERE id = $1`, [paused.id]);
    const hints = [
      { id: changed.id, version: 2 },
      { id: changed.id, version: 0 },
      paused,
      { ...makeTimer(), version: 1 },
    ];
    expect(await start(hints)).toEqual([]);
    expect(await readTimer(changed.id)).toMatchObject({ state: 'scheduled', version: 1, attempt: 0 });
  });

  it("sets the lease's end to the timer's own time-out, or the default, plus the margin", async () => {
    const own = await storeTimer({ timeoutMs: 60_000 });
    const other = await storeTimer();
    for (const started of await start([own, other], 5_000, 7_000)) {
      const { wake_at, lease_ends_at } = await readTimer(started.id);
      expect(wake_at).toBeCloseTo(started.wake_at, 2);
      const leaseMs = (started.id === own.id ? 60_000 : 5_000) + 7_000;
      expect(Math.abs(lease_ends_at! - started.started_at - leaseMs)).toBeLessThan(100);
    }
  });

  it('returns what the attempt needs, the input of the run included', async () => {
    const versions = new WorkflowVersions();
    const workflowId = await storeWorkflow(db.database, [{ key: 'only', action: { type: 'noop' }, timeoutMs: 1234 }]);
    const [runId] = await beginRuns(db.database, versions, workflowId, 1, '{ "a":  1.0 }');
    const timer = await db.database.kysely
      .selectFrom('timers')
      .selectAll()
      .where('run_id', '=', runId!)
      .executeTakeFirstOrThrow();
    expect(await start([{ id: timer.id, version: 1 }])).toMatchObject([
      {
        run_id: runId,
        workflow_id: workflowId,
        workflow_version: 1,
        task_key: 'only',
        timeout_ms: 1234,
        input: '{ "a":  1.0 }',
        action: null,
      },
    ]);
    const plain = await storeTimer({
      payload: '{"n":12345678901234567890}',
      action: '{"type":"noop","durationMs":1}',
      retry: '{"maxRetries":0}',
    });
    expect(await start([plain])).toMatchObject([
      {
        payload: '{"n":12345678901234567890}',
        action: '{"type":"noop","durationMs":1}',
        retry: '{"maxRetries":0}',
        run_id: null,
        input: null,
      },
    ]);
  });
});

describe('a lapsed lease', () => {
  it('is begun again under the same attempt number, and the attempt that got lost is recorded', async () => {
    const hint = await storeTimer();
    const [first] = await startLapsing(hint);
    const [second] = await restart(first!, 0, -1);
    const [third] = await restart(second!);
    expect(second).toMatchObject({ version: 3, attempt: 1, lost: 1 });
    expect(third).toMatchObject({ version: 4, attempt: 1, lost: 2 });
    const attempts = await readAttempts(hint.id);
    expect(attempts).toMatchObject([
      { outcome: 'lost', attempt: 1 },
      { outcome: 'lost', attempt: 1 },
    ]);
  });

  it('leaves a record that says when the lost attempt began', async () => {
    const hint = await storeTimer({ timeoutMs: 250 });
    const [first] = await start([hint], TIMEOUT_MS, 250);
    await waitUntil('the lease has lapsed', async () => (await restart(first!, TIMEOUT_MS, 250)).length > 0);
    const [attempt] = await readAttempts(hint.id);
    expect(Math.abs(attempt!.started_at - first!.started_at)).toBeLessThan(50);
    expect(attempt!.finished_at - attempt!.started_at).toBeGreaterThanOrEqual(499);
  });

  it('is not begun again before it ends', async () => {
    const hint = await storeTimer();
    expect(await restart(hint)).toEqual([]);
    const [first] = await start([hint]);
    expect(await start([first!])).toEqual([]);
    expect(await restart(first!)).toEqual([]);
  });

  it('cannot record an outcome', async () => {
    const hint = await storeTimer();
    const [first] = await startLapsing(hint);
    const [second] = await restart(first!);
    const old = { id: hint.id, version: first!.version };
    expect(await finishTimers(db.database.hot, [{ ...old, ...record, state: 'succeeded' }])).toEqual([]);
    expect(await finishTimers(db.database.hot, [{ ...old, ...record, state: 'dead' }])).toEqual([]);
    expect(await retryTimers(db.database.hot, [{ ...old, ...record, waitMs: -1 }])).toEqual([]);
    expect(await postponeTimers(db.database.hot, [{ ...old, waitMs: -1 }])).toEqual([]);
    expect(await readTimer(hint.id)).toMatchObject({ state: 'running', version: second!.version, attempt: 1 });
    expect(await readAttempts(hint.id)).toHaveLength(1);
    expect(
      await finishTimers(db.database.hot, [{ id: hint.id, version: second!.version, ...record, state: 'succeeded' }]),
    ).toHaveLength(1);
  });

  it('counts anew after an outcome', async () => {
    const hint = await storeTimer();
    const [first] = await startLapsing(hint);
    const [second] = await restart(first!);
    await retryTimers(db.database.hot, [
      { id: hint.id, version: second!.version, ...record, outcome: 'retryable', waitMs: -1 },
    ]);
    expect(await start([{ id: hint.id, version: second!.version + 1 }])).toMatchObject([{ attempt: 2, lost: 0 }]);
  });
});

describe('a lapsed lease of a task', () => {
  it('is begun again in full sight of a cancel of its run that was committed meanwhile', async () => {
    const versions = new WorkflowVersions();
    const workflowId = await storeWorkflow(db.database, [{ key: 'only', action: { type: 'noop' } }]);
    const [runId] = await beginRuns(db.database, versions, workflowId, 1);
    const [timer] = await db.database.kysely.selectFrom('timers').selectAll().where('run_id', '=', runId!).execute();
    await waitUntilDue(db.database, [timer!.id]);
    const [first] = await startLapsing({ id: timer!.id, version: 1 });
    const restarting = await inTransaction(db.database.ordinary, async (client) => {
      await client.query('SELECT FROM runs WHERE id = $1 FOR UPDATE', [runId]);
      const pending = restart(first!);
      await waitUntil('the restart waits for the cancel', async () => {
        const { rows } = await db.database.hot.query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        );
        return rows.length > 0;
      });
      await client.query(`UPDATE runs SET status = 'cancelled' WHERE id = $1`, [runId]);
      return { pending };
    });
    expect(await restarting.pending).toMatchObject([{ run_status: 'cancelled' }]);
  });
});

describe('an attempt that was begun by a worker of the schema before', () => {
  it('has the end of its lease in its wake time', async () => {
    const hint = await storeTimer({ timeoutMs: 1_000 });
    const [first] = await start([hint]);
    const setWakeAt = (text: string) =>
      db.database.ordinary.query(
        `UPDATE timers SET lease_ends_at = NULL, wake_at = clock_timestamp() + $2::interval WHERE id = $1`,
        [hint.id, text],
      );
    await setWakeAt('1 minute');
    const { id, version } = first!;
    const asked = [{ id, version }, { id, version: version + 1 }, makeTimer()].map((each) => ({ version: 1, ...each }));
    expect(await readStandingStarts(db.database.hot, asked)).toEqual([{ id, version }]);
    expect(await restart(first!)).toEqual([]);
    await setWakeAt('-1 second');
    expect(await readStandingStarts(db.database.hot, asked)).toEqual([]);
    expect(await restart(first!)).toMatchObject([{ attempt: 1, lost: 1 }]);
  });
});

describe('early hints', () => {
  it('are those of unchanged timers due within a second, with the time to wait', async () => {
    const now = Date.now();
    const soon = await storeTimer({ dueAt: now + 600 });
    const later = await storeTimer({ dueAt: now + 60_000 });
    const running = await storeTimer();
    const [started] = await start([running]);
    const early = await readEarlyHints(db.database.hot, [
      soon,
      later,
      { id: running.id, version: started!.version },
      { id: soon.id, version: 7 },
    ]);
    expect(early).toMatchObject([soon]);
    expect(early[0]!.waitMs).toBeGreaterThan(0);
    expect(early[0]!.waitMs).toBeLessThanOrEqual(600);
  });
});
