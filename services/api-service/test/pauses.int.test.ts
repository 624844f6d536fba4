import { createTimers, endRunTimers, finishTimers, readLedger, returnRunTimers, startTimers } from '@punctual/database';
import { makeTimer } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { createStranger } from './stranger.ts';
import { HOUR, NOOP } from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  expect((await readLedger(api.testDatabase.database)).differences).toEqual([]);
  await api.close();
});

const post = (path: string, body?: unknown) => api.request('POST', path, body);
const create = async (fields: object = { delay: HOUR }) =>
  (await post('/v1/timers', { action: NOOP, ...fields })).body as { id: string; dueAt: string };
const readRow = async (id: string) =>
  (await api.testDatabase.database.ordinary.query('SELECT * FROM timers WHERE id = $1', [id])).rows[0];
const createWorkflow = async (tasks: object[]) => (await post('/v1/workflows', { name: 'w', tasks })).body.id as string;
const begin = async (workflowId: string, fields: object = {}) =>
  (await post('/v1/runs', { workflowId, ...fields })).body;
const readRun = async (id: string) => (await api.request('GET', `/v1/runs/${id}`)).body;
const age = (id: string, ms: number) =>
  api.testDatabase.database.ordinary.query(
    `UPDATE timers SET paused_at = paused_at - $2 * interval '1 ms', created_at = created_at - $2 * interval '1 ms' WHERE id = $1`,
    [id, ms],
  );

describe('a paused timer', () => {
  test('sleeps until it is resumed, and keeps its due time; both are 200 again when repeated', async () => {
    const { id, dueAt } = await create();
    expect(await post(`/v1/timers/${id}/pause`)).toMatchObject({
      status: 200,
      body: { status: 'paused', version: 2, dueAt },
    });
    expect(await post(`/v1/timers/${id}/pause`)).toMatchObject({ status: 200, body: { status: 'paused', version: 2 } });
    expect(await readRow(id)).toMatchObject({ wake_at: Number.POSITIVE_INFINITY, parked_for: null });
    expect(await post(`/v1/timers/${id}/resume`)).toMatchObject({
      status: 200,
      body: { status: 'scheduled', version: 3, dueAt },
    });
    expect(await post(`/v1/timers/${id}/resume`)).toMatchObject({
      status: 200,
      body: { status: 'scheduled', version: 3 },
    });
    expect((await readRow(id)).wake_at).toBe(Date.parse(dueAt));
  });

  test('comes back later by its pause when its due time is to shift', async () => {
    const { id, dueAt } = await create();
    await post(`/v1/timers/${id}/pause`);
    await age(id, 5_000);
    const resumed = await post(`/v1/timers/${id}/resume`, { dueTimes: 'shift' });
    expect(resumed.status).toBe(200);
    const shiftedBy = Date.parse(resumed.body.dueAt) - Date.parse(dueAt);
    expect(shiftedBy).toBeGreaterThanOrEqual(5_000);
    expect(shiftedBy).toBeLessThan(60_000);
  });

  test('is due at once when its due time has passed meanwhile', async () => {
    const { id } = await create({});
    await post(`/v1/timers/${id}/pause`);
    const { body } = await post(`/v1/timers/${id}/resume`, null);
    expect(body.status).toBe('scheduled');
    expect((await readRow(id)).wake_at).toBeGreaterThanOrEqual(Date.parse(body.dueAt));
  });

  test('can be changed and cancelled as it is, and not after it has started or ended', async () => {
    const { id } = await create();
    await post(`/v1/timers/${id}/pause`);
    expect(await api.request('PATCH', `/v1/timers/${id}`, { payload: 1 })).toMatchObject({
      status: 200,
      body: { status: 'paused' },
    });
    expect(await post(`/v1/timers/${id}/cancel`)).toMatchObject({ status: 200 });
    for (const verb of ['pause', 'resume'])
      expect(await post(`/v1/timers/${id}/${verb}`)).toMatchObject({ status: 409, body: { code: 'timer_finished' } });
    const timer = makeTimer({ dueAt: Date.now() - 1_000 });
    await createTimers(api.testDatabase.database.hot, [timer]);
    await startTimers(api.testDatabase.database.hot, [{ id: timer.id, version: 1 }], 10_000, 60_000);
    for (const verb of ['pause', 'resume'])
      expect(await post(`/v1/timers/${timer.id}/${verb}`)).toMatchObject({
        status: 409,
        body: { code: 'timer_already_started' },
      });
  });

  test('is nobody else’s', async () => {
    const { id } = await create();
    const stranger = await createStranger(api);
    for (const verb of ['pause', 'resume'])
      expect((await api.request('POST', `/v1/timers/${id}/${verb}`, undefined, stranger)).status).toBe(404);
  });
});

