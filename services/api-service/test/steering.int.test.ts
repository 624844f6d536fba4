import {
  acquirePartitionLeases,
  beatServiceInstance,
  createTimers,
  forgetPullWorkers,
  notePullWorkers,
  PULL_WORKERS_PER_TENANT_MAX,
} from '@punctual/database';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { makeTimer } from '@punctual/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { beat } from './audited-steering.ts';
import { openTestApi, type TestApi } from './open-test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});
beforeEach(async () => {
  await query('DELETE FROM service_instances');
  await query(`UPDATE partition_leases SET owner_id = NULL, expires_at = '-infinity'`);
  await query('DELETE FROM pull_workers');
});

const query = async (text: string, values: unknown[] = []) =>
  (await api.testDatabase.database.ordinary.query(text, values)).rows;
const hot = () => api.testDatabase.database.hot;
const list = async (path: string) => (await api.request('GET', path)).body.data;

describe.each(['worker', 'scheduler'] as const)('a %s', (role) => {
  test('is drained and resumed, again and again, and hears of it with its next heartbeat', async () => {
    const [id] = [await beat(api, role), await beat(api, role)];
    const instance = { id, role, host: 'host-1', pid: 42, version: '0.1.0', details: {} };
    for (let round = 0; round < 2; round += 1) {
      for (let repeat = 0; repeat < 2; repeat += 1) {
        expect(await api.request('POST', `/v1/${role}s/${id}/drain`)).toMatchObject({
          status: 200,
          body: { id, status: 'draining' },
        });
      }
      expect(await beatServiceInstance(hot(), instance)).toMatchObject({
        drainRequestedAt: expect.any(Number),
        peers: 1,
      });
      const [shown] = await list(`/v1/${role}s`);
      // It has no partitions, so as a scheduler it is done.
      const status = role === 'worker' ? 'draining' : 'drained';
      expect(shown).toMatchObject({ id, status, drainRequestedAt: expect.any(String) });
      // That it has done an earlier drain says nothing of this one.
      const { drainRequestedAt } = await beatServiceInstance(hot(), { ...instance, details: { drainedFor: 1 } });
      expect((await list(`/v1/${role}s`))[0]).toMatchObject({ status });
      await beatServiceInstance(hot(), { ...instance, details: { drainedFor: drainRequestedAt } });
      expect((await list(`/v1/${role}s`))[0]).toMatchObject({ id, status: 'drained' });
      const resumed = await api.request('POST', `/v1/${role}s/${id.toUpperCase()}/resume`);
      expect(resumed).toMatchObject({ status: 200, body: { id, status: 'running' } });
      expect(await beatServiceInstance(hot(), instance)).toMatchObject({ drainRequestedAt: null });
      expect((await list(`/v1/${role}s`))[0]).toMatchObject({ id, status: 'running' });
    }
  });

  test('that was taken for gone while it drained still drains', async () => {
    const [id] = [await beat(api, role), await beat(api, role)];
    const instance = { id, role, host: 'host-1', pid: 42, version: '0.1.0', details: {} };
    await api.request('POST', `/v1/${role}s/${id}/drain`);
    const { drainRequestedAt } = await beatServiceInstance(hot(), instance);
    await query('DELETE FROM service_instances WHERE id = $1', [id]);
    expect(await beatServiceInstance(hot(), instance, drainRequestedAt)).toMatchObject({ drainRequestedAt });
  });

  test('that is the last to take work is drained only by force, also when two are drained at once', async () => {
    const ids = [await beat(api, role), await beat(api, role)];
    const answers = await Promise.all(ids.map((id) => api.request('POST', `/v1/${role}s/${id}/drain`)));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409]);
    const refused = answers.findIndex(({ status }) => status === 409);
    expect(answers[refused]!.body).toMatchObject({ code: `last_${role}`, detail: expect.stringContaining('"force"') });
    const forced = await api.request('POST', `/v1/${role}s/${ids[refused]}/drain`, { force: true });
    expect(forced).toMatchObject({ status: 200 });
  });

  test('that is not alive, or is of another role, is not found', async () => {
    const id = await beat(api, role);
    await query(`UPDATE service_instances SET heartbeat_at = clock_timestamp() - interval '4 s' WHERE id = $1`, [id]);
    const other = await beat(api, role === 'worker' ? 'scheduler' : 'worker');
    for (const unknown of [id, other, createId()]) {
      for (const verb of ['drain', 'resume']) {
        const answer = await api.request('POST', `/v1/${role}s/${unknown}/${verb}`);
        expect(answer).toMatchObject({ status: 404, body: { code: `${role}_not_found` } });
      }
    }
  });

  test.each<[string, unknown]>([
    ['a force that is no boolean', { force: 'yes' }],
    ['an unknown field', { at: 'once' }],
    ['a body that is a list', []],
  ])('is not drained by %s', async (_name, body) => {
    const id = await beat(api, role);
    const answer = await api.request('POST', `/v1/${role}s/${id}/drain`, body);
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    expect((await list(`/v1/${role}s`))[0]).toMatchObject({ status: 'running' });
  });
});

