import { SYSTEM_TENANT_ID } from '@punctual/domain';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { NOOP, UNKNOWN_ID } from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

const RULE = { type: 'cron', expression: '0 9 * * *' };
const TIMER = { action: NOOP };
const create = async (fields: object = {}) => {
  const answer = await api.request('POST', '/v1/schedules', { rule: RULE, timer: TIMER, ...fields });
  expect(answer.status, JSON.stringify(answer.body)).toBe(201);
  return answer;
};
const createWorkflow = async () =>
  (await api.request('POST', '/v1/workflows', { name: 'w', tasks: [{ key: 'a', action: NOOP }] })).body.id as string;
const listTimersOf = async (id: string) => {
  const { rows } = await api.testDatabase.database.ordinary.query(
    `SELECT due_at FROM timers WHERE tenant_id = $1 AND action ->> 'id' = $2`,
    [SYSTEM_TENANT_ID, id],
  );
  return rows.map(({ due_at }) => due_at as number);
};

it('a schedule is shown as it was made, with what was left out, and its timer waits for the first occurrence', async () => {
  const { headers, body } = await create({ name: 'n', timeZone: 'Europe/Paris' });
  expect(headers).toMatchObject({ location: `/v1/schedules/${body.id}`, etag: '"1"' });
  expect(body).toMatchObject({
    name: 'n',
    status: 'active',
    version: 1,
    rule: RULE,
    timeZone: 'Europe/Paris',
    jitterMs: 0,
    overlap: 'allow',
    missedRuns: { policy: 'last' },
    timer: TIMER,
    waiting: 0,
  });
  expect(await listTimersOf(body.id)).toEqual([Date.parse(body.nextRunAt)]);
  const read = await api.request('GET', `/v1/schedules/${body.id}`);
  expect(read.body).toEqual(body);
});

it('a pause takes the timer away, a resume gives another, and a delete leaves nothing', async () => {
  const { body } = await create();
  const url = `/v1/schedules/${body.id}`;
  const paused = await api.request('POST', `${url}/pause`);
  expect(paused.body).toMatchObject({ status: 'paused', version: 2 });
  expect(paused.body.nextRunAt).toBeUndefined();
  expect(await listTimersOf(body.id)).toEqual([]);
  expect((await api.request('POST', `${url}/pause`)).body).toEqual(paused.body);
  expect((await api.request('POST', `${url}/resume`)).body).toMatchObject({ status: 'active', version: 3 });
  expect(await listTimersOf(body.id)).toHaveLength(1);
  expect((await api.request('DELETE', url)).status).toBe(204);
  expect(await listTimersOf(body.id)).toEqual([]);
  expect(await api.request('GET', url)).toMatchObject({ status: 404, body: { code: 'schedule_not_found' } });
});

it("a run whose input does not give its workflow's concurrency keys is refused, when it is made and when it is changed", async () => {
  const tasks = [
    { key: 'a', action: { type: 'noop', output: 1 }, concurrency: { key: 'customer-{{ input.customerId }}' } },
    { key: 'b', after: ['a'], action: NOOP, concurrency: { key: '{{ inputs.a }}' } },
  ];
  const { body: workflow } = await api.request('POST', '/v1/workflows', { name: 'keyed', tasks });
  const runOf = (input?: object) => ({ run: { workflowId: workflow.id, input } });
  const errors = [{ pointer: '/run/input', detail: expect.stringContaining('"a"') }];
  const refused = await api.request('POST', '/v1/schedules', { rule: RULE, ...runOf({ id: 7 }) });
  expect(refused).toMatchObject({ status: 400, body: { code: 'invalid_request', errors } });
  expect(refused.body.errors).toHaveLength(1);
  const { body: schedule } = await create({ timer: undefined, ...runOf({ customerId: 7 }) });
  const changed = await api.request('PATCH', `/v1/schedules/${schedule.id}`, runOf());
  expect(changed).toMatchObject({ status: 400, body: { errors } });
  expect((await api.request('GET', `/v1/schedules/${schedule.id}`)).body).toEqual(schedule);
  const renamed = await api.request('PATCH', `/v1/schedules/${schedule.id}`, { name: 'other' });
  expect(renamed.status).toBe(200);
});

it('a change moves the timer, and fails of another version', async () => {
  const { body } = await create();
  const url = `/v1/schedules/${body.id}`;
  const change = { rule: { type: 'interval', value: 2, unit: 'hours' }, startAt: '2099-01-01T00:00:00Z' };
  const stale = await api.request('PATCH', url, change, { 'if-match': '"2"' });
  expect(stale).toMatchObject({ status: 412, body: { code: 'version_mismatch' }, headers: { etag: '"1"' } });
  // Further away than any wait.
  expect((await api.request('PATCH', url, change)).body.errors).toMatchObject([{ pointer: '/startAt' }]);
  const startAt = new Date(Date.now() + 86_400_000).toISOString();
  const changed = await api.request('PATCH', url, { ...change, startAt }, { 'if-match': '"1"' });
  expect(changed.body).toMatchObject({ version: 2, startAt, nextRunAt: startAt });
  expect(await listTimersOf(body.id)).toEqual([Date.parse(startAt)]);
  const without = await api.request('PATCH', url, { startAt: null });
  expect(without.body.startAt).toBeUndefined();
  expect(Date.parse(without.body.nextRunAt) - Date.now()).toBeGreaterThan(7_000_000);
});

