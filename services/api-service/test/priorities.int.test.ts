import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  api.context.taskQueues.stop();
  await api.close();
});

const NOOP = { type: 'noop' };
const LATER = { type: 'duration', value: 1, unit: 'hours' };
const read = async (path: string) => (await api.request('GET', path)).body;
async function create(path: string, fields: object) {
  const { status, body } = await api.request('POST', path, fields);
  expect([201, 207], JSON.stringify(body)).toContain(status);
  return body;
}

describe('the priority of a timer', () => {
  it('is kept and shown, in a batch too; none and 0 are the same, and not shown', async () => {
    const timer = await create('/v1/timers', { action: NOOP, delay: LATER, priority: 7 });
    expect(timer.priority).toBe(7);
    expect((await read(`/v1/timers/${timer.id}`)).priority).toBe(7);
    const { results } = await create('/v1/timers/batch', {
      timers: [
        { action: NOOP, delay: LATER, priority: 9 },
        { action: NOOP, delay: LATER, priority: 0 },
        { action: NOOP, delay: LATER },
        { action: NOOP, delay: LATER, priority: 10 },
      ],
    });
    expect(results.map((result: { timer?: { priority?: number } }) => result.timer?.priority)).toEqual([
      9,
      undefined,
      undefined,
      undefined,
    ]);
    expect(results[3]).toMatchObject({ status: 400, error: { errors: [{ pointer: '/timers/3/priority' }] } });
  });

  it('can be changed while it waits, taken away, and stays when something else changes', async () => {
    const { id } = await create('/v1/timers', { action: NOOP, delay: LATER });
    const patch = async (change: object) => (await api.request('PATCH', `/v1/timers/${id}`, change)).body;
    expect(await patch({ priority: 4 })).toMatchObject({ priority: 4, version: 2 });
    expect(await patch({ payload: 1 })).toMatchObject({ priority: 4, version: 3 });
    expect((await patch({ priority: 0 })).priority).toBeUndefined();
    expect((await read(`/v1/timers/${id}`)).priority).toBeUndefined();
  });

  it('stays with it when it has ended', async () => {
    const { id } = await create('/v1/timers', { action: NOOP, delay: LATER, priority: 2 });
    await api.request('POST', `/v1/timers/${id}/cancel`);
    expect(await read(`/v1/timers/${id}`)).toMatchObject({ status: 'cancelled', priority: 2 });
  });

  it.each([-1, 10, 1.5, '3', null])('%j is refused', async (priority) => {
    const { status, body } = await api.request('POST', '/v1/timers', { action: NOOP, priority });
    expect(status).toBe(400);
    expect(body.errors[0].pointer).toBe('/priority');
  });
});

describe('the priority of a task', () => {
  it('is its own, else that of the workflow, in the version that the run has', async () => {
    const tasks = [
      { key: 'own', delay: LATER, action: NOOP, priority: 8 },
      { key: 'none', delay: LATER, action: NOOP, priority: 0 },
      { key: 'of-workflow', delay: LATER, action: NOOP },
    ];
    const workflow = await create('/v1/workflows', { name: 'urgent', priority: 3, tasks });
    expect(workflow).toMatchObject({ priority: 3, tasks });
    const run = await create('/v1/runs', { workflowId: workflow.id });
    const timers = await Promise.all(
      run.tasks.map(({ timerId }: { timerId: string }) => read(`/v1/timers/${timerId}`)),
    );
    expect(timers.map(({ taskKey, priority }) => [taskKey, priority])).toEqual([
      ['own', 8],
      ['none', undefined],
      ['of-workflow', 3],
    ]);

    // A task that is added leaves the workflow's own as it is.
    const added = await create(`/v1/workflows/${workflow.id}/tasks`, { key: 'more', action: NOOP });
    expect(added).toMatchObject({ version: 2, priority: 3 });
    const replaced = await api.request('PUT', `/v1/workflows/${workflow.id}`, { name: 'urgent', tasks });
    expect(replaced.status).toBe(200);
    expect(replaced.body.priority).toBeUndefined();
    const { data } = await read(`/v1/workflows/${workflow.id}/versions`);
    expect(data.map(({ priority }: { priority?: number }) => priority)).toEqual([3, 3, undefined]);
    expect((await read('/v1/workflows')).data.find(({ id }: { id: string }) => id === workflow.id).version).toBe(3);
  });

  it('is that of an element of a mapped task, too', async () => {
    const tasks = [
      { key: 'list', action: { type: 'noop', output: [1, 2] }, delay: LATER },
      { key: 'each', forEach: { task: 'list', path: '' }, action: NOOP },
    ];
    const workflow = await create('/v1/workflows', { name: 'mapped', priority: 6, tasks });
    const run = await create('/v1/runs', { workflowId: workflow.id });
    expect((await read(`/v1/timers/${run.tasks[0].timerId}`)).priority).toBe(6);
  });
});

