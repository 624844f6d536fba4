import { createTimers, readLedger } from '@punctual/database';
import { createId } from '@punctual/domain';
import { makeTimer } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { askForSecret, createStranger } from './stranger.ts';
import { HOUR, NOOP } from './timer-steps.ts';

// Nobody carries the operations out here: services/worker-service/test/bulk-operations.int.test.ts does.

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  expect((await readLedger(api.testDatabase.database)).differences).toEqual([]);
  await api.close();
});

const post = (path: string, body?: unknown, headers?: Record<string, string>) =>
  api.request('POST', path, body, headers);
const get = async (path: string) => (await api.request('GET', path)).body;
const start = (body: object) => post('/v1/bulk-operations', body);
const createLabelled = async (count: number) => {
  const label = createId();
  const timers = Array.from({ length: count }, () => ({ action: NOOP, delay: HOUR, labels: { label } }));
  const { body } = await post('/v1/timers/batch', { timers });
  const ids = body.results.map(({ timer }: { timer: { id: string } }) => timer.id) as string[];
  return { ids, filter: { labels: { label } } };
};
const readPlans = async (id: string) =>
  (
    await api.testDatabase.database.ordinary.query('SELECT plan, target FROM bulk_operations WHERE id = $1', [id])
  ).rows.map(({ plan, target }) => ({ ...JSON.parse(plan), target }));
const countLanes = async (id: string) =>
  (await api.testDatabase.database.ordinary.query(`SELECT FROM timers WHERE action ->> 'id' = $1`, [id])).rowCount;

