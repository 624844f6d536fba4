import { leaseTimers, readLedger } from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { waitUntilDue } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';

const ANSWER_TIMEOUT_MS = 1_200;

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi({ API_ANSWER_TIMEOUT_MS: String(ANSWER_TIMEOUT_MS) });
});
afterAll(async () => {
  expect((await readLedger(api.testDatabase.database)).differences).toEqual([]);
  api.context.taskQueues.stop();
  await api.close();
});

interface Task {
  id: string;
  leaseToken: string;
  taskKey: string;
  [field: string]: unknown;
}

let queues = 0;
/** A queue that no other test uses. */
const nameQueue = () => {
  queues += 1;
  return `flow-${queues}`;
};
const post = (path: string, body?: unknown, headers?: Record<string, string>) =>
  api.request('POST', path, body, headers);
async function lease(queue: string, headers?: Record<string, string>): Promise<Task[]> {
  const wish = { workerId: 'w', maxTasks: 50, leaseSeconds: 60 };
  const { status, body } = await post(`/v1/task-queues/${queue}/leases`, wish, headers);
  expect(status, JSON.stringify(body)).toBe(200);
  return body.tasks;
}
const leaseKeyed = (queue: string) => lease(queue, { 'idempotency-key': crypto.randomUUID() });
const complete = ({ id, leaseToken }: Task, output?: unknown, headers?: Record<string, string>) =>
  post(`/v1/tasks/${id}/complete`, { leaseToken, output }, headers);
const readRun = async (id: string) => (await api.request('GET', `/v1/runs/${id}`)).body;
const createTimer = async (queue: string) =>
  (await post('/v1/timers', { action: { type: 'pull', queue } })).body.id as string;
const readTimer = async (id: string) => (await api.request('GET', `/v1/timers/${id}`)).body;
/** As if the lease of a task had ended a second ago. */
const lapse = (id: string) =>
  api.testDatabase.database.ordinary.query(
    `UPDATE timers SET lease_ends_at = clock_timestamp() - interval '1 second' WHERE id = $1`,
    [id],
  );
async function begin(tasks: object[], input?: unknown) {
  const workflow = await post('/v1/workflows', { name: 'leased', tasks });
  expect(workflow.status, JSON.stringify(workflow.body)).toBe(201);
  const run = await post('/v1/runs', { workflowId: workflow.body.id, input });
  expect(run.status).toBe(201);
  return { workflowId: workflow.body.id as string, runId: run.body.id as string };
}

