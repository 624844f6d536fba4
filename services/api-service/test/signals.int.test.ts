import {
  endRunTimers,
  finishTimers,
  readLedger,
  SIGNAL_BYTES_PER_RUN_MAX,
  SIGNALS_PER_RUN_MAX,
  startTimers,
} from '@punctual/database';
import { waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { createStranger } from './stranger.ts';
import { HOUR, NOOP, startTimer, UNKNOWN_ID } from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  expect((await readLedger(api.testDatabase.database)).differences).toEqual([]);
  api.context.taskQueues.stop();
  await api.close();
});

interface Task {
  key: string;
  status: string;
  timerId: string;
  dueAt: string;
  waitsFor?: string;
}
interface Run {
  id: string;
  status: string;
  workflowId: string;
  tasks: Task[];
}

const NEVER = '9999-12-31T23:59:59.999Z';
const SECOND = { type: 'duration', value: 1, unit: 'seconds' };
const go = (fields: object = {}) => ({ type: 'signal', name: 'go', ...fields });
const post = (path: string, body?: unknown, headers?: Record<string, string>) =>
  api.request('POST', path, body, headers);
const signal = (id: string, payload?: unknown, name = 'go', headers?: Record<string, string>) =>
  post(`/v1/runs/${id}/signals/${name}`, payload === undefined ? undefined : { payload }, headers);
const createWorkflow = (tasks: object[]) => post('/v1/workflows', { name: 'w', tasks });
async function begin(tasks: object[], fields: object = {}): Promise<Run> {
  const workflow = await createWorkflow(tasks);
  expect(workflow.status, JSON.stringify(workflow.body)).toBe(201);
  const { status, body } = await post('/v1/runs', { workflowId: workflow.body.id, ...fields });
  expect(status).toBe(201);
  return body;
}
const readRun = async (id: string): Promise<Run> => (await api.request('GET', `/v1/runs/${id}`)).body;
const find = ({ tasks }: Run, key: string) => tasks.find((task) => task.key === key)!;
const readTimer = async (id: string) => (await api.request('GET', `/v1/timers/${id}`)).body;
const query = async (text: string, values: unknown[]) =>
  (await api.testDatabase.database.ordinary.query(text, values)).rows;
const readSignals = (runId: string) =>
  query('SELECT number, name, payload, delivered_at IS NOT NULL AS "isDelivered" FROM run_signals WHERE run_id = $1', [
    runId,
  ]);
const delivered = (timers: number) => ({ status: 200, body: { outcome: 'delivered', timers } });
const kept = { status: 200, body: { outcome: 'kept', timers: 0 } };

/** Starts a task's timer as a worker would, and ends it; what it unlocks begins. */
async function end(run: Run, key: string, state: 'succeeded' | 'dead' = 'succeeded', output?: string) {
  const { timerId } = find(await readRun(run.id), key);
  const { version } = await readTimer(timerId);
  const started = await waitUntil('the timer starts', () => startTimer(api, timerId, version));
  const record = {
    id: timerId,
    version: started.version,
    state,
    outcome: state === 'dead' ? ('timedOut' as const) : ('succeeded' as const),
    startedAt: started.started_at,
    latenessMs: 0,
    durationMs: 1,
    httpStatus: null,
    error: null,
    responseBody: null,
  };
  await endRunTimers(api.testDatabase.database.hot, api.context.workflowVersions, [run.id], async (client) =>
    (await finishTimers(client, [record])).map((ended) => ({ ...ended, output })),
  );
  return started;
}