const TASKS = [
  { key: 'a', action: NOOP },
  { key: 'b', after: ['a'], action: NOOP },
  { key: 'far', delay: HOUR, action: NOOP },
];
const outcomeOf = ({ id, version }: { id: string; version: number }) => ({
  id,
  version,
  state: 'succeeded' as const,
  outcome: 'succeeded' as const,
  startedAt: 0,
  latenessMs: 0,
  durationMs: 1,
  httpStatus: 200,
  error: null,
  responseBody: null,
});
const statuses = (run: { tasks: { key: string; status: string }[] }) =>
  Object.fromEntries(run.tasks.map(({ key, status }) => [key, status]));
const timerOf = (run: { tasks: { key: string; timerId: string }[] }, key: string) =>
  run.tasks.find((task) => task.key === key)!.timerId;

describe('a paused run', () => {
  test('parks what waits and what begins to wait, and goes on when it is resumed', async () => {
    const { database } = api.testDatabase;
    const run = await begin(await createWorkflow(TASKS));
    const [started] = await startTimers(database.hot, [{ id: timerOf(run, 'a'), version: 1 }], 10_000, 60_000);
    const paused = await post(`/v1/runs/${run.id}/pause`);
    expect(paused).toMatchObject({ status: 200, body: { status: 'paused' } });
    expect(statuses(paused.body)).toEqual({ a: 'running', b: 'pending', far: 'paused' });
    expect((await post(`/v1/runs/${run.id}/pause`)).status).toBe(200);
    await endRunTimers(database.hot, api.context.workflowVersions, [run.id], (client) =>
      finishTimers(client, [outcomeOf(started!)]),
    );
    const later = await readRun(run.id);
    expect(later).toMatchObject({ status: 'paused' });
    expect(later.finishedAt).toBeUndefined();
    expect(statuses(later)).toEqual({ a: 'succeeded', b: 'paused', far: 'paused' });
    expect(await readRow(timerOf(later, 'b'))).toMatchObject({ parked_for: 'run', wake_at: Number.POSITIVE_INFINITY });
    expect(await post(`/v1/timers/${timerOf(later, 'b')}/resume`)).toMatchObject({
      status: 409,
      body: { code: 'timer_held' },
    });
    const resumed = await post(`/v1/runs/${run.id}/resume`);
    expect(resumed).toMatchObject({ status: 200, body: { status: 'running' } });
    expect(statuses(resumed.body)).toEqual({ a: 'succeeded', b: 'scheduled', far: 'scheduled' });
    expect(await post(`/v1/runs/${run.id}/resume`)).toMatchObject({ status: 200, body: { status: 'running' } });
  });

  test('parks an attempt that goes back to wait for its retry', async () => {
    const { database } = api.testDatabase;
    const run = await begin(await createWorkflow(TASKS));
    const [started] = await startTimers(database.hot, [{ id: timerOf(run, 'a'), version: 1 }], 10_000, 60_000);
    await post(`/v1/runs/${run.id}/pause`);
    const { id, version } = started!;
    const record = { ...outcomeOf(started!), outcome: 'retryable' as const };
    await returnRunTimers(database.hot, api.context.workflowVersions, [
      { id, version, runId: run.id, waitMs: 10, record },
    ]);
    expect(await readRow(id)).toMatchObject({ state: 'paused', parked_for: 'run', attempt: 1 });
  });

  test('leaves a task paused that was paused by itself', async () => {
    const run = await begin(await createWorkflow(TASKS));
    await post(`/v1/timers/${timerOf(run, 'far')}/pause`);
    await post(`/v1/runs/${run.id}/pause`);
    await post(`/v1/timers/${timerOf(run, 'far')}/pause`);
    expect(await readRow(timerOf(run, 'far'))).toMatchObject({ parked_for: null });
    const { body } = await post(`/v1/runs/${run.id}/resume`);
    expect(statuses(body)).toMatchObject({ a: 'scheduled', far: 'paused' });
  });

  test('is begun so when the request says it, and released later', async () => {
    const workflowId = await createWorkflow(TASKS);
    const run = await begin(workflowId, { paused: true });
    expect(run).toMatchObject({ status: 'paused' });
    expect(await readRun(run.id)).toEqual(run);
    expect(statuses(run)).toEqual({ a: 'paused', b: 'pending', far: 'paused' });
    const resumed = await post(`/v1/runs/${run.id}/resume`, { dueTimes: 'shift', ratePerSecond: 10 });
    expect(statuses(resumed.body)).toEqual({ a: 'scheduled', b: 'pending', far: 'scheduled' });
    const batch = await post('/v1/runs/batch', { workflowId, runs: [{ paused: true }, {}] });
    expect(batch.body.results.map((result: { run: { status: string } }) => result.run.status)).toEqual([
      'paused',
      'running',
    ]);
    const ended = await begin(await createWorkflow([]), { paused: true });
    expect(ended).toMatchObject({ status: 'succeeded' });
  });

  test('releases what is overdue at a pace, in order of due time', async () => {
    const tasks = Array.from({ length: 5 }, (_, index) => ({ key: `t${index}`, action: NOOP }));
    const run = await begin(await createWorkflow(tasks), { paused: true });
    await post(`/v1/runs/${run.id}/resume`, { ratePerSecond: 2 });
    const { rows } = await api.testDatabase.database.ordinary.query(
      'SELECT wake_at FROM timers WHERE run_id = $1 ORDER BY wake_at',
      [run.id],
    );
    const wakes = rows.map(({ wake_at: at }) => at - rows[0].wake_at);
    for (const [place, at] of wakes.entries()) expect(Math.abs(at - place * 500)).toBeLessThan(100);
  });

  test('can be cancelled, and can neither be paused nor resumed once it has ended', async () => {
    const run = await begin(await createWorkflow(TASKS), { paused: true });
    expect(await post(`/v1/runs/${run.id}/cancel`)).toMatchObject({ status: 200, body: { status: 'cancelled' } });
    for (const verb of ['pause', 'resume'])
      expect(await post(`/v1/runs/${run.id}/${verb}`)).toMatchObject({ status: 409, body: { code: 'run_finished' } });
  });
});

