import {
  type AttemptRecord,
  advanceRuns,
  cancelTimers,
  endRunTimers,
  finishTimers,
  foldLedger,
  inTransaction,
  lockRuns,
  readWaitingTimersOfRun,
  restartTimers,
  returnRunTimers,
  type StartedTimer,
  type StartHere,
  type StoredTask,
  startTimers,
  type Transaction,
  WorkflowVersions,
} from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { beginRuns, storeWorkflow, useTestDatabase, waitUntil, waitUntilDue } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';

const CONNECTIONS = 8;
const db = useTestDatabase(CONNECTIONS);
const versions = new WorkflowVersions();

const noop = { type: 'noop' } as const;
const DIAMOND: StoredTask[] = [
  { key: 'left', action: noop },
  { key: 'right', action: noop },
  { key: 'join', after: ['left', 'right'], action: noop },
];
const RECORD: AttemptRecord = {
  outcome: 'succeeded',
  startedAt: 0,
  latenessMs: 0,
  durationMs: 0,
  httpStatus: 200,
  error: null,
  responseBody: null,
};

const readTimersOf = (runIds: readonly string[]) =>
  db.database.kysely.selectFrom('timers').selectAll().where('run_id', 'in', runIds).execute();
const readRunRows = (runIds: readonly string[]) =>
  db.database.kysely.selectFrom('runs').selectAll().where('id', 'in', runIds).execute();

async function startTasks(runIds: readonly string[], key: string, leaseMs = 60_000): Promise<StartedTimer[]> {
  const timers = (await readTimersOf(runIds)).filter((timer) => timer.task_key === key);
  await waitUntilDue(
    db.database,
    timers.map(({ id }) => id),
  );
  const started: StartedTimer[] = [];
  for (let from = 0; from < timers.length; from += 64) {
    started.push(...(await startTimers(db.database.relaxed, timers.slice(from, from + 64), leaseMs, 0)));
  }
  return started;
}

// Tasks are due at the moment of the lock, rounded up to a millisecond, before which nothing may start.
async function waitUntilAnchorIsPast(client: Transaction): Promise<void> {
  const { rows } = await client.query("SELECT ceil(date_part('epoch', clock_timestamp()) * 1000) AS anchor");
  await waitUntil('what is unlocked is due', async () => {
    const now = await client.query("SELECT date_part('epoch', clock_timestamp()) * 1000 >= $1 AS is_past", [
      rows[0].anchor,
    ]);
    return now.rows[0].is_past;
  });
}

function endAndStart(timers: readonly StartedTimer[], state: 'succeeded' | 'dead', startHere?: StartHere) {
  return endRunTimers(
    db.database.hot,
    versions,
    timers.map((timer) => timer.run_id!),
    async (client) => {
      if (startHere) await waitUntilAnchorIsPast(client);
      return finishTimers(
        client,
        timers.map(({ id, version }) => ({ ...RECORD, id, version, state })),
      );
    },
    startHere,
  );
}

const end = async (timers: readonly StartedTimer[], state: 'succeeded' | 'dead' = 'succeeded') =>
  (await endAndStart(timers, state)).ended;

// As the api does it.
function cancelRun(runId: string) {
  return inTransaction(db.database.ordinary, async (client) => {
    const [run] = await lockRuns(client, [runId]);
    if (run!.status !== 'running') return false;
    const cancelled = await cancelTimers(client, DEFAULT_TENANT_ID, await readWaitingTimersOfRun(client, runId));
    await advanceRuns(
      client,
      versions,
      [{ ...run!, status: 'cancelled' }],
      cancelled.map((timer) => ({ ...timer, state: 'cancelled' })),
    );
    return true;
  });
}

function shuffle<Item>(items: readonly Item[]): Item[] {
  return items
    .map((item) => ({ item, key: Math.random() }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ item }) => item);
}

function cut<Item>(items: readonly Item[], sizeMax: number): Item[][] {
  const pieces: Item[][] = [];
  for (let from = 0; from < items.length; ) {
    const size = 1 + Math.floor(Math.random() * sizeMax);
    pieces.push(items.slice(from, from + size));
    from += size;
  }
  return pieces;
}

