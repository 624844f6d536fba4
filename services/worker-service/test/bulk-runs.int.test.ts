import {
  closeGate,
  deliverSignals,
  endRunTimers,
  type FinishedAttempt,
  finishTimers,
  type GateKey,
  giveUpWaiting,
  inTransaction,
  listBulkFailures,
  pauseTimers,
  redriveDeadLetters,
  setBulkStatus,
  startTimers,
  storeSignal,
} from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { beginRuns, storeWorkflow, TEST_ORIGIN, useTestDatabase, waitUntil } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';
import { HOUR_MS, openBulkSteps } from './bulk-steps.ts';

const db = useTestDatabase(6);
const tenantId = DEFAULT_TENANT_ID;
const { versions, openBulk, store, carryOut } = openBulkSteps(db);

describe('a workflow that is resumed', () => {
  const key = (workflowId: string): GateKey => ({ tenantId, kind: 'workflow', name: workflowId });
  const storePaused = async () => {
    const workflowId = await storeWorkflow(db.database, [
      { key: 'a', delay: { type: 'duration', value: 1, unit: 'hours' }, action: { type: 'noop' } },
    ]);
    await beginRuns(db.database, versions, workflowId, 5);
    await inTransaction(db.database.hot, (client) => closeGate(client, key(workflowId)));
    return workflowId;
  };
  const readTimers = async (workflowId: string) =>
    (await db.database.ordinary.query('SELECT * FROM timers WHERE workflow_id = $1 ORDER BY due_at, id', [workflowId]))
      .rows;

  it('moves all that waits by its pause before it goes on, and then releases what was parked', async () => {
    const workflowId = await storePaused();
    const before = await readTimers(workflowId);
    const resumedAt = Date.now() + 5_000;
    await db.database.ordinary.query(
      `UPDATE timers SET state = 'paused', wake_at = 'infinity', parked_for = $2 WHERE id = $1`,
      [before[0].id, `workflow:${workflowId}`],
    );
    const plan = { do: 'shift' as const, workflowId, pausedAt: resumedAt - 60_000, resumedAt, ratePerSecond: 1_000 };
    await db.database.ordinary.query(
      `UPDATE timers SET created_at = created_at - interval '1 hour' WHERE workflow_id = $1`,
      [workflowId],
    );
    const condition = { tenantId, workflowId };
    const { id } = await store(plan, { of: 'timers', condition });
    expect(await carryOut(id)).toMatchObject({ status: 'succeeded', done: 5 });
    const after = await readTimers(workflowId);
    expect(after.map(({ due_at: at }) => at)).toEqual(before.map(({ due_at: at }) => at + 60_000));
    const gates = await db.database.ordinary.query('SELECT FROM gates WHERE name = $1', [workflowId]);
    expect(gates.rows).toEqual([]);
    const release = await db.database.ordinary.query(
      `SELECT id FROM bulk_operations WHERE plan -> 'plan' ->> 'do' = 'release' AND plan -> 'plan' -> 'gate' ->> 'name' = $1`,
      [workflowId],
    );
    expect(await carryOut(release.rows[0].id)).toMatchObject({ status: 'succeeded', done: 1 });
    expect((await readTimers(workflowId)).every(({ state }) => state === 'scheduled')).toBe(true);
  });

  it('is locked before its gate, as by those who pause or cancel it', async () => {
    const workflowId = await storePaused();
    const plan = {
      do: 'shift' as const,
      workflowId,
      pausedAt: Date.now(),
      resumedAt: Date.now(),
      ratePerSecond: 1_000,
    };
    const { id } = await store(plan, { of: 'timers', condition: { tenantId, workflowId } });
    const holder = await db.database.hot.connect();
    try {
      await holder.query('BEGIN');
      await holder.query('SELECT FROM workflows WHERE id = $1 FOR UPDATE', [workflowId]);
      const carried = carryOut(id);
      await waitUntil('it waits for the workflow', async () => {
        const { rows } = await db.database.ordinary.query(
          `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
        );
        return rows.length > 0;
      });
      await holder.query('SELECT FROM gates WHERE name = $1 FOR UPDATE NOWAIT', [workflowId]);
      await holder.query('ROLLBACK');
      expect(await carried).toMatchObject({ status: 'succeeded', done: 5 });
    } finally {
      await holder.query('ROLLBACK');
      holder.release();
    }
  });

  it('keeps what it has still to move when that has failed, and moves each timer once in the end', async () => {
    const workflowId = await storePaused();
    const before = await readTimers(workflowId);
    const pausedAt = Math.max(...before.map(({ created_at: at }) => at)) + 1_000;
    const plan = { do: 'shift' as const, workflowId, pausedAt, resumedAt: pausedAt + 60_000, ratePerSecond: 1_000 };
    const { id } = await store(plan, { of: 'ids', ids: before.map((timer) => timer.id) });
    const set = (status: 'failed' | 'running') =>
      inTransaction(db.database.hot, (client) => setBulkStatus(client, id, status));
    await set('failed');
    expect(await openBulk().run(id)).toBe('done');
    await set('running');
    expect(await carryOut(id)).toMatchObject({ status: 'succeeded', done: 5 });
    const after = await readTimers(workflowId);
    expect(after.map(({ due_at: at }) => at)).toEqual(before.map(({ due_at: at }) => at + 60_000));
  });

  it('leaves paused what somebody paused by itself', async () => {
    const workflowId = await storePaused();
    const [one] = await readTimers(workflowId);
    await pauseTimers(db.database.hot, tenantId, [{ id: one.id, origin: TEST_ORIGIN }]);
    const plan = {
      do: 'release' as const,
      gate: { kind: 'workflow' as const, name: workflowId },
      dueTimes: 'keep' as const,
      paceMs: 0,
    };
    const { id } = await store(plan, { of: 'parked', parkedFor: `workflow:${workflowId}` });
    expect(await carryOut(id)).toMatchObject({ status: 'succeeded', matched: 0 });
    expect((await readTimers(workflowId)).map(({ state }) => state).toSorted()).toEqual([
      'paused',
      'scheduled',
      'scheduled',
      'scheduled',
      'scheduled',
    ]);
  });
});

describe('runs that are moved to a new version', () => {
  const addVersion = (workflowId: string, tasks: object[], version = 2) =>
    db.database.ordinary.query(
      `INSERT INTO workflow_versions (workflow_id, version, name, time_zone, tasks, created_at) VALUES ($1, $2, 'test', 'UTC', $3, now())`,
      [workflowId, version, JSON.stringify(tasks)],
    );
  const hours = (value: number) => ({ type: 'duration' as const, value, unit: 'hours' as const });
  const move = async (workflowId: string, ids: readonly string[]) =>
    carryOut(
      (await store({ do: 'moveRuns', workflowId, version: 2 }, { of: 'ids', ids }, { target: 'run', action: 'move' }))
        .id,
    );
  const readTimers = async (runId: string) =>
    (await db.database.ordinary.query('SELECT * FROM timers WHERE run_id = $1 ORDER BY task_key', [runId])).rows;

  it('reckon anew from each anchor, begin new tasks that may begin, and carry states over by their keys', async () => {
    const noop = { type: 'noop' as const };
    const workflowId = await storeWorkflow(db.database, [
      { key: 'gone', after: ['a'], action: noop },
      { key: 'a', delay: hours(1), action: noop },
    ]);
    const runIds = await beginRuns(db.database, versions, workflowId, 2);
    const anchors = (await readTimers(runIds[0]!)).map(({ created_at: at }) => at);
    await addVersion(workflowId, [
      { key: 'a', delay: hours(3), action: noop, timeoutMs: 5_000 },
      { key: 'new', delay: hours(2), action: noop },
      { key: 'later', after: ['a', 'new'], action: noop },
    ]);
    expect(await move(workflowId, runIds)).toMatchObject({ done: 2, failed: 0 });
    const [a, fresh] = await readTimers(runIds[0]!);
    expect(a).toMatchObject({
      task_key: 'a',
      workflow_version: 2,
      version: 2,
      timeout_ms: 5_000,
      due_at: anchors[0] + 3 * HOUR_MS,
    });
    expect(fresh).toMatchObject({ task_key: 'new', workflow_version: 2 });
    const { rows } = await db.database.ordinary.query(
      'SELECT workflow_version, task_states, status FROM runs WHERE id = $1',
      [runIds[0]],
    );
    expect(rows).toEqual([{ workflow_version: 2, task_states: 'llp', status: 'running' }]);
  });

  it('wait for the signals that the new version says, and get what is kept for them; who got one keeps it', async () => {
    const noop = { type: 'noop' as const };
    const until = (name: string) => ({ type: 'signal' as const, name });
    const workflowId = await storeWorkflow(db.database, [
      { key: 'a', delay: until('one'), action: noop },
      { key: 'b', delay: hours(1), action: noop },
      { key: 'c', delay: until('three'), action: noop },
      { key: 'd', delay: until('four'), action: noop },
    ]);
    const [runId] = await beginRuns(db.database, versions, workflowId, 1);
    await inTransaction(db.database.hot, async (client) => {
      for (const name of ['four', 'two']) await storeSignal(client, { runId: runId!, tenantId, name, payload: '1' });
      expect(
        await deliverSignals(client, [
          { runId: runId!, name: 'four', version: await versions.read(client, workflowId, 1) },
        ]),
      ).toHaveLength(1);
    });
    await addVersion(workflowId, [
      { key: 'a', delay: { ...until('uno'), timeout: hours(2) }, action: noop },
      { key: 'b', delay: until('two'), action: noop },
      { key: 'c', delay: hours(3), action: noop },
      { key: 'd', delay: { ...until('quattro'), timeout: hours(4) }, action: noop },
    ]);
    expect(await move(workflowId, [runId!])).toMatchObject({ done: 1, failed: 0 });
    const [a, b, c, d] = await readTimers(runId!);
    expect(a).toMatchObject({ waits_for: 'uno', signal: null, due_at: a.created_at + 2 * HOUR_MS });
    expect(b).toMatchObject({ waits_for: null, signal: 2 });
    expect(b.wake_at).toBeLessThanOrEqual(Date.now() + 1);
    expect(c).toMatchObject({ waits_for: null, signal: null, due_at: c.created_at + 3 * HOUR_MS });
    expect(d).toMatchObject({ waits_for: null, signal: 1 });
    expect(d.due_at).toBeLessThanOrEqual(Date.now() + 1);
  });

  it('wait for the signal of the new version, when they are sent again after that of the old one did not come', async () => {
    const noop = { type: 'noop' as const };
    const until = (name: string) => ({ type: 'signal' as const, name });
    const tasks = (name: string) => [
      { key: 'a', delay: { ...until(name), timeout: hours(0) }, action: noop },
      { key: 'b', delay: hours(1), action: noop },
    ];
    const workflowId = await storeWorkflow(db.database, tasks('one'));
    const [runId] = await beginRuns(db.database, versions, workflowId, 1);
    const [a] = await readTimers(runId!);
    await endRunTimers(db.database.hot, versions, [runId!], async (client) => {
      const [started] = await startTimers(client, [{ id: a.id, version: a.version }], 1_000, 1_000);
      const end = giveUpWaiting(started!, await versions.read(client, workflowId, 1)) as { record: FinishedAttempt };
      return finishTimers(client, [end.record]);
    });
    await addVersion(workflowId, tasks('uno'));
    expect(await move(workflowId, [runId!])).toMatchObject({ done: 1, failed: 0 });
    await inTransaction(db.database.hot, (client) => redriveDeadLetters(client, versions, tenantId, [a.id]));
    expect((await readTimers(runId!))[0]).toMatchObject({ id: a.id, waits_for: 'uno' });
  });

  it('stay where they are when a task waits that the new version does not have', async () => {
    const noop = { type: 'noop' as const };
    const workflowId = await storeWorkflow(db.database, [{ key: 'a', delay: hours(1), action: noop }]);
    const runIds = await beginRuns(db.database, versions, workflowId, 1);
    await addVersion(workflowId, [{ key: 'b', action: noop }]);
    const { id, ...moved } = await move(workflowId, runIds);
    expect(moved).toMatchObject({ done: 0, failed: 1 });
    expect(await listBulkFailures(db.database.ordinary, id, { after: undefined, limit: 9 })).toMatchObject([
      { target_id: runIds[0], code: 'task_removed' },
    ]);
    expect(await readTimers(runIds[0]!)).toMatchObject([{ task_key: 'a', workflow_version: 1, version: 1 }]);
  });
});
