import {
  type BulkPlan,
  connectDatabase,
  countLiveTimers,
  finishTimers,
  inTransaction,
  listBulkFailures,
  lookAtBulkOperation,
  setBulkStatus,
  startTimers,
} from '@punctual/database';
import { createId, DEFAULT_TENANT_ID, SYSTEM_TENANT_ID } from '@punctual/domain';
import { beginRuns, storeWorkflow, useTestDatabase, waitUntil } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';
import { HOUR_MS, openBulkSteps } from './bulk-steps.ts';
import { openWorkerRig } from './open-rig.ts';

const db = useTestDatabase(6);
const tenantId = DEFAULT_TENANT_ID;
const { versions, openBulk, storeTimers, store, read, carryOut, readRows } = openBulkSteps(db);

describe('a bulk operation', () => {
  it('is about what matched when it was listed, in portions, and tells how far it came', async () => {
    const { ids, condition } = await storeTimers(4_500);
    const { id } = await store({ do: 'cancel' }, { of: 'timers', condition });
    expect(await read(id)).toMatchObject({ status: 'running', is_listed: false, matched: 0 });
    expect(await carryOut(id)).toMatchObject({ status: 'succeeded', matched: 4_500, done: 4_500, failed: 0 });
    expect(await readRows(ids)).toEqual([]);
    const { rows } = await db.database.ordinary.query(
      `SELECT sum(cardinality(target_ids))::int AS n FROM audit_log WHERE action = 'bulk-operation.change' AND details ->> 'bulkOperationId' = $1`,
      [id],
    );
    expect(rows).toEqual([{ n: 4_500 }]);
  });

  it('keeps as failures what has started, has ended or is not there, and changes the others', async () => {
    const { ids } = await storeTimers(4, (index) => ({
      dueAt: index === 0 ? Date.now() - 1_000 : Date.now() + HOUR_MS,
    }));
    await startTimers(db.database.hot, [{ id: ids[0]!, version: 1 }], 10_000, 60_000);
    const nobody = createId();
    const first = await store({ do: 'cancel' }, { of: 'ids', ids: [ids[1]!] });
    await carryOut(first.id);
    const { id } = await store({ do: 'pause' }, { of: 'ids', ids: [...ids, nobody] });
    expect(await carryOut(id)).toMatchObject({ status: 'succeeded', matched: 5, done: 2, failed: 3 });
    const failures = await listBulkFailures(db.database.ordinary, id, { after: undefined, limit: 10 });
    expect(Object.fromEntries(failures.map(({ target_id: target, code }) => [target, code]))).toEqual({
      [ids[0]!]: 'timer_already_started',
      [ids[1]!]: 'timer_finished',
      [nobody]: 'not_found',
    });
  });

  it('reschedules by a delay from each one’s anchor, to an instant, and by so much', async () => {
    const anchor = Date.now() - 60_000;
    const { ids, timers } = await storeTimers(2, (index) => ({ createdAt: anchor + index * 1_000 }));
    const change = async (wanted: Extract<BulkPlan, { do: 'reschedule' }>['change']) => {
      const { id } = await store({ do: 'reschedule', change: wanted }, { of: 'ids', ids });
      expect(await carryOut(id)).toMatchObject({ done: 2, failed: 0 });
      const rows = await readRows(ids);
      return ids.map((timer) => rows.find((row) => row.id === timer)!);
    };
    const byDelay = await change({ delay: { type: 'duration', value: 2, unit: 'hours' } });
    expect(byDelay.map((row) => row.due_at)).toEqual(timers.map(({ createdAt }) => createdAt + 2 * HOUR_MS));
    expect(byDelay.map((row) => row.wake_at)).toEqual(byDelay.map((row) => row.due_at));
    const byShift = await change({ shiftMs: -1_000 });
    expect(byShift.map((row) => row.due_at)).toEqual(byDelay.map((row) => row.due_at - 1_000));
    const at = Date.now() + 5 * HOUR_MS;
    expect((await change({ dueAt: at })).map((row) => [row.due_at, row.version, row.delay])).toEqual([
      [at, 4, null],
      [at, 4, null],
    ]);
  });

  it('puts no due time further away than a new timer may have it', async () => {
    const { ids } = await storeTimers(3, (index) => ({
      createdAt: Date.now() - index * 3 * HOUR_MS,
      dueAt: Date.now() + (index + 1) * HOUR_MS,
    }));
    const before = await readRows(ids);
    const change = async (wanted: Extract<BulkPlan, { do: 'reschedule' }>['change']) => {
      const plan = { do: 'reschedule' as const, change: wanted, maxWaitMs: 2.5 * HOUR_MS };
      const { id } = await store(plan, { of: 'ids', ids });
      const { done, failed } = await carryOut(id);
      const failures = await listBulkFailures(db.database.ordinary, id, { after: undefined, limit: 9 });
      return { done, failed, failures: failures.map(({ target_id: target, code }) => [target, code]) };
    };
    const byShift = await change({ shiftMs: HOUR_MS });
    expect(byShift).toEqual({
      done: 1,
      failed: 2,
      failures: [ids[1], ids[2]].toSorted().map((id) => [id, 'wait_too_long']),
    });
    const dueAtOf = (rows: typeof before, id: string) => rows.find((row) => row.id === id).due_at;
    const after = await readRows(ids);
    expect(ids.map((id) => dueAtOf(after, id) - dueAtOf(before, id))).toEqual([HOUR_MS, 0, 0]);
    // Nearer is always well.
    expect(await change({ shiftMs: -1_000 })).toEqual({ done: 3, failed: 0, failures: [] });
    const byDelay = await change({ delay: { type: 'duration', value: 3, unit: 'hours' } });
    expect(byDelay).toMatchObject({ done: 0, failed: 3 });
    expect(new Set(byDelay.failures.map(([, code]) => code))).toEqual(new Set(['wait_too_long']));
  });

  it('redrives no more dead letters than the tenant may have live timers', async () => {
    const before = await countLiveTimers(db.database.hot, tenantId);
    const { ids } = await storeTimers(5, () => ({ dueAt: Date.now() - 1_000 }));
    const started = await startTimers(
      db.database.hot,
      ids.map((id) => ({ id, version: 1 })),
      10_000,
      60_000,
    );
    await finishTimers(
      db.database.hot,
      started.map(({ id, version, started_at: startedAt }) => ({
        id,
        version,
        state: 'dead' as const,
        outcome: 'permanent' as const,
        startedAt,
        latenessMs: 0,
        durationMs: 1,
        httpStatus: null,
        error: null,
        responseBody: null,
      })),
    );
    const plan = { do: 'redrive' as const, liveTimersMax: before + 3 };
    const fields = { action: 'redrive', target: 'deadLetter' as const };
    const { id } = await store(plan, { of: 'ids', ids: [createId(), ...ids] }, fields);
    expect(await carryOut(id)).toMatchObject({ status: 'succeeded', matched: 6, done: 3, failed: 3 });
    expect(await readRows(ids)).toHaveLength(3);
    const failures = await listBulkFailures(db.database.ordinary, id, { after: undefined, limit: 9 });
    expect(failures.map(({ code }) => code).toSorted()).toEqual([
      'not_a_dead_letter',
      'quota_exceeded',
      'quota_exceeded',
    ]);
  });

  it('pauses, resumes and fires', async () => {
    const { ids } = await storeTimers(3);
    const run = async (plan: BulkPlan) => carryOut((await store(plan, { of: 'ids', ids })).id);
    expect(await run({ do: 'pause' })).toMatchObject({ done: 3 });
    expect((await readRows(ids)).map(({ state }) => state)).toEqual(['paused', 'paused', 'paused']);
    expect(await run({ do: 'pause' })).toMatchObject({ done: 3, failed: 0 });
    expect(await run({ do: 'resume', dueTimes: 'keep', paceMs: 0 })).toMatchObject({ done: 3 });
    expect(await run({ do: 'fire' })).toMatchObject({ done: 3 });
    expect(
      (await readRows(ids)).every(({ state, wake_at: at }) => state === 'scheduled' && at <= Date.now() + 1_000),
    ).toBe(true);
  });

  it('ends a task’s branch when it cancels it, and redrives dead letters of runs', async () => {
    const workflowId = await storeWorkflow(db.database, [
      { key: 'a', delay: { type: 'duration', value: 1, unit: 'hours' }, action: { type: 'noop' } },
      { key: 'b', after: ['a'], action: { type: 'noop' } },
    ]);
    const runIds = await beginRuns(db.database, versions, workflowId, 3);
    const condition = { tenantId, workflowId };
    const { id } = await store({ do: 'cancel' }, { of: 'timers', condition });
    expect(await carryOut(id)).toMatchObject({ done: 3, failed: 0 });
    const readRuns = async () =>
      (await db.database.ordinary.query('SELECT status FROM runs WHERE id = ANY ($1)', [runIds])).rows;
    expect(await readRuns()).toEqual([{ status: 'cancelled' }, { status: 'cancelled' }, { status: 'cancelled' }]);
  });

  it('does nothing more once it is paused, goes on when it is resumed, and forgets the rest when it is aborted', async () => {
    const { ids, condition } = await storeTimers(4_100);
    const { id } = await store({ do: 'pause' }, { of: 'timers', condition });
    const set = (status: 'paused' | 'running' | 'aborted') =>
      inTransaction(db.database.hot, (client) => setBulkStatus(client, id, status));
    // The operation is looked at, and paused before its portion is booked.
    const bulk = openBulk();
    const holder = await db.database.hot.connect();
    await holder.query('BEGIN');
    await holder.query('SELECT FROM timers WHERE id = $1 FOR UPDATE', [ids.toSorted()[0]]);
    const turn = bulk.run(id);
    await waitUntil('a portion waits', async () => {
      const { rows } = await db.database.ordinary.query(
        `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
      );
      return rows.length > 0;
    });
    await set('paused');
    await holder.query('ROLLBACK');
    holder.release();
    expect(await turn).toBe('done');
    const paused = await read(id);
    expect(paused.done).toBe((await readRows(ids)).filter(({ state }) => state === 'paused').length);
    expect(paused.done).toBeLessThan(4_100);
    expect(await bulk.run(id)).toBe('done');
    expect((await read(id)).done).toBe(paused.done);
    await set('aborted');
    expect(await bulk.run(id)).toBe('done');
    expect(await read(id)).toMatchObject({ status: 'aborted', done: paused.done });
    const { rows } = await db.database.ordinary.query('SELECT FROM bulk_portions WHERE operation_id = $1', [id]);
    expect(rows).toEqual([]);
  });

  it('changes less at once when a portion takes too long, and fails only the target that takes too long by itself', async () => {
    const { ids } = await storeTimers(3);
    const { id } = await store({ do: 'pause' }, { of: 'ids', ids });
    const holder = await db.database.ordinary.connect();
    try {
      await holder.query('BEGIN');
      await holder.query('SET LOCAL idle_in_transaction_session_timeout = 0');
      await holder.query('SELECT FROM timers WHERE id = $1 FOR UPDATE', [ids[1]]);
      // So that statements do not wait for as long as in earnest.
      const limited = connectDatabase({
        connectionString: db.url,
        applicationName: 'limited',
        poolSizeMax: 2,
        queryTimeoutMs: 1_500,
      });
      try {
        const bulk = openBulk(limited);
        for (let turns = 0; turns < 100 && (await bulk.run(id)) !== 'done'; turns += 1);
      } finally {
        await limited.close();
      }
    } finally {
      await holder.query('ROLLBACK');
      holder.release();
    }
    expect(await read(id)).toMatchObject({ status: 'succeeded', matched: 3, done: 2, failed: 1 });
    expect(await listBulkFailures(db.database.ordinary, id, { after: undefined, limit: 9 })).toMatchObject([
      { target_id: ids[1], code: 'took_too_long' },
    ]);
    const rows = await readRows(ids);
    expect(rows.filter(({ state }) => state !== 'paused').map((row) => row.id)).toEqual([ids[1]]);
  });

  it('keeps to its rate', async () => {
    const { ids } = await storeTimers(50);
    const { id } = await store({ do: 'pause' }, { of: 'ids', ids }, { ratePerSecond: 40 });
    const bulk = openBulk();
    const beganAt = performance.now();
    for (let turn = await bulk.run(id); turn !== 'done'; turn = await bulk.run(id)) {
      expect(turn.againInMs).toBeGreaterThan(0);
      const againAt = performance.now() + turn.againInMs;
      await waitUntil('its lane comes back', () => performance.now() >= againAt);
    }
    // Five portions of ten: four waits of a quarter of a second.
    expect(performance.now() - beganAt).toBeGreaterThan(950);
    expect(await read(id)).toMatchObject({ status: 'succeeded', done: 50 });
  });

  it('is carried out by workers, several at a time, each target once', async () => {
    const { ids, condition } = await storeTimers(9_000);
    const rig = await openWorkerRig(db);
    try {
      await rig.startAnother();
      const { id } = await store({ do: 'pause' }, { of: 'timers', condition });
      await waitUntil('it has ended', async () => (await read(id)).status === 'succeeded', 60_000);
      expect(await read(id)).toMatchObject({ matched: 9_000, done: 9_000, failed: 0 });
      expect((await readRows(ids)).every(({ state, version }) => state === 'paused' && version === 2)).toBe(true);
      await waitUntil('the system’s timers have ended', async () => {
        const { rows } = await db.database.ordinary.query('SELECT FROM timers WHERE tenant_id = $1', [
          SYSTEM_TENANT_ID,
        ]);
        return rows.length === 0;
      });
    } finally {
      await rig.close();
    }
  });

  it('is looked at without a lock', async () => {
    const { id } = await store({ do: 'pause' }, { of: 'ids', ids: [createId()] });
    expect(await lookAtBulkOperation(db.database.hot, id)).toMatchObject({ id, wait_ms: 0 });
  });
});
