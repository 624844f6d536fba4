import { createTimers, endRunTimers, finishTimers, readLedger, startTimers } from '@punctual/database';
import { createId } from '@punctual/domain';
import { makeTimer, waitUntilDue } from '@punctual/testkit';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findTables } from './find-tables.ts';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { createStranger } from './stranger.ts';
import { NOOP, UNKNOWN_ID } from './timer-steps.ts';

const CANARY = 'canary-of-a-person-77';

let api: TestApi;
beforeEach(async () => {
  api = await openTestApi();
});
afterEach(async () => {
  await api.close();
});

const query = (text: string, values: unknown[] = []) => api.testDatabase.database.ordinary.query(text, values);

async function endTasks(runId: string, state: 'succeeded' | 'dead'): Promise<void> {
  const { hot } = api.testDatabase.database;
  const timers = await api.testDatabase.database.kysely
    .selectFrom('timers')
    .selectAll()
    .where('run_id', '=', runId)
    .execute();
  await waitUntilDue(
    api.testDatabase.database,
    timers.map(({ id }) => id),
  );
  const started = await startTimers(hot, timers, 10_000, 5_000);
  await endRunTimers(hot, api.context.workflowVersions, [runId], async (client) => {
    const ended = await finishTimers(
      client,
      started.map(({ id, version }) => ({
        id,
        version,
        state,
        outcome: state === 'dead' ? 'permanent' : 'succeeded',
        startedAt: Date.now(),
        latenessMs: 0,
        durationMs: 1,
        httpStatus: 200,
        error: CANARY,
        responseBody: CANARY,
      })),
    );
    return ended.map((timer) => ({ ...timer, output: JSON.stringify(CANARY) }));
  });
}

const begin = async (fields: object = {}, headers: Record<string, string> = {}) => {
  const tasks = [
    { key: 'a', action: NOOP },
    { key: 'b', after: ['a'], action: { type: 'noop', output: '{{ inputs.a }}' } },
  ];
  const { body: workflow } = await api.request('POST', '/v1/workflows', { name: 'w', tasks });
  return api.request('POST', '/v1/runs', { workflowId: workflow.id, ...fields }, headers);
};

test('erases a run with all that it left, and the audit log keeps its id', async () => {
  const keyed = { 'idempotency-key': createId() };
  const fields = { input: { name: CANARY }, labels: { of: CANARY }, externalId: CANARY };
  const { body: workflow } = await api.request('POST', '/v1/workflows', {
    name: 'w',
    tasks: [
      { key: 'a', action: NOOP },
      { key: 'b', after: ['a'], action: { type: 'noop', output: '{{ inputs.a }}' } },
      { key: 'c', after: ['b'], delay: { type: 'signal', name: 'paid' }, action: NOOP },
    ],
  });
  const order = { workflowId: workflow.id, ...fields };
  const { body: run } = await api.request('POST', '/v1/runs', order, keyed);
  const { body: bystander } = await api.request('POST', '/v1/runs', { workflowId: workflow.id });
  expect((await api.request('POST', `/v1/runs/${run.id}/signals/paid`, { payload: CANARY })).status).toBe(200);
  await endTasks(run.id, 'succeeded');
  await query(
    `INSERT INTO attempts (timer_id, tenant_id, started_at, finished_at, outcome, attempt, error)
     SELECT id, tenant_id, now(), now(), 'retryable', 1, $2 FROM finished_timers WHERE run_id = $1`,
    [run.id, CANARY],
  );
  await endTasks(run.id, 'dead');
  expect((await api.request('GET', `/v1/runs/${run.id}`)).body.status).toBe('failed');
  // The search finds what is there.
  expect(await findTables(api, CANARY)).toEqual([
    'attempts',
    'dead_letters',
    'external_ids',
    'finished_timers',
    'idempotency_keys',
    'run_signals',
    'runs',
    'task_outputs',
  ]);
  expect((await api.request('DELETE', `/v1/runs/${run.id}`)).status).toBe(204);
  expect(await findTables(api, CANARY)).toEqual(['idempotency_keys']);
  expect(await findTables(api, run.id)).toEqual(['audit_log', 'erasures', 'idempotency_keys']);
  expect(await readLedger(api.testDatabase.database)).toMatchObject({ isBalanced: true });
  expect((await api.request('GET', `/v1/runs/${run.id}`)).status).toBe(404);
  expect((await api.request('DELETE', `/v1/runs/${run.id}`)).status).toBe(404);
  expect((await api.request('GET', `/v1/runs/${bystander.id}`)).body).toMatchObject({ status: 'running' });
  // A repeat does not do again what was done, and is told why it does not see what that was.
  expect(await api.request('POST', '/v1/runs', order, keyed)).toMatchObject({
    status: 410,
    body: { code: 'answer_erased' },
  });
  const { body: log } = await api.request('GET', `/v1/audit-log?targetId=${run.id}&action=run.erase`);
  expect(log.data).toMatchObject([{ action: 'run.erase', targetIds: [run.id] }]);
  // The name is free again.
  const again = await api.request('POST', '/v1/runs', order);
  expect(again.status).toBe(201);
});

