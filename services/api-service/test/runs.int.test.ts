import { endRunTimers, finishTimers, readLedger, startTimers } from '@punctual/database';
import { createId } from '@punctual/domain';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { createStranger } from './stranger.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  expect((await readLedger(api.testDatabase.database)).differences).toEqual([]);
  await api.close();
});

const noop = { type: 'noop' };
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

async function createWorkflow(
  tasks: unknown[],
  headers?: Record<string, string>,
  fields: object = {},
): Promise<string> {
  const answer = await api.request('POST', '/v1/workflows', { name: 'w', tasks, ...fields }, headers);
  expect(answer.status).toBe(201);
  return answer.body.id;
}

async function begin(workflowId: string, fields: object = {}) {
  const answer = await api.request('POST', '/v1/runs', { workflowId, ...fields });
  expect(answer).toMatchObject({ status: 201 });
  return answer.body;
}

const read = async (id: string) => (await api.request('GET', `/v1/runs/${id}`)).body;

interface ShownTask {
  key: string;
  status: string;
  timerId: string;
}

const statuses = (run: { tasks: ShownTask[] }) => Object.fromEntries(run.tasks.map((task) => [task.key, task.status]));

/** Starts the attempt of a task that is due. */
async function start(runId: string, key: string) {
  const { database } = api.testDatabase;
  const task = (await read(runId)).tasks.find((shown: ShownTask) => shown.key === key);
  const { rows } = await database.ordinary.query('SELECT version FROM timers WHERE id = $1', [task.timerId]);
  await database.ordinary.query('UPDATE timers SET wake_at = clock_timestamp() WHERE id = $1', [task.timerId]);
  const [started] = await startTimers(database.hot, [{ id: task.timerId, version: rows[0].version }], 10_000, 5_000);
  expect(started).toMatchObject({ id: task.timerId });
  return started!;
}

async function finish(
  runId: string,
  { id, version }: { id: string; version: number },
  state: 'succeeded' | 'dead',
): Promise<void> {
  const { database } = api.testDatabase;
  const outcome = {
    id,
    version,
    state,
    outcome: state === 'dead' ? ('permanent' as const) : ('succeeded' as const),
    startedAt: Date.now(),
    latenessMs: 1,
    durationMs: 1,
    httpStatus: 200,
    error: null,
    responseBody: null,
  };
  await endRunTimers(database.hot, api.context.workflowVersions, [runId], (client) => finishTimers(client, [outcome]));
}

const perform = async (runId: string, key: string, state: 'succeeded' | 'dead' = 'succeeded') =>
  finish(runId, await start(runId, key), state);

const diamond = [
  { key: 'a', action: noop },
  { key: 'b', after: ['a'], action: noop },
  { key: 'c', after: ['a'], delay: { type: 'duration', value: 1, unit: 'hours' }, action: noop },
  { key: 'd', after: ['b', 'c'], action: noop },
];

test('a run begins with its roots scheduled by their delays and reads back equal', async () => {
  const workflowId = await createWorkflow([
    { key: 'now', action: noop },
    { key: 'soon', delay: { type: 'duration', value: 5, unit: 'minutes' }, action: noop },
    { key: 'then', after: ['now', 'soon'], action: noop },
  ]);
  const input = { order: [1, 'two', null], deep: { a: {} } };
  const answer = await api.request('POST', '/v1/runs', { workflowId, input, labels: { k: 'v' } });
  expect(answer.status).toBe(201);
  const created = answer.body;
  expect(created).toEqual({
    id: expect.any(String),
    workflowId,
    workflowVersion: 1,
    status: 'running',
    input,
    labels: { k: 'v' },
    createdAt: expect.stringMatching(INSTANT),
    tasks: [
      { key: 'now', status: 'scheduled', timerId: expect.any(String), dueAt: created.createdAt, attempts: 0 },
      {
        key: 'soon',
        status: 'scheduled',
        timerId: expect.any(String),
        dueAt: new Date(Date.parse(created.createdAt) + 300_000).toISOString(),
        attempts: 0,
      },
      { key: 'then', status: 'pending', attempts: 0 },
    ],
  });
  expect(await read(created.id)).toEqual(created);
  const timer = await api.request('GET', `/v1/timers/${created.tasks[1].timerId}`);
  expect(timer.body).toMatchObject({
    status: 'scheduled',
    runId: created.id,
    taskKey: 'soon',
    dueAt: created.tasks[1].dueAt,
  });
});