describe('a rebalance', () => {
  test('ends leases above the share, and those of schedulers that are gone or drained, and no others', async () => {
    const [count] = await query('SELECT count(*)::int AS partitions FROM partition_leases');
    const [first, second, drained] = [
      await beat(api, 'scheduler'),
      await beat(api, 'scheduler'),
      await beat(api, 'scheduler'),
    ];
    await api.request('POST', `/v1/schedulers/${drained}/drain`);
    const gone = createId();
    const share = Math.ceil(count.partitions / 2);
    await acquirePartitionLeases(hot(), drained, 1, 60_000);
    await acquirePartitionLeases(hot(), gone, 1, 60_000);
    await acquirePartitionLeases(hot(), second, 1, 60_000);
    await acquirePartitionLeases(hot(), first, count.partitions - 3, 60_000);
    const { body } = await api.request('POST', '/v1/schedulers/rebalance');
    expect(body.partitionCount).toBe(count.partitions);
    expect(body.releasedPartitions).toHaveLength(count.partitions - 1 - share);
    const owners = await query('SELECT owner_id, count(*)::int FROM partition_leases GROUP BY 1 ORDER BY 2');
    expect(owners).toEqual(
      expect.arrayContaining([
        { owner_id: second, count: 1 },
        { owner_id: first, count: share },
      ]),
    );
    expect(owners).toHaveLength(3);
    expect((await api.request('POST', '/v1/schedulers/rebalance')).body).toMatchObject({ releasedPartitions: [] });
  });

  test('ends none while no scheduler works', async () => {
    const gone = createId();
    await acquirePartitionLeases(hot(), gone, 2, 60_000);
    expect((await api.request('POST', '/v1/schedulers/rebalance')).body).toMatchObject({ releasedPartitions: [] });
  });
});