describe('a leased task', () => {
  it('gets the outputs of the tasks that it waited for, and leaves its own', async () => {
    const queue = nameQueue();
    const action = { type: 'pull', queue };
    const { runId } = await begin(
      [
        { key: 'a', action },
        { key: 'b', action },
        { key: 'c', after: ['a', 'b'], action },
      ],
      { customer: 7 },
    );
    // Due at the same instant, they come in any order.
    const first = (await lease(queue)).toSorted((x, y) => (x.taskKey < y.taskKey ? -1 : 1));
    expect(first.map(({ taskKey, inputs, input }) => [taskKey, inputs, input])).toEqual([
      ['a', {}, { customer: 7 }],
      ['b', {}, { customer: 7 }],
    ]);
    await complete(first[0]!, { sum: 1 });
    // Within the transaction of a key.
    await complete(first[1]!, [1, 'two'], { 'idempotency-key': crypto.randomUUID() });
    const [join] = await lease(queue);
    expect(join).toMatchObject({ taskKey: 'c', inputs: { a: { sum: 1 }, b: [1, 'two'] } });
    expect(join).not.toHaveProperty('item');
    expect(await complete(join!, 'done')).toMatchObject({ status: 200, body: { status: 'succeeded' } });
    const run = await readRun(runId);
    expect(run.status).toBe('succeeded');
    expect(run.tasks.map(({ output }: { output: unknown }) => output)).toEqual([{ sum: 1 }, [1, 'two'], 'done']);
  });

  it('comes with others in the order in which they are due', async () => {
    const queue = nameQueue();
    const from = Date.now() + 500;
    const timers = Array.from({ length: 100 }, (_, index) => ({
      dueAt: new Date(from - index).toISOString(),
      action: { type: 'pull', queue },
    }));
    const { body } = await post('/v1/timers/batch', { timers });
    const ids: string[] = body.results.map(({ timer }: { timer: { id: string } }) => timer.id);
    await waitUntilDue(api.testDatabase.database, ids);
    const leased = await post(`/v1/task-queues/${queue}/leases`, { workerId: 'w', maxTasks: 100, leaseSeconds: 60 });
    expect(leased.body.tasks.map(({ id }: Task) => id)).toEqual(ids.toReversed());
  });

  it('that runs once per element knows which, and a join gets all outputs in their order', async () => {
    const queue = nameQueue();
    const action = { type: 'pull', queue };
    const { runId } = await begin([
      { key: 'split', action },
      { key: 'each', forEach: { task: 'split', path: '/items' }, action },
      { key: 'join', after: ['each'], action },
    ]);
    const [split] = await leaseKeyed(queue);
    await complete(split!, { items: ['x', { y: 1 }, null] });
    const each = await lease(queue);
    const seen = each.map(({ item, index }) => [index, item]).toSorted(([a], [b]) => Number(a) - Number(b));
    expect(seen).toEqual([
      [0, 'x'],
      [1, { y: 1 }],
      [2, null],
    ]);
    const batch = each.toReversed().map(({ id, leaseToken, index }) => ({ id, leaseToken, output: `of ${index}` }));
    expect((await post('/v1/tasks/batch/complete', { tasks: batch })).status).toBe(207);
    const [join] = await lease(queue);
    expect(join).toMatchObject({ taskKey: 'join', inputs: { each: ['of 0', 'of 1', 'of 2'] } });
    await complete(join!);
    expect((await readRun(runId)).status).toBe('succeeded');
  });

  it('of which nobody needs the output may leave one, of any size, which costs others nothing', async () => {
    const queue = nameQueue();
    const action = { type: 'pull', queue };
    // What one task may leave; seventeen are more than a run may keep.
    const large = 'x'.repeat(65_000);
    const [enough, fitting] = [17, 16];
    const plain = await begin([{ key: 'alone', action }]);
    const [alone] = await lease(queue);
    expect(await complete(alone!, large)).toMatchObject({ status: 200, body: { status: 'succeeded' } });
    expect((await readRun(plain.runId)).status).toBe('succeeded');

    const crowd = Array.from({ length: enough }, (_, n) => ({ key: `t${n}`, action }));
    const { runId } = await begin([
      ...crowd,
      { key: 'read', action },
      { key: 'reader', after: ['read'], when: 'inputs.read.size() == 65000', action },
    ]);
    const tasks = await lease(queue);
    expect(tasks).toHaveLength(enough + 1);
    for (const ended of await Promise.all(tasks.map((task) => complete(task, large)))) {
      expect(ended).toMatchObject({ status: 200, body: { status: 'succeeded' } });
    }
    const [reader] = await lease(queue);
    expect(reader).toMatchObject({ taskKey: 'reader', inputs: { read: large } });
    // Within the transaction of a key.
    await complete(reader!, large, { 'idempotency-key': crypto.randomUUID() });
    expect((await readRun(runId)).status).toBe('succeeded');

    // Where somebody needs them all, there is room for some.
    await begin([...crowd, { key: 'join', after: crowd.map(({ key }) => key), action }]);
    const needed = await lease(queue);
    const answers = await Promise.all(needed.map((task) => complete(task, large)));
    expect(answers.filter(({ body }) => body.status === 'succeeded')).toHaveLength(fitting);
    expect(answers.filter(({ body }) => body.status === 'dead')).toHaveLength(enough - fitting);
  });

  it('whose condition could not be told is not given out when it is sent again, unless that holds', async () => {
    const queue = nameQueue();
    const tasks = [{ key: 'a', when: 'input.missing', action: { type: 'pull', queue } }];
    const { runId } = await begin(tasks, {});
    const { timerId } = (await readRun(runId)).tasks[0];
    expect((await post(`/v1/dead-letters/${timerId}/redrive`)).status).toBe(200);
    expect(await lease(queue)).toEqual([]);
    await expect.poll(async () => (await readRun(runId)).status).toBe('failed');
    const attempts = await api.request('GET', `/v1/timers/${timerId}/attempts`);
    const error = expect.stringMatching(/^when: No such key/);
    expect(attempts.body.data).toMatchObject([{ error }, { error }]);
  });

  it('is waited for longer than other answers take', async () => {
    const beganAt = performance.now();
    const wish = { workerId: 'w', maxTasks: 1, leaseSeconds: 60, waitSeconds: 2 };
    const answer = await post(`/v1/task-queues/${nameQueue()}/leases`, wish);
    expect(answer).toMatchObject({ status: 200, body: { tasks: [] } });
    expect(performance.now() - beganAt).toBeGreaterThan(ANSWER_TIMEOUT_MS);
  });
});