test('a run goes through its tasks: the join begins once both branches have ended, and the last ends the run', async () => {
  const { id } = await begin(await createWorkflow(diamond));
  const a = await start(id, 'a');
  expect(statuses(await read(id))).toEqual({ a: 'running', b: 'pending', c: 'pending', d: 'pending' });
  await finish(id, a, 'succeeded');
  const branched = await read(id);
  expect(statuses(branched)).toEqual({ a: 'succeeded', b: 'scheduled', c: 'scheduled', d: 'pending' });
  expect(branched.tasks[0]).toMatchObject({
    attempts: 1,
    startedAt: expect.stringMatching(INSTANT),
    finishedAt: expect.stringMatching(INSTANT),
  });
  expect(Date.parse(branched.tasks[2].dueAt) - Date.parse(branched.tasks[1].dueAt)).toBe(3_600_000);
  await perform(id, 'b');
  expect(statuses(await read(id))).toEqual({ a: 'succeeded', b: 'succeeded', c: 'scheduled', d: 'pending' });
  await perform(id, 'c');
  expect(statuses(await read(id))).toMatchObject({ c: 'succeeded', d: 'scheduled' });
  expect((await read(id)).finishedAt).toBeUndefined();
  await perform(id, 'd');
  expect(await read(id)).toMatchObject({ status: 'succeeded', finishedAt: expect.stringMatching(INSTANT) });
});

test('a run keeps the version with which it began', async () => {
  const workflowId = await createWorkflow([{ key: 'old', action: noop }]);
  const first = await begin(workflowId);
  await api.request('PUT', `/v1/workflows/${workflowId}`, { name: 'w', tasks: [{ key: 'new', action: noop }] });
  const second = await begin(workflowId);
  expect(statuses(await read(first.id))).toEqual({ old: 'scheduled' });
  expect(second).toMatchObject({ workflowVersion: 2, tasks: [{ key: 'new' }] });
  await perform(first.id, 'old');
  expect(await read(first.id)).toMatchObject({ status: 'succeeded', workflowVersion: 1, tasks: [{ key: 'old' }] });
});

test('a run of a workflow without tasks has succeeded when it begins', async () => {
  const run = await begin(await createWorkflow([]));
  expect(run).toMatchObject({ status: 'succeeded', tasks: [], finishedAt: run.createdAt });
  expect(await read(run.id)).toEqual(run);
});

test('a task whose date is past is skipped when its rule says so, and those behind it begin', async () => {
  const date = { type: 'date', year: 2020, month: 1, day: 1, onPast: 'skip' };
  const workflowId = await createWorkflow([
    { key: 'a', delay: date, action: noop },
    { key: 'b', after: ['a'], action: noop },
  ]);
  const run = await begin(workflowId);
  expect(statuses(run)).toEqual({ a: 'skipped', b: 'scheduled' });
  expect(statuses(await read(run.id))).toEqual({ a: 'skipped', b: 'scheduled' });
  const over = await begin(await createWorkflow([{ key: 'a', delay: date, action: noop }]));
  expect(over).toMatchObject({ status: 'succeeded', tasks: [{ status: 'skipped' }] });
});