it('a schedule gives its priority to the timers that it makes', async () => {
  const rule = { type: 'interval', value: 1, unit: 'hours' };
  const schedule = await create('/v1/schedules', { rule, timer: { action: NOOP, priority: 5 } });
  expect(schedule.timer.priority).toBe(5);
  const { timerId } = await create(`/v1/schedules/${schedule.id}/trigger`, {});
  expect((await read(`/v1/timers/${timerId}`)).priority).toBe(5);
  const changed = await api.request('PATCH', `/v1/schedules/${schedule.id}`, { timer: { action: NOOP } });
  expect(changed.body.timer.priority).toBeUndefined();
});

describe('pull workers', () => {
  async function fill(queue: string, priorities: readonly number[]): Promise<Map<string, number>> {
    const now = Date.now();
    const timers = priorities.map((priority, index) => ({
      action: { type: 'pull', queue },
      dueAt: new Date(now - 1_000 + index).toISOString(),
      priority,
      payload: priority,
    }));
    const { results } = await create('/v1/timers/batch', { timers });
    // As if they had come due one after the other.
    await api.testDatabase.database.ordinary.query('UPDATE timers SET wake_at = due_at WHERE pull_queue = $1', [queue]);
    return new Map(results.map(({ timer }: { timer: { id: string } }, index: number) => [timer.id, priorities[index]]));
  }
  async function lease(queue: string, maxTasks: number): Promise<number[]> {
    const wish = { workerId: 'w', maxTasks, leaseSeconds: 30 };
    const { body } = await api.request('POST', `/v1/task-queues/${queue}/leases`, wish);
    return body.tasks.map(({ payload }: { payload: number }) => payload);
  }

  it('get the highest first, and one of four by due time alone', async () => {
    await fill('ranked', [0, 0, 0, 0, 0, 0, 1, 9, 1, 9, 5, 1, 1]);
    expect(await lease('ranked', 4)).toEqual([9, 9, 5, 0]);
    expect(await lease('ranked', 4)).toEqual([1, 1, 1, 0]);
    // Where nobody waits in its turn any more, or nobody with a priority, no place stays empty.
    expect((await lease('ranked', 10)).toSorted()).toEqual([0, 0, 0, 0, 1]);
    expect(await lease('ranked', 4)).toEqual([]);
  });

  it('who take one task at a time find those that wait in their turn as often', async () => {
    await fill('one-by-one', [...Array(10).fill(0), ...Array(20).fill(3)]);
    const taken: number[] = [];
    for (let count = 0; count < 16; count += 1) taken.push(...(await lease('one-by-one', 1)));
    expect(taken.filter((priority) => priority === 0)).toHaveLength(4);
  });

  it('leave nothing behind that came before one with a priority', async () => {
    const ordinary = await fill('floor', Array(6).fill(0));
    await api.testDatabase.database.ordinary.query(
      `UPDATE timers SET wake_at = wake_at - interval '1 minute', due_at = due_at - interval '1 minute' WHERE id = ANY ($1)`,
      [[...ordinary.keys()]],
    );
    await fill('floor', [2, 2, 2, 2, 2, 2]);
    await api.testDatabase.database.ordinary.query(
      `UPDATE timers SET wake_at = wake_at - interval '30 seconds' WHERE pull_queue = 'floor' AND priority = 2`,
    );
    const taken: number[] = [];
    for (let count = 0; count < 12; count += 1) taken.push(...(await lease('floor', 1)));
    expect(taken.toSorted()).toEqual([...Array(6).fill(0), ...Array(6).fill(2)]);
  });
});