describe('a bulk operation', () => {
  test('is stored with the timers that carry it out, and read and listed as it was asked for', async () => {
    const { filter } = await createLabelled(2);
    const body = { action: 'cancel', filter, ratePerSecond: 100, reason: 'spring cleaning' };
    const { status, body: made, headers } = await start(body);
    expect(status).toBe(202);
    expect(headers.location).toBe(`/v1/bulk-operations/${made.id}`);
    expect(made).toMatchObject({
      ...body,
      status: 'running',
      target: 'timer',
      matched: 0,
      done: 0,
      failed: 0,
      isListed: false,
      dryRun: false,
    });
    expect(await get(`/v1/bulk-operations/${made.id}`)).toEqual(made);
    expect((await get('/v1/bulk-operations?status=running&limit=200')).data).toContainEqual(made);
    expect((await get('/v1/bulk-operations?status=aborted')).data).not.toContainEqual(made);
    // With a rate there is one lane, without two.
    expect(await countLanes(made.id)).toBe(1);
    expect(await countLanes((await start({ action: 'cancel', filter })).body.id)).toBe(2);
    expect(await get(`/v1/bulk-operations/${made.id}/failures`)).toEqual({ data: [], nextCursor: null });
  });

  test('has listed at once what is named', async () => {
    const { ids } = await createLabelled(3);
    const { body } = await start({ action: 'pause', ids: [...ids, ids[0]!.toUpperCase()] });
    expect(body).toMatchObject({ matched: 3, isListed: true });
  });

  test('that is a dry run counts, shows samples and changes nothing', async () => {
    const { ids, filter } = await createLabelled(12);
    const { status, body } = await start({ action: 'cancel', filter, dryRun: true });
    expect(status).toBe(202);
    expect(body).toMatchObject({ status: 'succeeded', dryRun: true, matched: 12, done: 0, isListed: true });
    expect(body.samples).toHaveLength(10);
    expect(body.samples[0]).toEqual({ id: expect.any(String), status: 'scheduled', dueAt: expect.any(String) });
    const named = await start({ action: 'fire', ids: [...ids.slice(0, 2), createId()], dryRun: true });
    expect(named.body).toMatchObject({ matched: 2 });
    expect(await get(`/v1/timers/count?status=scheduled&label.label=${filter.labels.label}`)).toEqual({ count: 12 });
    expect(await countLanes(body.id)).toBe(0);
  });

  test('that is a dry run says when there are more than it counts', async () => {
    const labels = JSON.stringify({ many: createId() });
    for (let done = 0; done < 10_500; done += 1_000)
      await createTimers(
        api.testDatabase.database.hot,
        Array.from({ length: Math.min(1_000, 10_500 - done) }, () =>
          makeTimer({ labels, dueAt: Date.now() + 3_600_000 }),
        ),
      );
    const { body } = await start({ action: 'pause', filter: { labels: JSON.parse(labels) }, dryRun: true });
    expect(body).toMatchObject({ matched: 10_000, capped: true });
  });

  test('is refused with what is wrong with it', async () => {
    const { filter, ids } = await createLabelled(1);
    const refused: [object, string][] = [
      [{ action: 'cancel' }, ''],
      [{ action: 'cancel', filter, ids }, ''],
      [{ action: 'explode', filter }, '/action'],
      [{ action: 'cancel', filter: { status: ['dead'] } }, '/filter/status'],
      [{ action: 'redrive', filter: { status: ['scheduled'] } }, '/filter/status'],
      [{ action: 'cancel', filter: { dueAfter: '2027-02-30T00:00:00Z' } }, '/filter/dueAfter'],
      [{ action: 'cancel', filter: { colour: 'red' } }, '/filter/colour'],
      [{ action: 'cancel', filter, change: { shiftMs: 1 } }, '/change'],
      [{ action: 'reschedule', filter }, '/change'],
      [{ action: 'reschedule', filter, change: { dueTimes: 'shift' } }, '/change'],
      [
        { action: 'reschedule', filter, change: { delay: { type: 'duration', value: 100, unit: 'years' } } },
        '/change/delay/unit',
      ],
      [{ action: 'reschedule', filter, change: { dueAt: '1969-01-01T00:00:00Z' } }, '/change/dueAt'],
      [{ action: 'resume', filter, change: { shiftMs: 1 } }, '/change'],
      [{ action: 'cancel', filter, ratePerSecond: 0 }, '/ratePerSecond'],
      [{ action: 'cancel', filter, ratePerSecond: 0.0009 }, '/ratePerSecond'],
      [{ action: 'cancel', ids: [] }, '/ids'],
    ];
    for (const [body, pointer] of refused) {
      const answer = await start(body);
      expect(answer, JSON.stringify(body)).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
      expect(
        answer.body.errors.map((fault: { pointer: string }) => fault.pointer),
        JSON.stringify(body),
      ).toContain(pointer);
    }
  });

  test('tells those who carry it out how many live timers there may be, and how long they may wait', async () => {
    const tenant = await post('/v1/tenants', { name: 'bounded', liveTimersMax: 7 });
    const key = { name: 'key', scope: 'write', tenantId: tenant.body.id };
    const { body } = await askForSecret('key', () => post('/v1/api-keys', key));
    const stranger = { authorization: `Bearer ${body.key}` };
    const filter = { taskKey: 'a' };
    const begin = async (wanted: object) => {
      const { body: made } = await api.request('POST', '/v1/bulk-operations', { ...wanted, filter }, stranger);
      return (await readPlans(made.id))[0].plan;
    };
    expect(await begin({ action: 'redrive' })).toEqual({ do: 'redrive', liveTimersMax: 7 });
    const { maxWaitMs } = api.context;
    expect(await begin({ action: 'reschedule', change: { shiftMs: 1 } })).toMatchObject({ maxWaitMs });
  });

  test('is paused, resumed and aborted, and not once it has ended', async () => {
    const { filter } = await createLabelled(1);
    const { body } = await start({ action: 'cancel', filter });
    const steer = (verb: string) => post(`/v1/bulk-operations/${body.id}/${verb}`);
    for (let time = 0; time < 2; time += 1)
      expect(await steer('pause')).toMatchObject({ status: 200, body: { status: 'paused' } });
    expect(await countLanes(body.id)).toBe(2);
    for (let time = 0; time < 2; time += 1)
      expect(await steer('resume')).toMatchObject({ status: 200, body: { status: 'running' } });
    // Those that were there may have seen the pause and ended.
    expect(await countLanes(body.id)).toBe(4);
    for (let time = 0; time < 2; time += 1)
      expect(await steer('abort')).toMatchObject({
        status: 200,
        body: { status: 'aborted', finishedAt: expect.any(String) },
      });
    for (const verb of ['pause', 'resume'])
      expect(await steer(verb)).toMatchObject({ status: 409, body: { code: 'bulk_operation_finished' } });
  });

  test('is refused while a tenant has a hundred that have not ended, also to requests that come together', async () => {
    const { ordinary } = api.testDatabase.database;
    const stranger = await createStranger(api);
    const ask = (method: string, path: string, body?: unknown) => api.request(method, path, body, stranger);
    const begin = () => ask('POST', '/v1/bulk-operations', { action: 'cancel', filter: { labels: { a: 'b' } } });
    const first = await begin();
    await ordinary.query(
      `INSERT INTO bulk_operations
       SELECT (jsonb_populate_record(b, jsonb_build_object('id', gen_random_uuid()))).*
       FROM bulk_operations AS b, generate_series(1, 97) WHERE b.id = $1`,
      [first.body.id],
    );
    const together = await Promise.all(Array.from({ length: 5 }, begin));
    expect(together.map(({ status }) => status).toSorted()).toEqual([202, 202, 429, 429, 429]);
    const refused = together.find(({ status }) => status === 429)!;
    expect(refused).toMatchObject({ body: { code: 'too_many_bulk_operations' }, headers: { 'retry-after': '10' } });
    const workflow = { name: 'w', tasks: [{ key: 'a', delay: HOUR, action: NOOP }] };
    const { body } = await ask('POST', '/v1/workflows', workflow);
    expect(await ask('POST', `/v1/workflows/${body.id}/cancel`)).toMatchObject({ status: 429 });
    expect(await ask('PUT', `/v1/workflows/${body.id}`, { ...workflow, runs: 'move' })).toMatchObject({ status: 429 });
    // What it would be about can still be asked, and others are not concerned.
    const dry = { action: 'cancel', filter: { labels: { a: 'b' } }, dryRun: true };
    expect(await ask('POST', '/v1/bulk-operations', dry)).toMatchObject({ status: 202 });
    expect((await start({ action: 'cancel', filter: { labels: { a: 'b' } } })).status).toBe(202);
    await ask('POST', `/v1/bulk-operations/${first.body.id}/abort`);
    expect((await begin()).status).toBe(202);
    expect((await begin()).status).toBe(429);
  });

  test('is made once for one idempotency key', async () => {
    const { filter } = await createLabelled(1);
    const headers = { 'idempotency-key': createId() };
    const body = { action: 'fire', filter };
    const [first, second] = [
      await post('/v1/bulk-operations', body, headers),
      await post('/v1/bulk-operations', body, headers),
    ];
    expect(second.body).toEqual(first.body);
    expect(await countLanes(first.body.id)).toBe(2);
  });

  test('is nobody else’s', async () => {
    const { filter } = await createLabelled(1);
    const { body } = await start({ action: 'cancel', filter });
    const stranger = await createStranger(api);
    const asked = [
      ['GET', ''],
      ['GET', '/failures'],
      ['POST', '/pause'],
      ['POST', '/resume'],
      ['POST', '/abort'],
    ];
    for (const [method, path] of asked) {
      const answer = await api.request(method!, `/v1/bulk-operations/${body.id}${path}`, undefined, stranger);
      expect(answer, path).toMatchObject({ status: 404, body: { code: 'bulk_operation_not_found' } });
    }
    expect((await api.request('GET', '/v1/bulk-operations', undefined, stranger)).body.data).toEqual([]);
  });

  test('leaves a line in the audit log', async () => {
    const { filter } = await createLabelled(1);
    const { body } = await start({ action: 'cancel', filter });
    await post(`/v1/bulk-operations/${body.id}/abort`);
    const { data } = await get(`/v1/audit-log?targetId=${body.id}`);
    expect(data.map(({ action }: { action: string }) => action).toSorted()).toEqual([
      'bulk-operation.abort',
      'bulk-operation.create',
    ]);
  });
});