test('a dead task fails the run once the other branches have ended; the tasks behind it show as cancelled', async () => {
  const { id } = await begin(await createWorkflow(diamond));
  await perform(id, 'a');
  await perform(id, 'b', 'dead');
  expect(await read(id)).toMatchObject({ status: 'running' });
  await perform(id, 'c');
  const failed = await read(id);
  expect(failed).toMatchObject({ status: 'failed', finishedAt: expect.stringMatching(INSTANT) });
  expect(statuses(failed)).toEqual({ a: 'succeeded', b: 'dead', c: 'succeeded', d: 'cancelled' });
  expect(failed.tasks[3]).toEqual({ key: 'd', status: 'cancelled', attempts: 0 });
});

test('a new run of an archived or paused workflow is refused, and those under way go on', async () => {
  const workflowId = await createWorkflow(diamond);
  const { id } = await begin(workflowId, { externalId: 'before the end' });
  await api.request('DELETE', `/v1/workflows/${workflowId}`);
  const refused = await api.request('POST', '/v1/runs', { workflowId });
  expect(refused).toMatchObject({ status: 409, body: { code: 'workflow_archived' } });
  // What exists is found again all the same.
  const again = await api.request('POST', '/v1/runs', { workflowId, externalId: 'before the end' });
  expect(again).toMatchObject({ status: 200, body: { id } });
  for (const key of ['a', 'b', 'c', 'd']) await perform(id, key);
  expect(await read(id)).toMatchObject({ status: 'succeeded' });
  await api.testDatabase.database.ordinary.query(`UPDATE workflows SET status = 'paused' WHERE id = $1`, [workflowId]);
  const paused = await api.request('POST', '/v1/runs', { workflowId });
  expect(paused).toMatchObject({ status: 409, body: { code: 'workflow_paused' } });
});

describe('an external id', () => {
  test('names one run: a repeat answers 200 with it as it is now', async () => {
    const workflowId = await createWorkflow([{ key: 'a', action: noop }]);
    const created = await begin(workflowId, { externalId: 'order-1', input: 1 });
    expect(created.externalId).toBe('order-1');
    await perform(created.id, 'a');
    const again = await api.request('POST', '/v1/runs', { workflowId, externalId: 'order-1', input: 2 });
    expect(again).toMatchObject({ status: 200, body: { id: created.id, status: 'succeeded', input: 1 } });
    const list = await api.request('GET', `/v1/runs?workflowId=${workflowId}`);
    expect(list.body.data).toHaveLength(1);
  });

  test('of one tenant is not that of another, nor that of a timer', async () => {
    const mine = await begin(await createWorkflow([]), { externalId: 'shared' });
    const headers = await createStranger(api);
    const workflowId = await createWorkflow([], headers);
    const theirs = await api.request('POST', '/v1/runs', { workflowId, externalId: 'shared' }, headers);
    expect(theirs.status).toBe(201);
    expect(theirs.body.id).not.toBe(mine.id);
    expect(await api.request('POST', '/v1/timers', { action: noop, externalId: 'shared' })).toMatchObject({
      status: 201,
    });
  });
});

describe('cancelling a run', () => {
  test('ends what has not started, lets the running attempt finish, and nothing follows it', async () => {
    const { id } = await begin(await createWorkflow(diamond));
    await perform(id, 'a');
    const b = await start(id, 'b');
    const cancelled = await api.request('POST', `/v1/runs/${id}/cancel`);
    expect(cancelled).toMatchObject({
      status: 200,
      body: { status: 'cancelled', finishedAt: expect.stringMatching(INSTANT) },
    });
    expect(statuses(cancelled.body)).toEqual({ a: 'succeeded', b: 'running', c: 'cancelled', d: 'cancelled' });
    await finish(id, b, 'succeeded');
    const after = await read(id);
    expect(after).toMatchObject({ status: 'cancelled', finishedAt: cancelled.body.finishedAt });
    expect(statuses(after)).toEqual({ a: 'succeeded', b: 'succeeded', c: 'cancelled', d: 'cancelled' });
    expect(await api.request('POST', `/v1/runs/${id}/cancel`, {})).toMatchObject({ status: 200, body: after });
    const timer = await api.request('GET', `/v1/timers/${after.tasks[2].timerId}`);
    expect(timer.body).toMatchObject({ status: 'cancelled' });
  });

  test('that has ended answers 409 and changes nothing', async () => {
    const succeeded = await begin(await createWorkflow([]));
    const answer = await api.request('POST', `/v1/runs/${succeeded.id}/cancel`);
    expect(answer).toMatchObject({ status: 409, body: { code: 'run_finished' } });
    const failed = await begin(await createWorkflow([{ key: 'a', action: noop }]));
    await perform(failed.id, 'a', 'dead');
    expect(await api.request('POST', `/v1/runs/${failed.id}/cancel`)).toMatchObject({ status: 409 });
    expect(await read(failed.id)).toMatchObject({ status: 'failed' });
    expect(await read(succeeded.id)).toEqual(succeeded);
  });
});

