import {
  advanceRuns,
  cancelTimers,
  inTransaction,
  lockRuns,
  readWaitingTimersOfRun,
  WorkflowVersions,
} from '@punctual/database';
import { DEFAULT_TENANT_ID, type PartialRetryPolicy } from '@punctual/domain';
import {
  BACKENDS,
  beginRuns,
  startReceiver,
  storeWorkflow,
  useTestDatabase,
  waitUntil,
  waitUntilDue,
} from '@punctual/testkit';
import { describe, expect, it } from 'vitest';
import { openWorkerRig, useReceivingRig, type WorkerRig } from './open-rig.ts';

const db = useTestDatabase(8);
const versions = new WorkflowVersions();
const QUICK: PartialRetryPolicy = { backoff: { initialMs: 300, maxMs: 300, jitter: 0 } };

const readRun = (id: string) =>
  db.database.kysely.selectFrom('runs').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
const readEnded = (runId: string) =>
  db.database.kysely.selectFrom('finished_timers').selectAll().where('run_id', '=', runId).execute();

// As the api does it.
const cancelRun = (runId: string) =>
  inTransaction(db.database.ordinary, async (client) => {
    const [run] = await lockRuns(client, [runId]);
    const cancelled = await cancelTimers(client, DEFAULT_TENANT_ID, await readWaitingTimersOfRun(client, runId));
    await advanceRuns(
      client,
      versions,
      [{ ...run!, status: 'cancelled' }],
      cancelled.map((timer) => ({ ...timer, state: 'cancelled' })),
    );
  });

describe.each(BACKENDS)('a run, with the queue on %s', (backend) => {
  const parts = useReceivingRig(db, backend);

  const action = (path: string) => ({ type: 'http' as const, url: `${parts.receiver.url}/${path}` });

  it('does its tasks in the order of its graph, each once, with its input', async () => {
    const workflowId = await storeWorkflow(db.database, [
      { key: 'join', after: ['left', 'right'], action: action('join') },
      { key: 'left', after: ['root'], action: action('left') },
      {
        key: 'right',
        after: ['root'],
        delay: { type: 'duration', value: 1, unit: 'seconds' },
        action: action('right'),
      },
      { key: 'root', action: action('root') },
    ]);
    const runIds = await beginRuns(db.database, versions, workflowId, 20, '{"customer": 7}');
    await waitUntil('all have succeeded', async () => {
      const runs = await Promise.all(runIds.map(readRun));
      return runs.every((run) => run.status === 'succeeded');
    });
    for (const runId of runIds) {
      const requests = parts.receiver.requests.filter(
        ({ body }) => (JSON.parse(body) as { runId: string }).runId === runId,
      );
      const paths = requests.map(({ path }) => path);
      expect(paths.toSorted()).toEqual(['/join', '/left', '/right', '/root']);
      expect(paths[0]).toBe('/root');
      expect(paths.at(-1)).toBe('/join');
      const [root, right] = ['/root', '/right'].map((path) => requests.find((request) => request.path === path)!);
      expect(right!.receivedAt - root!.receivedAt).toBeGreaterThanOrEqual(999);
      expect(JSON.parse(root!.body)).toMatchObject({
        workflowId,
        taskKey: 'root',
        input: { customer: 7 },
        payload: null,
        attempt: 1,
      });
    }
    const timers = await db.database.kysely.selectFrom('timers').select('id').where('run_id', 'in', runIds).execute();
    expect(timers).toEqual([]);
  });

  it('fails when a task ends dead, and does its other branches to the end', async () => {
    parts.receiver.answer = ({ path }) => ({ status: path === '/bad' ? 400 : 200 });
    const workflowId = await storeWorkflow(db.database, [
      { key: 'bad', action: action('bad') },
      { key: 'never', after: ['bad'], action: action('never') },
      { key: 'good', action: action('good') },
      { key: 'then', after: ['good'], action: action('then') },
    ]);
    const [runId] = await beginRuns(db.database, versions, workflowId, 1);
    await waitUntil('it has failed', async () => (await readRun(runId!)).status === 'failed');
    expect(await readRun(runId!)).toMatchObject({ task_states: 'dpss' });
    expect(parts.receiver.requests.map(({ path }) => path).toSorted()).toEqual(['/bad', '/good', '/then']);
  });

  it('that was cancelled while an attempt was under way sends no retry of it, and the task ends as cancelled', async () => {
    parts.receiver.answer = () => 'hang';
    const workflowId = await storeWorkflow(db.database, [
      { key: 'slow', action: action('slow'), retry: QUICK, timeoutMs: 200 },
      { key: 'after', after: ['slow'], action: action('after') },
    ]);
    const [runId] = await beginRuns(db.database, versions, workflowId, 1);
    await waitUntil('its attempt is under way', () => parts.receiver.requests.length === 1);
    await cancelRun(runId!);
    const ended = await waitUntil('the task has ended', async () => {
      const [row] = await readEnded(runId!);
      return row;
    });
    expect(ended).toMatchObject({ task_key: 'slow', state: 'cancelled', attempt: 1, outcome: 'timedOut' });
    expect(await readRun(runId!)).toMatchObject({ status: 'cancelled', task_states: 'cp' });
    expect(parts.receiver.requests).toHaveLength(1);
    expect(await db.database.kysely.selectFrom('timers').select('id').where('run_id', '=', runId!).execute()).toEqual(
      [],
    );
  });

  it('retries a task by its own policy, and goes on when it succeeds', async () => {
    parts.receiver.answer = ({ headers }) => ({ status: headers['punctual-attempt'] === '1' ? 500 : 200 });
    const workflowId = await storeWorkflow(db.database, [
      { key: 'shaky', action: action('shaky'), retry: QUICK },
      { key: 'after', after: ['shaky'], action: { type: 'noop' } },
    ]);
    const [runId] = await beginRuns(db.database, versions, workflowId, 1);
    await waitUntil('it has succeeded', async () => (await readRun(runId!)).status === 'succeeded');
    expect(parts.receiver.requests).toHaveLength(2);
    expect(parts.receiver.requests[1]!.receivedAt - parts.receiver.requests[0]!.receivedAt).toBeGreaterThanOrEqual(299);
  });
});