test('is refused while the run is under way, or an attempt of it; then it is cancelled first', async () => {
  const { body: run } = await begin();
  expect(await api.request('DELETE', `/v1/runs/${run.id}`)).toMatchObject({
    status: 409,
    body: { code: 'run_not_finished' },
  });
  await api.request('POST', `/v1/runs/${run.id}/pause`);
  expect((await api.request('DELETE', `/v1/runs/${run.id}`)).status).toBe(409);
  await api.request('POST', `/v1/runs/${run.id}/resume`, { dueTimes: 'keep' });
  await api.request('POST', `/v1/runs/${run.id}/cancel`);
  // As one whose attempt was begun before the cancel.
  const attempt = makeTimer({ runId: run.id, workflowId: run.workflowId, workflowVersion: 1, taskKey: 'a' });
  await createTimers(api.testDatabase.database.hot, [attempt]);
  expect(await api.request('DELETE', `/v1/runs/${run.id}`)).toMatchObject({
    status: 409,
    body: { code: 'run_not_finished', detail: expect.stringMatching(/attempt/) },
  });
  await query(
    `WITH gone AS (DELETE FROM timers WHERE id = $1 RETURNING tenant_id, partition)
    INSERT INTO ledger_entries (tenant_id, partition, cancelled) SELECT tenant_id, partition, 1 FROM gone`,
    [attempt.id],
  );
  expect((await api.request('DELETE', `/v1/runs/${run.id}`)).status).toBe(204);
});

test("knows nothing of another tenant's runs", async () => {
  const { body: run } = await begin();
  await api.request('POST', `/v1/runs/${run.id}/cancel`);
  const stranger = await createStranger(api);
  expect((await api.request('DELETE', `/v1/runs/${run.id}`, undefined, stranger)).status).toBe(404);
  expect((await api.request('DELETE', `/v1/runs/${UNKNOWN_ID}`)).status).toBe(404);
  expect((await api.request('GET', `/v1/runs/${run.id}`)).body.status).toBe('cancelled');
});

test('every table that names a run is known to it', async () => {
  const { rows } = await query(
    `SELECT c.relname AS name FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'run_id'
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1`,
  );
  expect(rows.map(({ name }: { name: string }) => name)).toEqual([
    'dead_letters',
    'finished_timers',
    'run_signals',
    'task_outputs',
    'timers',
  ]);
});

test('tenants and workflows say how long what has ended is kept', async () => {
  const { body: tenant } = await api.request('POST', '/v1/tenants', { name: 't', retentionDays: 7 });
  expect(tenant.retentionDays).toBe(7);
  expect((await api.request('PATCH', `/v1/tenants/${tenant.id}`, { retentionDays: null })).body.retentionDays).toBe(
    null,
  );
  expect((await api.request('PATCH', `/v1/tenants/${tenant.id}`, { retentionDays: 0 })).status).toBe(400);
  const content = { name: 'w', tasks: [{ key: 'a', action: NOOP }] };
  const { body: workflow } = await api.request('POST', '/v1/workflows', { ...content, retentionDays: 3 });
  expect(workflow.retentionDays).toBe(3);
  const url = `/v1/workflows/${workflow.id}`;
  expect((await api.request('POST', `${url}/tasks`, { key: 'b', action: NOOP })).body.retentionDays).toBe(3);
  expect((await api.request('GET', url)).body.retentionDays).toBe(3);
  expect((await api.request('GET', '/v1/workflows')).body.data[0].retentionDays).toBe(3);
  expect((await api.request('PUT', url, content)).body.retentionDays).toBe(null);
  for (const retentionDays of [0, 3_651, 1.5, '3']) {
    const { status, body } = await api.request('POST', '/v1/workflows', { ...content, retentionDays });
    expect([status, body.errors[0].pointer]).toEqual([400, '/retentionDays']);
  }
});