describe('a task that waits for a signal', () => {
  test('sleeps until its time-out, or for ever, and says for what', async () => {
    const run = await begin([
      { key: 'a', delay: go(), action: NOOP },
      { key: 'b', delay: go({ timeout: HOUR }), action: NOOP },
    ]);
    expect(find(run, 'a')).toMatchObject({ status: 'scheduled', waitsFor: 'go', dueAt: NEVER });
    expect(find(run, 'b')).toMatchObject({ status: 'scheduled', waitsFor: 'go' });
    expect(Date.parse(find(run, 'b').dueAt) - Date.now()).toBeGreaterThan(3_500_000);
    expect(find(await readRun(run.id), 'a')).toMatchObject({ waitsFor: 'go', dueAt: NEVER });
    expect(await readTimer(find(run, 'a').timerId)).toMatchObject({ waitsFor: 'go', dueAt: NEVER });
    const { body } = await api.request('GET', `/v1/timers?runId=${run.id}`);
    expect(body.data.map(({ waitsFor }: Task) => waitsFor)).toEqual(['go', 'go']);
    expect((await api.request('GET', `/v1/timers/histogram?bucket=hour&runId=${run.id}`)).status).toBe(200);
    expect(
      await startTimers(api.testDatabase.database.hot, [{ id: find(run, 'a').timerId, version: 1 }], 1, 1),
    ).toEqual([]);
  });

  test('is due at once when the signal comes, all that wait for the name together, and gets its payload', async () => {
    const run = await begin([
      { key: 'a', delay: go(), action: NOOP },
      { key: 'b', delay: go({ timeout: HOUR }), action: NOOP },
      { key: 'c', delay: { type: 'signal', name: 'other' }, action: NOOP },
    ]);
    const answer = await signal(run.id, { n: 1 });
    expect(answer).toMatchObject({
      status: 200,
      body: { runId: run.id, name: 'go', outcome: 'delivered', timers: 2 },
    });
    const after = await readRun(run.id);
    for (const key of ['a', 'b']) {
      expect(find(after, key).waitsFor).toBeUndefined();
      expect(Date.parse(find(after, key).dueAt)).toBeLessThanOrEqual(Date.now() + 1);
    }
    expect(find(after, 'c').waitsFor).toBe('other');
    expect(await end(run, 'a')).toMatchObject({ signal: '{"n":1}', waits_for: null });
    expect(await readSignals(run.id)).toMatchObject([{ number: 1, isDelivered: true }]);
    expect(await signal(run.id, { n: 2 })).toMatchObject({ status: 409, body: { code: 'signal_too_late' } });
    expect(await readSignals(run.id)).toHaveLength(1);
  });

  test('gets what was kept for it, the oldest first, each one once', async () => {
    const run = await begin([
      { key: 'first', action: NOOP },
      { key: 'a', after: ['first'], delay: go({ timeout: HOUR }), action: NOOP },
      { key: 'b', after: ['a'], delay: go(), action: NOOP },
      { key: 'c', after: ['b'], delay: go(), action: NOOP },
    ]);
    expect(await signal(run.id, 1)).toMatchObject(kept);
    expect(await signal(run.id)).toMatchObject(kept);
    expect((await readTimer(find(run, 'first').timerId)).status).toBe('scheduled');
    await end(run, 'first');
    expect(find(await readRun(run.id), 'a')).toMatchObject({ status: 'scheduled' });
    expect(await end(run, 'a')).toMatchObject({ signal: '1' });
    expect(await end(run, 'b')).toMatchObject({ signal: 'null' });
    expect(find(await readRun(run.id), 'c').waitsFor).toBe('go');
    expect((await readSignals(run.id)).map(({ isDelivered }) => isDelivered)).toEqual([true, true]);
  });

  test('gets a signal that was sent twice under one key once', async () => {
    const run = await begin([
      { key: 'a', delay: go(), action: NOOP },
      { key: 'b', after: ['a'], delay: go(), action: NOOP },
    ]);
    const key = { 'idempotency-key': `signal-${run.id}` };
    const answers = await Promise.all([1, 1, 1].map((n) => signal(run.id, n, 'go', key)));
    const good = answers.filter(({ status }) => status === 200);
    expect(good.length).toBeGreaterThan(0);
    for (const { status, body } of answers) {
      if (status === 200) expect(body).toEqual(good[0]!.body);
      else expect(body.code).toBe('idempotency_in_progress');
    }
    expect((await signal(run.id, 1, 'go', key)).body).toEqual(good[0]!.body);
    expect(await signal(run.id, 2, 'go', key)).toMatchObject({ status: 422 });
    expect(await readSignals(run.id)).toHaveLength(1);
  });

  test('runs once per element: all that wait at this instant get it', async () => {
    const run = await begin([
      { key: 'split', action: { type: 'noop', output: [1, 2, 3] } },
      { key: 'each', forEach: { task: 'split', path: '' }, delay: go(), action: NOOP },
      { key: 'then', in: 'each', after: ['each'], delay: go({ name: 'inner' }), action: NOOP },
    ]);
    // Neither has begun, and both may.
    expect(await signal(run.id, 0, 'inner')).toMatchObject(kept);
    await end(run, 'split', 'succeeded', '[1,2,3]');
    expect(await signal(run.id, 1)).toMatchObject(delivered(3));
    expect(await signal(run.id, 2)).toMatchObject({ status: 409, body: { code: 'signal_too_late' } });
    expect(await signal(run.id, 3, 'inner')).toMatchObject(kept);
  });

  test('of a pull queue is leased when its signal came, with the payload; without it its time-out ends it', async () => {
    const queue = `signals-${Date.now()}`;
    const pull = { type: 'pull', queue };
    const run = await begin([
      { key: 'a', delay: go(), action: pull },
      { key: 'b', delay: { type: 'signal', name: 'never', timeout: SECOND }, action: NOOP },
      { key: 'c', delay: { type: 'signal', name: 'x', timeout: SECOND, onTimeout: 'run' }, action: pull },
      { key: 'late', onFailure: ['b'], action: NOOP },
    ]);
    const lease = async () =>
      (await post(`/v1/task-queues/${queue}/leases`, { workerId: 'w', maxTasks: 9, leaseSeconds: 60 })).body.tasks;
    expect(await lease()).toEqual([]);
    await api.request('PATCH', `/v1/timers/${find(run, 'b').timerId}`, { action: pull });
    await signal(run.id, { n: 7 });
    const leased = await lease();
    await waitUntil('the other is leased', async () => {
      if (leased.length < 2) leased.push(...(await lease()));
      return leased.length === 2;
    });
    expect(leased).toMatchObject([
      { taskKey: 'a', payload: { n: 7 } },
      { taskKey: 'c', payload: null, timedOut: true },
    ]);
    await waitUntil('the first is dead', async () => {
      await lease();
      return find(await readRun(run.id), 'b').status === 'dead';
    });
    expect(find(await readRun(run.id), 'late').status).toBe('scheduled');
    const { body } = await api.request('GET', `/v1/timers/${find(run, 'b').timerId}/attempts`);
    expect(body.data).toMatchObject([{ outcome: 'timedOut', error: 'the signal "never" did not come in time' }]);
  });

  test('of a pull queue is in the queue when its signal has come, and until then waits where a worker ends it', async () => {
    const queue = `waits-${Date.now()}`;
    const readQueues = async (runId: string) =>
      (await query('SELECT task_key, pull_queue FROM timers WHERE run_id = $1 ORDER BY task_key', [runId])).map(
        (row) => `${row.task_key} ${row.pull_queue}`,
      );
    const pull = { type: 'pull', queue };
    const timeout = HOUR;
    const run = await begin([
      { key: 'ends', delay: go({ timeout }), action: pull },
      { key: 'first', action: NOOP },
      { key: 'later', after: ['first'], delay: go({ timeout }), action: pull },
      { key: 'runs', delay: go({ name: 'x', timeout, onTimeout: 'run' }), action: pull },
    ]);
    await end(run, 'first');
    expect(await readQueues(run.id)).toEqual(['ends null', 'later null', `runs ${queue}`]);
    // The same for one that is sent again, and in a run with elements.
    await post(`/v1/timers/${find(run, 'ends').timerId}/fire`);
    await end(run, 'ends', 'dead');
    await post(`/v1/dead-letters/${find(run, 'ends').timerId}/redrive`);
    expect(await readQueues(run.id)).toEqual(['ends null', 'later null', `runs ${queue}`]);
    expect(await signal(run.id, 1)).toMatchObject(delivered(2));
    expect(await readQueues(run.id)).toEqual([`ends ${queue}`, `later ${queue}`, `runs ${queue}`]);
    const mapped = await begin([
      { key: 'split', action: { type: 'noop', output: [1] } },
      { key: 'each', forEach: { task: 'split', path: '' }, delay: go({ timeout }), action: pull },
    ]);
    await end(mapped, 'split', 'succeeded', '[1]');
    expect(await readQueues(mapped.id)).toEqual(['each null']);
    await signal(mapped.id, 1);
    expect(await readQueues(mapped.id)).toEqual([`each ${queue}`]);
  });

  test('is changed, fired and cancelled as any other: what moves is its time-out', async () => {
    const run = await begin([
      { key: 'a', delay: go(), action: NOOP },
      { key: 'b', delay: go(), action: NOOP },
      { key: 'c', delay: go(), action: NOOP },
    ]);
    const [a, b, c] = ['a', 'b', 'c'].map((key) => find(run, key).timerId);
    const changed = await api.request('PATCH', `/v1/timers/${a}`, { delay: HOUR });
    expect(changed).toMatchObject({ status: 200, body: { waitsFor: 'go', version: 2 } });
    expect(changed.body.dueAt).not.toBe(NEVER);
    expect(await post(`/v1/timers/${b}/fire`)).toMatchObject({ status: 200, body: { waitsFor: 'go' } });
    expect(await startTimer(api, b!, 2)).toMatchObject({ waits_for: 'go', signal: null });
    expect(await post(`/v1/timers/${c}/cancel`)).toMatchObject({ status: 200, body: { status: 'cancelled' } });
    // The one has started, by its time-out, and the other is no more.
    expect(await signal(run.id, 1)).toMatchObject(delivered(1));
    expect((await readTimer(a!)).waitsFor).toBeUndefined();
    expect((await readTimer(c!)).waitsFor).toBeUndefined();
  });

  test('of a paused run gets its signal, and begins when the run is resumed', async () => {
    const run = await begin(
      [
        { key: 'a', delay: go(), action: NOOP },
        { key: 'b', delay: go({ name: 'b' }), action: NOOP },
      ],
      { paused: true },
    );
    expect(find(run, 'a')).toMatchObject({ status: 'paused', waitsFor: 'go' });
    expect(await signal(run.id, 1)).toMatchObject(delivered(1));
    expect(find(await readRun(run.id), 'a')).toMatchObject({ status: 'paused' });
    expect(await post(`/v1/runs/${run.id}/resume`, { dueTimes: 'shift' })).toMatchObject({ status: 200 });
    expect(await end(run, 'a')).toMatchObject({ signal: '1' });
    // It waits without a time-out, before and after.
    expect(find(await readRun(run.id), 'b')).toMatchObject({ status: 'scheduled', waitsFor: 'b', dueAt: NEVER });
  });

  test('begins when its pause ends, however long that was, when its signal came in it', async () => {
    const run = await begin([{ key: 'a', delay: go(), action: NOOP }], { paused: true });
    const { timerId } = find(run, 'a');
    await query(
      "UPDATE timers SET paused_at = paused_at - interval '5 hours', created_at = created_at - interval '5 hours' WHERE id = $1",
      [timerId],
    );
    await signal(run.id, 1);
    await post(`/v1/runs/${run.id}/resume`, { dueTimes: 'shift' });
    expect(Date.parse((await readTimer(timerId)).dueAt)).toBeLessThanOrEqual(Date.now() + 1);
    // And one that is changed after its signal came moves as any other.
    const other = await begin([{ key: 'a', delay: go(), action: NOOP }], { paused: true });
    const id = find(other, 'a').timerId;
    await signal(other.id, 1);
    const { body } = await api.request('PATCH', `/v1/timers/${id}`, { delay: HOUR });
    await query(
      "UPDATE timers SET paused_at = paused_at - interval '5 hours', created_at = created_at - interval '5 hours' WHERE id = $1",
      [id],
    );
    await post(`/v1/runs/${other.id}/resume`, { dueTimes: 'shift' });
    expect(Date.parse((await readTimer(id)).dueAt) - Date.parse(body.dueAt)).toBeGreaterThan(4.9 * 3_600_000);
  });

  test('waits anew when it is sent again after its time-out, and gets what was kept meanwhile', async () => {
    const run = await begin([
      { key: 'a', delay: go({ timeout: HOUR }), action: NOOP },
      { key: 'b', after: ['a'], delay: go(), action: NOOP },
    ]);
    const { timerId } = find(run, 'a');
    await post(`/v1/timers/${timerId}/fire`);
    await end(run, 'a', 'dead');
    expect(await readRun(run.id)).toMatchObject({ status: 'failed' });
    expect(await signal(run.id, 1)).toMatchObject({ status: 409, body: { code: 'run_finished' } });
    const again = await post(`/v1/runs/${run.id}/retry`);
    expect(find(again.body, 'a')).toMatchObject({ status: 'scheduled', waitsFor: 'go' });
    expect(Date.parse(find(again.body, 'a').dueAt) - Date.now()).toBeGreaterThan(3_500_000);
    expect(await signal(run.id, 1)).toMatchObject(delivered(1));
    // What fails after its signal came keeps it.
    await end(run, 'a', 'dead');
    await post(`/v1/dead-letters/${timerId}/redrive`);
    expect(await end(run, 'a')).toMatchObject({ signal: '1' });
    expect(find(await readRun(run.id), 'b').waitsFor).toBe('go');
  });
});