it('what waits by the rule before does not begin after an edit of it', async () => {
  const { body } = await create({ overlap: 'queue' });
  await api.testDatabase.database.ordinary.query(`UPDATE schedules SET waiting = '{1,2}' WHERE id = $1`, [body.id]);
  const url = `/v1/schedules/${body.id}`;
  expect((await api.request('PATCH', url, { name: 'n' })).body.waiting).toBe(2);
  const rule = { type: 'cron', expression: '0 10 * * *' };
  expect((await api.request('PATCH', url, { rule })).body.waiting).toBe(0);
});

it('what is under way stays the one before when what the schedule begins is changed', async () => {
  const workflowId = await createWorkflow();
  const { body } = await create({ overlap: 'skip', timer: undefined, run: { workflowId } });
  const url = `/v1/schedules/${body.id}`;
  const { runId } = (await api.request('POST', `${url}/trigger`)).body;
  const changed = await api.request('PATCH', url, { run: { workflowId, input: 2 } });
  expect(changed.body.lastRun).toMatchObject({ runId });
  const other = await api.request('PATCH', url, { timer: TIMER });
  expect(other.body.lastRun).toBeUndefined();
  const { rows } = await api.testDatabase.database.ordinary.query(
    'SELECT last_target_id FROM schedules WHERE id = $1',
    [body.id],
  );
  expect(rows).toEqual([{ last_target_id: runId }]);
});

it('one that ended goes on when what made it end is changed, and makes up for nothing', async () => {
  const { body } = await create({ rule: { type: 'interval', value: 1, unit: 'hours' } });
  // As a turn does that finds the workflow archived.
  await api.testDatabase.database.ordinary.query(
    `WITH gone AS (DELETE FROM timers WHERE action ->> 'id' = $1::text)
     UPDATE schedules SET status = 'ended', timer_id = NULL, next_at = NULL, next_due_at = NULL,
       handled_at = handled_at - interval '1 day', anchor_at = anchor_at - interval '1 day' WHERE id = $1::uuid`,
    [body.id],
  );
  const url = `/v1/schedules/${body.id}`;
  const renamed = await api.request('PATCH', url, { name: 'n' });
  expect(renamed.body).toMatchObject({ name: 'n', status: 'ended' });
  expect(renamed.body.nextRunAt).toBeUndefined();
  const changed = await api.request('PATCH', url, { timer: { ...TIMER, payload: 1 } });
  expect(changed.body.status).toBe('active');
  expect(Date.parse(changed.body.nextRunAt)).toBeGreaterThan(Date.now());
});

it('occurrences to come are shown with their jitter and their local time', async () => {
  const { body } = await create({
    rule: { type: 'date', month: 2, day: 29, at: '09:30' },
    timeZone: 'Asia/Kathmandu',
    jitterMs: 1_000,
  });
  const next = await api.request('GET', `/v1/schedules/${body.id}/next-runs?count=3`);
  expect(next.body.data).toHaveLength(3);
  for (const { occurrenceAt, dueAt, local } of next.body.data) {
    expect(Date.parse(dueAt) - Date.parse(occurrenceAt)).toBeGreaterThanOrEqual(0);
    expect(Date.parse(dueAt) - Date.parse(occurrenceAt)).toBeLessThan(1_000);
    expect(local).toMatch(/-02-2[89]T09:30:00(\.\d+)?\+05:45$/);
  }
  expect(next.body.data[0].dueAt).toBe(body.nextRunAt);
  expect((await api.request('GET', `/v1/schedules/${body.id}/next-runs?count=101`)).status).toBe(400);
});

it('secrets in the action are kept sealed, masked, and through a change that sends the mask back', async () => {
  const action = { type: 'http', url: 'https://example.com/', headers: { authorization: 'Bearer canary-7' } };
  const { body } = await create({ timer: { action } });
  expect(body.timer.action.headers.authorization).toBe('********');
  const stored = async () => {
    const { rows } = await api.testDatabase.database.ordinary.query('SELECT action FROM schedules WHERE id = $1', [
      body.id,
    ]);
    return rows[0].action as string;
  };
  const before = await stored();
  expect(before).not.toContain('canary-7');
  const timer = { action: body.timer.action, payload: 2 };
  expect((await api.request('PATCH', `/v1/schedules/${body.id}`, { timer })).status).toBe(200);
  expect(JSON.parse(await stored()).headers).toEqual(JSON.parse(before).headers);
});