it('leases that lapsed are offered again to those who name keys, too', async () => {
  const queue = nameQueue();
  const id = await createTimer(queue);
  const [first] = await leaseKeyed(queue);
  await lapse(id);
  const [again] = await leaseKeyed(queue);
  expect(again).toMatchObject({ id, attempt: 1 });
  expect(again!.leaseToken).not.toBe(first!.leaseToken);
  const key = { 'idempotency-key': crypto.randomUUID() };
  await createTimer(queue);
  expect(await lease(queue, key)).toEqual(await lease(queue, key));
});

describe('what is paused is not leased', () => {
  it('of a queue, with a key or without, and waits parked', async () => {
    const queue = nameQueue();
    const id = await createTimer(queue);
    expect((await post(`/v1/task-queues/${queue}/pause`)).status).toBe(200);
    expect(await leaseKeyed(queue)).toEqual([]);
    expect(await lease(queue)).toEqual([]);
    await expect.poll(() => readTimer(id)).toMatchObject({ status: 'paused', attempt: 0 });
    expect((await post(`/v1/task-queues/${queue}/resume`, {})).body.bulkOperationId).toEqual(expect.any(String));
    const fresh = await createTimer(queue);
    expect((await lease(queue)).map((task) => task.id)).toEqual([fresh]);
  });

  it('nor given back to the worker that leased it just before its api died', async () => {
    const queue = nameQueue();
    const before = await createTimer(queue);
    expect((await lease(queue)).map(({ id }) => id)).toEqual([before]);
    const behind = await createTimer(queue);
    expect((await post(`/v1/task-queues/${queue}/pause`)).status).toBe(200);
    // As an api that is killed between its lease and its look at the gates leaves it.
    const { database } = api.testDatabase;
    const slots = [{ workerId: 'w', leaseMs: 60_000 }];
    expect((await leaseTimers(database.hot, DEFAULT_TENANT_ID, queue, 0, slots)).leased).toHaveLength(1);
    const wish = { workerId: 'w', maxTasks: 50, leaseSeconds: 60, resume: true };
    const { body } = await post(`/v1/task-queues/${queue}/leases`, wish);
    expect(body.tasks.map(({ id }: Task) => id)).toEqual([before]);
    expect(await readTimer(behind)).toMatchObject({ status: 'paused', attempt: 0 });
  });

  it('of a run, when the lease of a task ends after the pause', async () => {
    const queue = nameQueue();
    const { runId } = await begin([{ key: 'a', action: { type: 'pull', queue } }]);
    const [task] = await lease(queue);
    expect((await post(`/v1/runs/${runId}/pause`)).status).toBe(200);
    await lapse(task!.id);
    expect(await lease(queue)).toEqual([]);
    await expect.poll(async () => (await readTimer(task!.id)).status).toBe('paused');
    expect((await post(`/v1/runs/${runId}/resume`, {})).status).toBe(200);
    expect((await lease(queue)).map(({ id, attempt }) => [id, attempt])).toEqual([[task!.id, 1]]);
  });

  it('but what is given another queue leaves the gate of the first', async () => {
    const [queue, other] = [nameQueue(), nameQueue()];
    const id = await createTimer(queue);
    await post(`/v1/task-queues/${queue}/pause`);
    await lease(queue);
    await expect.poll(() => readTimer(id)).toMatchObject({ status: 'paused' });
    const changed = await api.request('PATCH', `/v1/timers/${id}`, { action: { type: 'pull', queue: other } });
    expect(changed).toMatchObject({ status: 200, body: { status: 'scheduled' } });
    expect((await lease(other)).map((task) => task.id)).toEqual([id]);
  });

  it('of a workflow, while its queue gives out what is of others', async () => {
    const queue = nameQueue();
    const { workflowId, runId } = await begin([{ key: 'a', action: { type: 'pull', queue } }]);
    expect((await post(`/v1/workflows/${workflowId}/pause`)).status).toBe(200);
    const others = [await createTimer(queue), await createTimer(queue)];
    expect((await leaseKeyed(queue)).map(({ id }) => id)).toEqual(others);
    expect(await lease(queue)).toEqual([]);
    await expect.poll(async () => (await readRun(runId)).tasks[0].status).toBe('paused');
  });

  it('and what was cancelled with its whole workflow ends, while a run of later is leased', async () => {
    const queue = nameQueue();
    const { workflowId, runId } = await begin([{ key: 'a', action: { type: 'pull', queue } }]);
    expect((await post(`/v1/workflows/${workflowId}/cancel`)).status).toBeLessThan(300);
    const later = await post('/v1/runs', { workflowId });
    const tasks = await lease(queue);
    expect(tasks.map((task) => task.runId)).toEqual([later.body.id]);
    await expect.poll(async () => (await readRun(runId)).status).toBe('cancelled');
  });
});