test('of a start by the time-out and a signal at the same moment one wins, and the answer says which', async () => {
  const outcomes = new Set<string>();
  for (let round = 0; round < 40; round += 1) {
    const run = await begin([{ key: 'a', delay: go({ timeout: HOUR }), action: NOOP }]);
    const { timerId } = find(run, 'a');
    await post(`/v1/timers/${timerId}/fire`);
    const [answer, started] = await Promise.all([signal(run.id, round), startTimer(api, timerId, 2)]);
    if (answer.status === 200) expect(started).toBeUndefined();
    else {
      expect(answer.body.code).toBe('signal_too_late');
      expect(started).toMatchObject({ waits_for: 'go', signal: null });
    }
    outcomes.add(answer.status === 200 ? 'signal' : 'time-out');
    const row = await readTimer(timerId);
    expect(row).toMatchObject({ status: answer.status === 200 ? 'scheduled' : 'running' });
  }
  console.log([...outcomes]);
});

describe('a signal is refused', () => {
  test('for runs that are not there, have ended or know no such signal, and for bad names and bodies', async () => {
    const run = await begin([{ key: 'a', delay: go(), action: NOOP }]);
    const stranger = await createStranger(api);
    expect(await signal(UNKNOWN_ID, 1)).toMatchObject({ status: 404, body: { code: 'run_not_found' } });
    expect(await signal(run.id, 1, 'go', stranger)).toMatchObject({ status: 404, body: { code: 'run_not_found' } });
    expect(await signal(run.id, 1, 'gone')).toMatchObject({ status: 404, body: { code: 'signal_not_found' } });
    for (const path of [`${run.id}/signals/a%20b`, `${run.id}/signals/${'x'.repeat(65)}`, 'no-id/signals/go'])
      expect(await post(`/v1/runs/${path}`, {})).toMatchObject({ status: 400 });
    for (const body of [{ payload: 1, x: 1 }, [], 'text', { payload: 'x'.repeat(70_000) }])
      expect((await post(`/v1/runs/${run.id}/signals/go`, JSON.stringify(body))).status).toBe(400);
    expect(await readSignals(run.id)).toEqual([]);
    expect(find(await readRun(run.id), 'a').waitsFor).toBe('go');
    await post(`/v1/runs/${run.id}/cancel`);
    expect(await signal(run.id, 1)).toMatchObject({ status: 409, body: { code: 'run_finished' } });
    expect(await readSignals(run.id)).toEqual([]);
  });

  test('beyond what a run may keep, by number and by size', async () => {
    const tasks = [
      { key: 'a', delay: HOUR, action: NOOP },
      { key: 'b', after: ['a'], delay: go(), action: NOOP },
    ];
    const full = { status: 409, body: { code: 'too_many_signals' } };
    const many = await begin(tasks);
    await query(
      `INSERT INTO run_signals (run_id, number, tenant_id, name, payload)
       SELECT id, n, tenant_id, 'go', 'null' FROM runs, generate_series(1, $2) AS n WHERE id = $1`,
      [many.id, SIGNALS_PER_RUN_MAX - 1],
    );
    expect(await signal(many.id, 1)).toMatchObject(kept);
    expect(await signal(many.id, 1)).toMatchObject(full);
    const large = await begin(tasks);
    const payload = 'x'.repeat(60_000);
    const fits = Math.floor(SIGNAL_BYTES_PER_RUN_MAX / JSON.stringify(payload).length);
    for (let count = 0; count < fits; count += 1) expect(await signal(large.id, payload)).toMatchObject(kept);
    expect(await signal(large.id, payload)).toMatchObject(full);
    expect(await readSignals(large.id)).toHaveLength(fits);
  });
});