describe('retrying a run', () => {
  test('sends its dead tasks again, and their success lets the rest begin', async () => {
    const { id } = await begin(await createWorkflow(diamond));
    await perform(id, 'a');
    await perform(id, 'b', 'dead');
    await perform(id, 'c');
    expect(await read(id)).toMatchObject({ status: 'failed' });
    const retried = await api.request('POST', `/v1/runs/${id}/retry`);
    expect(retried).toMatchObject({ status: 200, body: { status: 'running' } });
    expect(retried.body.finishedAt).toBeUndefined();
    expect(statuses(retried.body)).toEqual({ a: 'succeeded', b: 'scheduled', c: 'succeeded', d: 'pending' });
    await perform(id, 'b');
    await perform(id, 'd');
    expect(await read(id)).toMatchObject({ status: 'succeeded' });
    expect(await api.request('POST', `/v1/runs/${id}/retry`)).toMatchObject({
      status: 409,
      body: { code: 'nothing_to_retry' },
    });
  });

  test('that was cancelled is refused', async () => {
    const { id } = await begin(await createWorkflow(diamond));
    await perform(id, 'a', 'dead');
    const other = await begin(await createWorkflow(diamond));
    await api.request('POST', `/v1/runs/${other.id}/cancel`);
    expect(await api.request('POST', `/v1/runs/${other.id}/retry`)).toMatchObject({
      status: 409,
      body: { code: 'run_cancelled' },
    });
    expect(await api.request('POST', `/v1/runs/${id}/retry`, { now: true })).toMatchObject({ status: 400 });
  });
});

test('a run does not exist for strangers, and for nobody else by a wrong id', async () => {
  const workflowId = await createWorkflow(diamond);
  const { id } = await begin(workflowId);
  const headers = await createStranger(api);
  for (const [method, path] of [
    ['GET', ''],
    ['POST', '/cancel'],
    ['POST', '/retry'],
  ] as const) {
    const expected = { status: 404, body: { code: 'run_not_found' } };
    expect(await api.request(method, `/v1/runs/${id}${path}`, undefined, headers)).toMatchObject(expected);
    expect(await api.request(method, `/v1/runs/${createId()}${path}`)).toMatchObject(expected);
    const malformed = await api.request(method, `/v1/runs/nobody${path}`);
    expect(malformed).toMatchObject({ status: 400, body: { errors: [{ pointer: '/path/id' }] } });
  }
  const notTheirs = { status: 404, body: { code: 'workflow_not_found' } };
  expect(await api.request('POST', '/v1/runs', { workflowId }, headers)).toMatchObject(notTheirs);
  expect(await api.request('POST', '/v1/runs/batch', { workflowId, runs: [{}] }, headers)).toMatchObject(notTheirs);
  expect((await api.request('GET', '/v1/runs', undefined, headers)).body).toEqual({ data: [], nextCursor: null });
  expect(await read(id)).toMatchObject({ status: 'running' });
});

test('an id in capitals is the same id', async () => {
  const workflowId = await createWorkflow([]);
  const run = await begin(workflowId.toUpperCase());
  expect(run.workflowId).toBe(workflowId);
  expect((await api.request('GET', `/v1/runs/${run.id.toUpperCase()}`)).body).toEqual(run);
});