it('a trigger begins a run or a timer at once, also of a paused schedule', async () => {
  const { body: ofTimer } = await create({ timer: { ...TIMER, payload: { a: 1 }, labels: { l: 'x' } } });
  const timer = await api.request('POST', `/v1/schedules/${ofTimer.id}/trigger`);
  expect(timer).toMatchObject({ status: 201, headers: { location: `/v1/timers/${timer.body.timerId}` } });
  const shown = await api.request('GET', `/v1/timers/${timer.body.timerId}`);
  expect(shown.body).toMatchObject({ payload: { a: 1 }, labels: { l: 'x' } });
  const workflowId = await createWorkflow();
  const { body: ofRun } = await create({ timer: undefined, run: { workflowId, input: { b: 2 } } });
  await api.request('POST', `/v1/schedules/${ofRun.id}/pause`);
  const run = await api.request('POST', `/v1/schedules/${ofRun.id}/trigger`);
  expect((await api.request('GET', `/v1/runs/${run.body.runId}`)).body).toMatchObject({ workflowId, input: { b: 2 } });
  const read = await api.request('GET', `/v1/schedules/${ofRun.id}`);
  expect(read.body.lastRun).toMatchObject({ runId: run.body.runId });
  await api.request('POST', `/v1/workflows/${workflowId}/pause`);
  expect(await api.request('POST', `/v1/schedules/${ofRun.id}/trigger`)).toMatchObject({
    status: 409,
    body: { code: 'workflow_paused' },
  });
});

it('lists page by page, by status and by workflow', async () => {
  const workflowId = await createWorkflow();
  const run = { workflowId };
  const ids: string[] = [];
  for (let count = 0; count < 3; count += 1) ids.push((await create({ timer: undefined, run })).body.id);
  await api.request('POST', `/v1/schedules/${ids[1]}/pause`);
  const url = `/v1/schedules?workflowId=${workflowId}`;
  const first = (await api.request('GET', `${url}&limit=2`)).body;
  const second = (await api.request('GET', `${url}&limit=2&cursor=${first.nextCursor}`)).body;
  expect([...first.data, ...second.data].map(({ id }) => id)).toEqual(ids);
  expect(second.nextCursor).toBeNull();
  expect((await api.request('GET', `${url}&status=paused`)).body.data).toMatchObject([{ id: ids[1] }]);
});

describe('is refused', () => {
  const refused = async (fields: object) =>
    (await api.request('POST', '/v1/schedules', { rule: RULE, timer: TIMER, ...fields })).body;
  it.each([
    ['/rule/expression', { rule: { type: 'cron', expression: '* * *' } }],
    ['/rule/expression', { rule: { type: 'cron', expression: '0 0 31 2 *' } }],
    ['/rule/day', { rule: { type: 'date', month: 6, day: 31 } }],
    ['/rule/timeZone', { rule: { ...RULE, timeZone: 'Mars/Base' } }],
    ['/timeZone', { timeZone: 'Mars/Base' }],
    ['/endAt', { endAt: '2020-01-01T00:00:00Z' }],
    ['/endAt', { startAt: '2030-01-02T00:00:00Z', endAt: '2030-01-01T00:00:00Z' }],
    ['/missedRuns/windowMs', { missedRuns: { policy: 'last', windowMs: 60_000 } }],
    ['', { run: { workflowId: UNKNOWN_ID } }],
    ['/timer/action/url', { timer: { action: { type: 'http', url: 'http://10.0.0.1/' } } }],
  ])('%s in %j', async (pointer, fields) => {
    expect(await refused(fields)).toMatchObject({ code: 'invalid_request', errors: [{ pointer }] });
  });

  it('a workflow that is not there, or is archived', async () => {
    expect(await refused({ timer: undefined, run: { workflowId: UNKNOWN_ID } })).toMatchObject({
      code: 'workflow_not_found',
    });
    const workflowId = await createWorkflow();
    await api.request('DELETE', `/v1/workflows/${workflowId}`);
    expect(await refused({ timer: undefined, run: { workflowId } })).toMatchObject({ code: 'workflow_archived' });
  });

  it('more than a tenant may have', async () => {
    const { body } = await create();
    await api.testDatabase.database.ordinary.query(
      `INSERT INTO schedules (id, tenant_id, status, spec, action, anchor_at, handled_at, created_at, updated_at)
       SELECT gen_random_uuid(), tenant_id, 'ended', spec, action, anchor_at, handled_at, created_at, updated_at
       FROM schedules, generate_series(1, 10000) WHERE id = $1`,
      [body.id],
    );
    expect(await refused({})).toMatchObject({ status: 429, code: 'too_many_schedules' });
    await api.testDatabase.database.ordinary.query(`DELETE FROM schedules WHERE status = 'ended'`);
  });
});
