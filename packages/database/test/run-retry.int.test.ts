import {
  advanceRuns,
  createRuns,
  createTimers,
  createWorkflow,
  inTransaction,
  lockRuns,
  type ReturningTimer,
  readLedger,
  readRuns,
  returnRunTimers,
  startTimers,
  WorkflowVersions,
} from '@punctual/database';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { createTestDatabase, makeTimer, type TestDatabase } from '@punctual/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';

let testDatabase: TestDatabase;
const versions = new WorkflowVersions();
const workflowId = createId();
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  await createWorkflow(testDatabase.database.hot, {
    id: workflowId,
    tenantId: DEFAULT_TENANT_ID,
    name: 'w',
    timeZone: 'UTC',
    tasks: JSON.stringify([
      { key: 'a', action: { type: 'noop' } },
      { key: 'b', after: ['a'], action: { type: 'noop' } },
    ]),
    labels: null,
    createdAt: Date.now(),
  });
});
afterAll(async () => {
  expect(await readLedger(testDatabase.database)).toMatchObject({ isBalanced: true, stuckRunCount: 0 });
  await testDatabase.drop();
});

const query = async (text: string, values: unknown[]) =>
  (await testDatabase.database.ordinary.query(text, values)).rows;

/** A run whose first task has started. */
async function startRun() {
  const { hot } = testDatabase.database;
  const runId = createId();
  const timer = makeTimer({
    runId,
    workflowId,
    workflowVersion: 1,
    taskKey: 'a',
    action: null,
    dueAt: Date.now() - 1_000,
  });
  await inTransaction(hot, async (client) => {
    await createRuns(client, [
      {
        id: runId,
        tenantId: DEFAULT_TENANT_ID,
        workflowId,
        workflowVersion: 1,
        partition: timer.partition,
        status: 'running',
        taskStates: 'lp',
        input: null,
        externalId: null,
        labels: null,
        createdAt: Date.now() - 1_000,
      },
    ]);
    await createTimers(client, [timer]);
  });
  const [started] = await startTimers(hot, [{ id: timer.id, version: 1 }], 10_000, 5_000);
  return { runId, id: timer.id, version: started!.version };
}

async function cancelRun(runId: string): Promise<void> {
  await inTransaction(testDatabase.database.hot, async (client) => {
    const [run] = await lockRuns(client, [runId]);
    await advanceRuns(client, versions, [{ ...run!, status: 'cancelled' }], []);
  });
}

const record: ReturningTimer['record'] = {
  outcome: 'retryable',
  startedAt: Date.now(),
  latenessMs: 3,
  durationMs: 5,
  httpStatus: 503,
  error: 'the endpoint answered 503',
  responseBody: 'later',
};

const giveBack = (...timers: ReturningTimer[]) => returnRunTimers(testDatabase.database.hot, versions, timers);
const readState = (id: string) =>
  query(
    `SELECT state, attempt FROM timers WHERE id = $1
     UNION ALL SELECT state, attempt FROM finished_timers WHERE id = $1`,
    [id],
  );

test('a retry of a run that goes on waits again, and its attempt is kept', async () => {
  const { runId, id, version } = await startRun();
  expect(await giveBack({ id, version, runId, waitMs: 60_000, record })).toEqual({ waiting: [id], cancelled: [] });
  expect(await readState(id)).toEqual([{ state: 'scheduled', attempt: 1 }]);
  expect(await query('SELECT outcome, attempt FROM attempts WHERE timer_id = $1', [id])).toEqual([
    { outcome: 'retryable', attempt: 1 },
  ]);
  const [run] = await readRuns(testDatabase.database.hot, DEFAULT_TENANT_ID, [runId]);
  expect(run).toMatchObject({ status: 'running', task_states: 'lp' });
});

test('an attempt that was never sent waits again and does not count', async () => {
  const { runId, id, version } = await startRun();
  expect(await giveBack({ id, version, runId, waitMs: 60_000, record: null })).toEqual({
    waiting: [id],
    cancelled: [],
  });
  expect(await readState(id)).toEqual([{ state: 'scheduled', attempt: 0 }]);
});

test('a retry of a run that was cancelled ends as cancelled instead, with what its attempt came to', async () => {
  const { runId, id, version } = await startRun();
  await cancelRun(runId);
  expect(await giveBack({ id, version, runId, waitMs: 0, record })).toEqual({ waiting: [], cancelled: [id] });
  const [row] = await query('SELECT * FROM finished_timers WHERE id = $1', [id]);
  expect(row).toMatchObject({
    state: 'cancelled',
    attempt: 1,
    outcome: 'retryable',
    http_status: 503,
    error: 'the endpoint answered 503',
    response_body: 'later',
    run_id: runId,
    task_key: 'a',
  });
  const [run] = await readRuns(testDatabase.database.hot, DEFAULT_TENANT_ID, [runId]);
  expect(run).toMatchObject({ status: 'cancelled', task_states: 'cp' });
});

test('an attempt that was never sent of a run that was cancelled ends as cancelled, with no attempt', async () => {
  const { runId, id, version } = await startRun();
  await cancelRun(runId);
  expect(await giveBack({ id, version, runId, waitMs: 0, record: null })).toEqual({ waiting: [], cancelled: [id] });
  expect(await readState(id)).toEqual([{ state: 'cancelled', attempt: 0 }]);
});

test('a lapsed lease can neither send its timer back nor end it', async () => {
  const [going, cancelled] = [await startRun(), await startRun()];
  await cancelRun(cancelled.runId);
  const stale = [going, cancelled].map((timer) => ({ ...timer, version: timer.version - 1, waitMs: 0, record }));
  expect(await giveBack(...stale)).toEqual({ waiting: [], cancelled: [] });
  for (const { id } of [going, cancelled]) expect(await readState(id)).toEqual([{ state: 'running', attempt: 1 }]);
});

test('timers of several runs in one call each go their own way', async () => {
  const runs = [await startRun(), await startRun(), await startRun(), await startRun()];
  await cancelRun(runs[1]!.runId);
  await cancelRun(runs[2]!.runId);
  const result = await giveBack(
    ...runs.map((timer, index) => ({ ...timer, waitMs: 0, record: index % 2 === 0 ? record : null })),
  );
  expect(result.waiting.toSorted()).toEqual([runs[0]!.id, runs[3]!.id].toSorted());
  expect(result.cancelled.toSorted()).toEqual([runs[1]!.id, runs[2]!.id].toSorted());
});