describe('the list of workers', () => {
  const HOUR_MS = 3_600_000;
  const lease = (queue: string, workerId: string, maxTasks = 1) =>
    api.request('POST', `/v1/task-queues/${queue}/leases`, { workerId, maxTasks, leaseSeconds: 30 });

  test('shows pull workers with their queue and what they hold, beside our own', async () => {
    const own = await beat(api, 'worker');
    for (let count = 0; count < 3; count += 1) {
      await api.request('POST', '/v1/timers', { action: { type: 'pull', queue: 'emails' } });
    }
    const { body } = await lease('emails', 'mailer-1', 2);
    await lease('emails', 'mailer-2', 5);
    await lease('reports', 'reporter');
    expect(await list('/v1/workers?kind=pull')).toEqual([]);
    await api.context.pullSightings.runOnce();
    const pulled = await list('/v1/workers?kind=pull');
    const seen = {
      kind: 'pull',
      tenantId: DEFAULT_TENANT_ID,
      startedAt: expect.any(String),
      lastSeenAt: expect.any(String),
    };
    const held = { leaseEndsAt: expect.any(String), tasksHeld: 2 };
    expect(pulled).toHaveLength(3);
    expect(pulled).toEqual(
      expect.arrayContaining([
        { ...seen, ...held, id: expect.any(String), queue: 'emails', workerId: 'mailer-1' },
        { ...seen, ...held, tasksHeld: 1, id: expect.any(String), queue: 'emails', workerId: 'mailer-2' },
        { ...seen, tasksHeld: 0, id: expect.any(String), queue: 'reports', workerId: 'reporter' },
      ]),
    );
    expect((await list('/v1/workers')).map(({ id }: { id: string }) => id)).toEqual([
      own,
      ...pulled.map(({ id }: { id: string }) => id),
    ]);
    expect((await list('/v1/workers?kind=service')).map(({ id }: { id: string }) => id)).toEqual([own]);
    const page = await api.request('GET', '/v1/workers?limit=3');
    const rest = await api.request('GET', `/v1/workers?limit=3&cursor=${page.body.nextCursor}`);
    expect([...page.body.data, ...rest.body.data]).toEqual(await list('/v1/workers'));
    // Whoever keeps a task is there, too.
    await query(`UPDATE pull_workers SET last_seen_at = last_seen_at - interval '1 minute'`);
    const [task] = body.tasks;
    const kept = await api.request('POST', `/v1/tasks/${task.id}/heartbeat`, {
      leaseToken: task.leaseToken,
      leaseSeconds: 60,
    });
    expect(kept).toMatchObject({ status: 200 });
    await api.context.pullSightings.runOnce();
    const age = await query(
      `SELECT worker_id FROM pull_workers WHERE last_seen_at > clock_timestamp() - interval '30 s'`,
    );
    expect(age).toEqual([{ worker_id: 'mailer-1' }]);
  });

  test('forgets pull workers after an hour, and of one tenant all but those that were seen last', async () => {
    const tenantId = createId();
    const sight = (workerId: string) => ({ tenantId, queue: 'q', workerId });
    await notePullWorkers(hot(), [{ ...sight('old'), tenantId: createId() }, sight('first')]);
    await query(`UPDATE pull_workers SET last_seen_at = last_seen_at - interval '61 min' WHERE worker_id = 'old'`);
    expect(await list('/v1/workers')).toHaveLength(1);
    await query(`UPDATE pull_workers SET last_seen_at = last_seen_at - interval '1 min' WHERE worker_id = 'first'`);
    await notePullWorkers(
      hot(),
      Array.from({ length: PULL_WORKERS_PER_TENANT_MAX }, (_, index) => sight(`w-${index}`)),
    );
    await forgetPullWorkers(hot(), [tenantId]);
    const kept = await query('SELECT worker_id FROM pull_workers');
    expect(kept).toHaveLength(PULL_WORKERS_PER_TENANT_MAX);
    expect(kept).not.toContainEqual({ worker_id: 'old' });
    expect(kept).not.toContainEqual({ worker_id: 'first' });
  });

  test('notes no more than a hundred names of one tenant at a time', async () => {
    const tenantId = createId();
    for (let index = 0; index < 150; index += 1) api.context.pullSightings.see(tenantId, 'q', `w-${index}`);
    await api.context.pullSightings.runOnce();
    expect(await query('SELECT FROM pull_workers WHERE tenant_id = $1', [tenantId])).toHaveLength(100);
  });

  test('and that of schedulers and queues tell what comes due next', async () => {
    const scheduler = await beat(api, 'scheduler');
    await query('DELETE FROM timers');
    const [{ partitions }] = await query('SELECT count(*)::int AS partitions FROM partition_leases');
    await acquirePartitionLeases(hot(), scheduler, partitions, 60_000);
    const soon = Date.now() + 30_000;
    const dueAts = [soon, soon + 1_000, soon + HOUR_MS];
    await createTimers(
      hot(),
      dueAts.map((dueAt) => makeTimer({ dueAt })),
    );
    const [shown] = await list('/v1/schedulers');
    expect(shown).toMatchObject({ id: scheduler, nextWakeAt: new Date(soon).toISOString(), dueWithinMinute: 2 });
    const delay = { type: 'duration', value: 1, unit: 'hours' };
    const pull = await api.request('POST', '/v1/timers', { delay, action: { type: 'pull', queue: 'later' } });
    expect(await list('/v1/queues')).toContainEqual(
      expect.objectContaining({ name: 'later', waiting: 0, nextDueAt: pull.body.dueAt }),
    );
  });
});