describe('a paused workflow', () => {
  test('begins no runs, shows its sleepers as scheduled, and is one row of gates', async () => {
    const workflowId = await createWorkflow(TASKS);
    const run = await begin(workflowId);
    expect(await post(`/v1/workflows/${workflowId}/pause`)).toMatchObject({
      status: 200,
      body: { status: 'paused', version: 1 },
    });
    expect(await post(`/v1/workflows/${workflowId}/pause`)).toMatchObject({ status: 200, body: { status: 'paused' } });
    expect(await post('/v1/runs', { workflowId })).toMatchObject({ status: 409, body: { code: 'workflow_paused' } });
    expect(statuses(await readRun(run.id))).toMatchObject({ far: 'scheduled' });
    const { body } = await api.request('GET', '/v1/gates');
    expect(body.data).toMatchObject([
      { kind: 'workflow', name: workflowId, status: 'paused', pausedAt: expect.any(String) },
    ]);
    const resumed = await post(`/v1/workflows/${workflowId}/resume`);
    expect(resumed).toMatchObject({ status: 200, body: { status: 'active' } });
    expect(resumed.body.bulkOperationId).toBeUndefined();
    expect((await api.request('GET', '/v1/gates')).body.data).toEqual([]);
    expect((await post('/v1/runs', { workflowId })).status).toBe(201);
  });

  test('touches none of its timers, however many there are', async () => {
    const { ordinary } = api.testDatabase.database;
    const workflowId = await createWorkflow(TASKS);
    const run = await begin(workflowId);
    const countTouched = async () =>
      (await ordinary.query('SELECT FROM timers WHERE workflow_id = $1 AND version > 1', [workflowId])).rowCount;
    await post(`/v1/workflows/${workflowId}/pause`);
    expect(await countTouched()).toBe(0);
    await post(`/v1/workflows/${workflowId}/resume`);
    expect(await countTouched()).toBe(0);
    expect(statuses(await readRun(run.id))).toMatchObject({ far: 'scheduled' });
  });

  test('is released by one operation, however often it is resumed; a pause forgets what that had left', async () => {
    const { ordinary } = api.testDatabase.database;
    const workflowId = await createWorkflow(TASKS);
    const run = await begin(workflowId);
    await post(`/v1/workflows/${workflowId}/pause`);
    await ordinary.query(`UPDATE timers SET state = 'paused', wake_at = 'infinity', parked_for = $2 WHERE id = $1`, [
      timerOf(run, 'a'),
      `workflow:${workflowId}`,
    ]);
    const resume = () => post(`/v1/workflows/${workflowId}/resume`);
    const first = await resume();
    const id = first.body.bulkOperationId;
    expect(id).toEqual(expect.any(String));
    expect(await resume()).toMatchObject({ status: 200, body: { status: 'active', bulkOperationId: id } });
    expect((await api.request('GET', `/v1/bulk-operations/${id}`)).body).toMatchObject({ status: 'running' });
    // Paused, it has nobody who would do its portions, or drop them.
    await post(`/v1/bulk-operations/${id}/pause`);
    await ordinary.query(
      'INSERT INTO bulk_portions (operation_id, tenant_id, number, target_ids) SELECT id, tenant_id, 0, ARRAY[$2::uuid] FROM bulk_operations WHERE id = $1',
      [id, timerOf(run, 'a')],
    );
    await post(`/v1/workflows/${workflowId}/pause`);
    expect((await api.request('GET', `/v1/bulk-operations/${id}`)).body).toMatchObject({ status: 'aborted' });
    expect((await ordinary.query('SELECT FROM bulk_portions WHERE operation_id = $1', [id])).rowCount).toBe(0);
    const again = await resume();
    expect(again.body.bulkOperationId).not.toBe(id);
    expect(again.body.bulkOperationId).toEqual(expect.any(String));
  });

  test('moves due times all or none: its operation can not be aborted, and goes on after it failed', async () => {
    const { ordinary } = api.testDatabase.database;
    const workflowId = await createWorkflow(TASKS);
    await begin(workflowId);
    await post(`/v1/workflows/${workflowId}/pause`);
    const resume = (dueTimes = 'shift') => post(`/v1/workflows/${workflowId}/resume`, { dueTimes });
    const first = await resume();
    expect(first).toMatchObject({ status: 200, body: { status: 'paused' } });
    const id = first.body.bulkOperationId;
    for (const [verb, answer] of [
      ['abort', { status: 409, body: { code: 'bulk_operation_not_abortable' } }],
      ['pause', { status: 200, body: { status: 'paused' } }],
      ['abort', { status: 409, body: { code: 'bulk_operation_not_abortable' } }],
      ['resume', { status: 200, body: { status: 'running' } }],
    ] as const)
      expect(await post(`/v1/bulk-operations/${id}/${verb}`)).toMatchObject(answer);
    const fail = async () => {
      await ordinary.query(`UPDATE bulk_operations SET status = 'failed', finished_at = now() WHERE id = $1`, [id]);
      await ordinary.query(
        `INSERT INTO bulk_portions (operation_id, tenant_id, number, target_ids)
         SELECT id, tenant_id, 0, '{}' FROM bulk_operations WHERE id = $1 ON CONFLICT DO NOTHING`,
        [id],
      );
    };
    const countLanes = async () =>
      (await ordinary.query(`SELECT FROM timers WHERE action ->> 'id' = $1`, [id])).rowCount!;
    await fail();
    const lanes = await countLanes();
    expect(await resume()).toMatchObject({ status: 200, body: { status: 'paused', bulkOperationId: id } });
    expect((await api.request('GET', `/v1/bulk-operations/${id}`)).body).toMatchObject({ status: 'running' });
    expect(await countLanes()).toBeGreaterThan(lanes);
    // Whoever wants it no more lets the workflow go on as it is.
    await fail();
    expect(await resume('keep')).toMatchObject({ status: 200, body: { status: 'active' } });
    expect((await ordinary.query('SELECT FROM bulk_portions WHERE operation_id = $1', [id])).rowCount).toBe(0);
  });

  test('can not be paused when it is archived, and is nobody else’s', async () => {
    const workflowId = await createWorkflow(TASKS);
    const stranger = await createStranger(api);
    for (const verb of ['pause', 'resume', 'cancel'])
      expect((await api.request('POST', `/v1/workflows/${workflowId}/${verb}`, undefined, stranger)).status).toBe(404);
    await api.request('DELETE', `/v1/workflows/${workflowId}`);
    expect(await post(`/v1/workflows/${workflowId}/pause`)).toMatchObject({
      status: 409,
      body: { code: 'workflow_archived' },
    });
  });
});