describe('everything of a workflow', () => {
  const createWorkflow = async () =>
    (await post('/v1/workflows', { name: 'w', tasks: [{ key: 'a', delay: HOUR, action: NOOP }] })).body.id as string;

  test('is cancelled by its own route, and by a filter of nothing but the workflow: the same', async () => {
    const workflowId = await createWorkflow();
    await post('/v1/runs', { workflowId });
    const byRoute = await post(`/v1/workflows/${workflowId}/cancel`);
    const byFilter = await start({ action: 'cancel', filter: { workflowId } });
    for (const { status, body } of [byRoute, byFilter]) {
      expect(status).toBe(202);
      expect(body).toMatchObject({ action: 'cancel', target: 'run', status: 'running', workflowId });
      expect(await readPlans(body.id)).toMatchObject([{ target: 'run', plan: { do: 'cancelRuns', workflowId } }]);
    }
    const { data } = await get('/v1/gates');
    expect(data).toMatchObject([
      { kind: 'workflow', name: workflowId, status: 'open', cancelledBefore: expect.any(String) },
    ]);
  });

  test('is counted in runs by a dry run, which cancels none', async () => {
    const workflowId = await createWorkflow();
    for (let time = 0; time < 2; time += 1) await post('/v1/runs', { workflowId });
    const dry = await start({ action: 'cancel', filter: { workflowId }, dryRun: true });
    expect(dry).toMatchObject({
      status: 202,
      body: { target: 'run', status: 'succeeded', dryRun: true, matched: 2, samples: [], workflowId },
    });
    expect(await countLanes(dry.body.id)).toBe(0);
    const { data } = await get('/v1/gates');
    expect(data.map(({ name }: { name: string }) => name)).not.toContain(workflowId);
  });

  test('is answered when workers heed it, also to a repeat of the request', async () => {
    const { ordinary } = api.testDatabase.database;
    const workflowId = await createWorkflow();
    const headers = { 'idempotency-key': createId() };
    const cancel = () => post('/v1/bulk-operations', { action: 'cancel', filter: { workflowId } }, headers);
    const first = await cancel();
    // One that heeds nothing, and lives.
    const worker = createId();
    await ordinary.query(
      `INSERT INTO service_instances (id, role, host, pid, version, started_at, heartbeat_at, gates_epoch)
       VALUES ($1, 'worker', 'h', 1, '0', now(), now() + interval '1 minute', 0)`,
      [worker],
    );
    try {
      const beganAt = performance.now();
      const second = await cancel();
      expect(second.body).toEqual(first.body);
      expect(performance.now() - beganAt).toBeGreaterThan(2_000);
    } finally {
      await ordinary.query('DELETE FROM service_instances WHERE id = $1', [worker]);
    }
  });

  test('is about timers when the filter says more, or when there is no such workflow', async () => {
    const workflowId = await createWorkflow();
    const some = await start({ action: 'cancel', filter: { workflowId, taskKey: 'a' } });
    expect(some.body).toMatchObject({ target: 'timer' });
    const nobodys = await start({ action: 'cancel', filter: { workflowId: createId() } });
    expect(nobodys.body).toMatchObject({ target: 'timer' });
  });
});