async function runAll<Piece>(
  pieces: readonly Piece[],
  atOnce: number,
  work: (piece: Piece) => Promise<unknown>,
): Promise<void> {
  const left = [...pieces];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let piece = left.pop(); piece !== undefined; piece = left.pop()) await work(piece);
    }),
  );
}

describe("a run's progress", () => {
  it('starts the tasks that an outcome unlocks with it, for whoever has room, and leaves the others to the schedulers', async () => {
    const tasks: StoredTask[] = [
      { key: 'first', action: noop },
      { key: 'now', after: ['first'], action: noop },
      { key: 'later', after: ['first'], action: noop, delay: { type: 'duration', value: 30, unit: 'seconds' } },
      { key: 'last', after: ['now'], action: noop, timeoutMs: 2_000 },
    ];
    const workflowId = await storeWorkflow(db.database, tasks);
    const runIds = await beginRuns(db.database, versions, workflowId, 3, '{"a":1}');
    const startHere = { countMax: 2, timeoutMsDefault: 60_000, leaseMarginMs: 1_000 };
    const { ended, started } = await endAndStart(await startTasks(runIds, 'first'), 'succeeded', startHere);
    expect(ended).toHaveLength(3);
    expect(started).toHaveLength(2);
    for (const timer of started) {
      expect(timer).toMatchObject({
        task_key: 'now',
        version: 2,
        attempt: 1,
        lost: 0,
        run_status: 'running',
        input: '{"a":1}',
      });
      expect(timer.wake_at).toBeGreaterThanOrEqual(timer.due_at);
      expect(timer.started_at).toBeGreaterThanOrEqual(timer.wake_at);
    }
    const rows = await readTimersOf(runIds);
    expect(rows.map((row) => `${row.task_key} ${row.state}`).toSorted()).toEqual(
      [
        'later scheduled',
        'later scheduled',
        'later scheduled',
        'now running',
        'now running',
        'now scheduled',
      ].toSorted(),
    );
    const running = rows.filter((row) => row.state === 'running');
    for (const row of running) expect(row.lease_ends_at! - row.wake_at).toBeGreaterThanOrEqual(61_000);
    const next = await endAndStart(started, 'succeeded', startHere);
    expect(next.started.map((timer) => [timer.task_key, timer.timeout_ms])).toEqual([
      ['last', 2_000],
      ['last', 2_000],
    ]);
    const [last] = (await readTimersOf(runIds)).filter((row) => row.task_key === 'last');
    expect(last!.lease_ends_at! - last!.wake_at).toBeLessThan(4_000);
    const { rows: books } = await db.database.ordinary.query(
      `SELECT (SELECT sum(created - succeeded)::int FROM ledger_entries WHERE partition = ANY ($1)) AS booked,
         (SELECT count(*)::int FROM timers WHERE partition = ANY ($1)) AS live`,
      [rows.map((row) => row.partition)],
    );
    expect(books[0].booked).toBe(books[0].live);
  });

  it('starts nothing of a run that is paused or was cancelled, however much room there is', async () => {
    const chain: StoredTask[] = [
      { key: 'a', action: noop },
      { key: 'b', after: ['a'], action: noop },
    ];
    const runIds = await beginRuns(db.database, versions, await storeWorkflow(db.database, chain), 2);
    const started = await startTasks(runIds, 'a');
    await db.database.kysely.updateTable('runs').set({ status: 'paused' }).where('id', '=', runIds[0]!).execute();
    await cancelRun(runIds[1]!);
    const startHere = { countMax: 10, timeoutMsDefault: 60_000, leaseMarginMs: 0 };
    expect((await endAndStart(started, 'succeeded', startHere)).started).toEqual([]);
    expect((await readTimersOf(runIds)).map(({ task_key, state }) => [task_key, state])).toEqual([['b', 'paused']]);
  });

  it('unlocks a join exactly once when the outcomes of its parents come at the same time over several connections', async () => {
    const runIds = await beginRuns(db.database, versions, await storeWorkflow(db.database, DIAMOND), 300);
    const left = await startTasks(runIds, 'left');
    const right = await startTasks(runIds, 'right');
    // Both parents of a run are often under way at once, in batches that overlap in any order.
    const batches = [...cut(shuffle(left), 30), ...cut(shuffle(right), 30)];
    await runAll(shuffle(batches), CONNECTIONS, async (batch) => expect(await end(batch)).toHaveLength(batch.length));
    const timers = await readTimersOf(runIds);
    expect(timers.every((timer) => timer.task_key === 'join' && timer.state === 'scheduled')).toBe(true);
    expect(timers).toHaveLength(300);
    expect(new Set(timers.map((timer) => timer.run_id)).size).toBe(300);
    for (const run of await readRunRows(runIds))
      expect(run).toMatchObject({ status: 'running', task_states: 'ssl', finished_at: null });
    await runAll(cut(await startTasks(runIds, 'join'), 50), 4, end);
    for (const run of await readRunRows(runIds)) {
      expect(run).toMatchObject({ status: 'succeeded', task_states: 'sss' });
      expect(run.finished_at).toBeGreaterThanOrEqual(run.created_at);
    }
    expect(await readTimersOf(runIds)).toEqual([]);
  });

  it('counts an outcome that is written twice once, and one of a lapsed lease not at all', async () => {
    const [runId] = await beginRuns(
      db.database,
      versions,
      await storeWorkflow(db.database, [
        { key: 'a', action: noop },
        { key: 'b', after: ['a'], action: noop },
      ]),
      1,
    );
    const [lapsed] = await startTasks([runId!], 'a', -1);
    const [current] = await restartTimers(db.database.relaxed, [lapsed!], 60_000, 0);
    expect(await end([lapsed!], 'dead')).toEqual([]);
    expect(await readRunRows([runId!])).toMatchObject([{ status: 'running', task_states: 'lp' }]);
    expect(await end([current!])).toHaveLength(1);
    expect(await end([current!])).toEqual([]);
    expect(await readRunRows([runId!])).toMatchObject([{ status: 'running', task_states: 'sl' }]);
    expect(await readTimersOf([runId!])).toHaveLength(1);
  });

  it('fails when a task ends dead, after its other branches have gone on to their end', async () => {
    const tasks: StoredTask[] = [
      { key: 'bad', action: noop },
      { key: 'good', action: noop },
      { key: 'after-bad', after: ['bad'], action: noop },
      { key: 'after-good', after: ['good'], action: noop },
    ];
    const [runId] = await beginRuns(db.database, versions, await storeWorkflow(db.database, tasks), 1);
    await end(await startTasks([runId!], 'bad'), 'dead');
    expect(await readRunRows([runId!])).toMatchObject([{ status: 'running', task_states: 'dlpp' }]);
    await end(await startTasks([runId!], 'good'));
    expect(await readRunRows([runId!])).toMatchObject([{ status: 'running', task_states: 'dspl' }]);
    await end(await startTasks([runId!], 'after-good'));
    expect(await readRunRows([runId!])).toMatchObject([{ status: 'failed', task_states: 'dsps' }]);
  });

  it('begins nothing more in a run that was cancelled, whose started tasks may end', async () => {
    const [runId] = await beginRuns(db.database, versions, await storeWorkflow(db.database, DIAMOND), 1);
    const started = await startTasks([runId!], 'left');
    expect(await cancelRun(runId!)).toBe(true);
    expect(await readRunRows([runId!])).toMatchObject([{ status: 'cancelled', task_states: 'lcp' }]);
    expect(await end(started)).toHaveLength(1);
    expect(await readRunRows([runId!])).toMatchObject([{ status: 'cancelled', task_states: 'scp' }]);
    expect(await readTimersOf([runId!])).toEqual([]);
  });

  it("anchors a task's delay at the moment when its last parent ended, and skips what is past and says so", async () => {
    const tasks: StoredTask[] = [
      { key: 'first', action: noop },
      {
        key: 'past',
        after: ['first'],
        delay: { type: 'date', month: 1, day: 1, year: 2020, onPast: 'skip' },
        action: noop,
      },
      { key: 'late', after: ['past'], delay: { type: 'duration', value: 30, unit: 'seconds' }, action: noop },
    ];
    const [runId] = await beginRuns(db.database, versions, await storeWorkflow(db.database, tasks), 1);
    const started = await startTasks([runId!], 'first');
    const askedAt = Date.now();
    await end(started);
    expect(await readRunRows([runId!])).toMatchObject([{ status: 'running', task_states: 'skl' }]);
    const [late] = await readTimersOf([runId!]);
    expect(late!.due_at - late!.created_at).toBe(30_000);
    expect(Math.abs(late!.created_at - askedAt)).toBeLessThan(1_000);
    const skipped = await db.database.kysely
      .selectFrom('finished_timers')
      .selectAll()
      .where('run_id', '=', runId!)
      .where('state', '=', 'skipped')
      .execute();
    expect(skipped).toMatchObject([{ task_key: 'past', attempt: 0 }]);
  });

  it('never deadlocks and stays consistent while outcomes, retries, starts, run cancels and batch cancels meet in random order', async () => {
    const workflowId = await storeWorkflow(db.database, [
      ...DIAMOND,
      { key: 'other', action: noop },
      { key: 'last', after: ['join', 'other'], action: noop },
    ]);
    const runIds = await beginRuns(db.database, versions, workflowId, 250);
    const faults: unknown[] = [];
    let operations = 0;
    const chance = () => Math.random();
    const pick = async (count: number) => {
      const chosen = shuffle(runIds).slice(0, count);
      return shuffle(await readTimersOf(chosen));
    };
    const turn = async () => {
      const kind = chance();
      const timers = await pick(1 + Math.floor(chance() * 40));
      const running = timers.filter((timer) => timer.state === 'running') as unknown as StartedTimer[];
      // Leases end at once, so starts meet outcomes too.
      if (kind < 0.2) await startTimers(db.database.relaxed, timers, 0, 0);
      else if (kind < 0.35) await restartTimers(db.database.relaxed, timers, 0, 0);
      else if (kind < 0.65) await end(running, chance() < 0.05 ? 'dead' : 'succeeded');
      else if (kind < 0.75) {
        const returning = running.map((timer) => ({
          id: timer.id,
          version: timer.version,
          runId: timer.run_id!,
          waitMs: 0,
          record: chance() < 0.5 ? { ...RECORD, outcome: 'retryable' as const } : null,
        }));
        await returnRunTimers(db.database.hot, versions, returning);
      } else if (kind < 0.8) await cancelRun(runIds[Math.floor(chance() * runIds.length)]!);
      else if (kind < 0.9) {
        const wanted = timers.slice(0, 5);
        await endRunTimers(
          chance() < 0.5 ? db.database.ordinary : db.database.hot,
          versions,
          wanted.map((timer) => timer.run_id!),
          async (client) => {
            const gone = await cancelTimers(
              client,
              DEFAULT_TENANT_ID,
              wanted.map(({ id }) => id),
            );
            return gone.map((timer) => ({ ...timer, state: 'cancelled' as const }));
          },
        );
      } else await foldLedger(db.database.ordinary, 100);
    };
    await Promise.all(
      Array.from({ length: 2 * CONNECTIONS }, async () => {
        while (operations < 2_000) {
          operations += 1;
          await turn().catch((error: unknown) => faults.push(error));
        }
      }),
    );
    expect(faults).toEqual([]);
    const timers = await readTimersOf(runIds);
    const tasks = (await versions.read(db.database.hot, workflowId, 1)).tasks;
    for (const run of await readRunRows(runIds)) {
      const live = timers
        .filter((timer) => timer.run_id === run.id)
        .map((timer) => timer.task_key)
        .toSorted();
      const said = tasks.flatMap((task, index) => (run.task_states[index] === 'l' ? [task.key] : [])).toSorted();
      expect(live, `live tasks of a run with the states ${run.task_states}`).toEqual(said);
    }
    const { rows } = await db.database.ordinary.query(
      `SELECT run_id, task_key, count(*) FROM (SELECT run_id, task_key FROM timers UNION ALL SELECT run_id, task_key FROM finished_timers
         UNION ALL SELECT run_id, task_key FROM dead_letters) AS t WHERE run_id = ANY ($1) GROUP BY run_id, task_key HAVING count(*) > 1`,
      [runIds],
    );
    expect(rows, 'tasks that have begun twice').toEqual([]);
  });
});