describe('queues and origins', () => {
  test('are paused and resumed by their names, again and again', async () => {
    for (const [path, body, name] of [
      ['/v1/task-queues/emails', undefined, 'emails'],
      ['/v1/origins', { origin: 'HTTPS://Example.com:443/any?thing' }, 'https://example.com'],
    ] as const) {
      for (let time = 0; time < 2; time += 1)
        expect(await post(`${path}/pause`, body)).toMatchObject({ status: 200, body: { name, status: 'paused' } });
      expect((await api.request('GET', '/v1/gates')).body.data).toMatchObject(
        [expect.objectContaining({ name }), ...(name === 'emails' ? [expect.anything()] : [expect.anything()])].slice(
          0,
          1,
        ),
      );
      for (let time = 0; time < 2; time += 1)
        expect(await post(`${path}/resume`, body)).toMatchObject({ status: 200, body: { name, status: 'open' } });
    }
    for (const origin of ['example.com', 'ftp://example.com', 'http://user@example.com', ''])
      expect((await post('/v1/origins/pause', { origin })).status).toBe(400);
  });

  test('are listed in pages', async () => {
    for (const queue of ['q1', 'q2', 'q3']) await post(`/v1/task-queues/${queue}/pause`);
    const first = await api.request('GET', '/v1/gates?limit=2');
    expect(first.body.data).toHaveLength(2);
    const second = await api.request('GET', `/v1/gates?limit=2&cursor=${first.body.nextCursor}`);
    const names = [...first.body.data, ...second.body.data].map(({ name }: { name: string }) => name);
    expect(names).toEqual(expect.arrayContaining(['q1', 'q2', 'q3']));
    expect((await api.request('GET', '/v1/gates?cursor=nonsense')).status).toBe(400);
    for (const queue of ['q1', 'q2', 'q3']) await post(`/v1/task-queues/${queue}/resume`);
  });
});