describe('a new version of a workflow', () => {
  const TASKS = [{ key: 'a', delay: HOUR, action: NOOP }];

  test('leaves its runs as they are unless it says that they move', async () => {
    const { body: workflow } = await post('/v1/workflows', { name: 'w', tasks: TASKS });
    const put = (runs?: unknown) =>
      api.request('PUT', `/v1/workflows/${workflow.id}`, {
        name: 'w',
        tasks: TASKS,
        ...(runs !== undefined && { runs }),
      });
    expect((await put()).body.bulkOperationId).toBeUndefined();
    expect((await put('keep')).body.bulkOperationId).toBeUndefined();
    const moved = await put('move');
    expect(moved).toMatchObject({ status: 200, body: { version: 4, bulkOperationId: expect.any(String) } });
    expect(await get(`/v1/bulk-operations/${moved.body.bulkOperationId}`)).toMatchObject({
      action: 'move',
      target: 'run',
      workflowId: workflow.id,
    });
    expect(await readPlans(moved.body.bulkOperationId)).toMatchObject([
      { plan: { do: 'moveRuns', version: 4 }, source: { of: 'liveRuns' } },
    ]);
    const some = await put({ move: { taskKey: 'a' } });
    expect(await readPlans(some.body.bulkOperationId)).toMatchObject([
      { source: { timers: { taskKey: 'a', workflowId: workflow.id } } },
    ]);
    const added = await post(`/v1/workflows/${workflow.id}/tasks`, { key: 'b', action: NOOP, runs: 'move' });
    expect(added).toMatchObject({ status: 201, body: { version: 6, bulkOperationId: expect.any(String) } });
    expect(added.body.tasks.flatMap((task: object) => Object.keys(task))).not.toContain('runs');
    for (const [runs, pointer] of [
      ['drop', '/runs'],
      [{ move: { workflowId: createId() } }, '/runs/move/workflowId'],
      [{ move: { status: ['dead'] } }, '/runs/move/status'],
    ] as const) {
      const refused = await put(runs);
      expect(refused, JSON.stringify(runs)).toMatchObject({ status: 400 });
      expect(refused.body.errors[0].pointer).toContain(pointer);
    }
    expect((await post('/v1/workflows', { name: 'w', tasks: TASKS, runs: 'move' })).status).toBe(400);
  });
});