describe('a chain of tasks', () => {
  const CHAIN = ['a', 'b', 'c', 'd'].map((key, index, keys) => ({
    key,
    ...(index > 0 ? { after: [keys[index - 1]!] } : {}),
    action: { type: 'noop' as const },
  }));

  const openWithoutScheduler = () => openWorkerRig(db, { isHinting: false });
  const hintWaiting = async (rig: WorkerRig) => {
    const rows = await db.database.kysely
      .selectFrom('timers')
      .select(['id', 'version'])
      .where('state', '=', 'scheduled')
      .execute();
    if (rows.length === 0) return;
    await waitUntilDue(
      db.database,
      rows.map(({ id }) => id),
    );
    await rig.queue.dispatch(rows);
  };

  it('is done by the worker that took the first, without schedulers or queue between', async () => {
    const rig = await openWithoutScheduler();
    try {
      const runIds = await beginRuns(db.database, versions, await storeWorkflow(db.database, CHAIN), 50);
      await hintWaiting(rig);
      await waitUntil('all have succeeded', async () => {
        const runs = await Promise.all(runIds.map(readRun));
        // A task is left to the schedulers when it was unlocked within the millisecond to which its due time is rounded.
        if (runs.some((run) => run.status === 'running')) await hintWaiting(rig);
        return runs.every((run) => run.status === 'succeeded');
      });
      expect(await rig.readMetric('worker_tasks_taken_over_total')).toBeGreaterThan(100);
      await waitUntil('all places are free', async () => (await rig.readMetric('worker_attempts_in_flight')) === 0);
    } finally {
      await rig.close();
    }
  });

  it('is left to others by a worker that stops, as soon as what it has begun has ended', async () => {
    const receiver = await startReceiver();
    receiver.answer = () => 'hang';
    const rig = await openWithoutScheduler();
    const url = `${receiver.url}/held`;
    const tasks = CHAIN.map((task) => (task.key === 'b' ? { ...task, action: { type: 'http' as const, url } } : task));
    const [runId] = await beginRuns(db.database, versions, await storeWorkflow(db.database, tasks), 1);
    await hintWaiting(rig);
    await waitUntil('the second is under way', () => receiver.requests.length === 1);
    const stopping = rig.worker.stop();
    receiver.releaseHanging();
    await stopping;
    const waiting = await db.database.kysely.selectFrom('timers').selectAll().where('run_id', '=', runId!).execute();
    expect(waiting.map(({ task_key, state }) => [task_key, state])).toEqual([['c', 'scheduled']]);
    await rig.close();
    await receiver.close();
  });
});
