import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { waitUntil } from '@punctual/testkit';
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

interface Task {
  id: string;
  leaseToken: string;
  attempt: number;
  payload: unknown;
  [field: string]: unknown;
}

let queues = 0;
/** A queue that no other test uses. */
const nameQueue = () => {
  queues += 1;
  return `queue-${queues}`;
};

async function createTask(queue: string, fields: object = {}): Promise<string> {
  const { status, body } = await api.request('POST', '/v1/timers', { action: { type: 'pull', queue }, ...fields });
  expect(status).toBe(201);
  return body.id;
}

async function lease(queue: string, fields: object = {}): Promise<Task[]> {
  const wish = { workerId: 'w1', maxTasks: 10, leaseSeconds: 30, ...fields };
  const { status, body } = await api.request('POST', `/v1/task-queues/${queue}/leases`, wish);
  expect(status).toBe(200);
  return body.tasks;
}

const end = (task: { id: string; leaseToken: string }, verb: string, fields: object = {}) =>
  api.request('POST', `/v1/tasks/${task.id}/${verb}`, { leaseToken: task.leaseToken, ...fields });
const read = async (id: string) => (await api.request('GET', `/v1/timers/${id}`)).body;
const readAttempts = async (id: string) => (await api.request('GET', `/v1/timers/${id}/attempts`)).body.data;

/** As if the lease of a task had ended a second ago. */
async function lapse(id: string): Promise<void> {
  await api.testDatabase.database.ordinary.query(
    `UPDATE timers SET lease_ends_at = clock_timestamp() - interval '1 second' WHERE id = $1`,
    [id],
  );
}

async function createRun(tasks: object[], input?: unknown): Promise<string> {
  const workflow = await api.request('POST', '/v1/workflows', { name: 'pulled', tasks });
  expect(workflow.status).toBe(201);
  const run = await api.request('POST', '/v1/runs', {
    workflowId: workflow.body.id,
    ...(input === undefined ? {} : { input }),
  });
  expect(run.status).toBe(201);
  return run.body.id;
}

describe('a lease', () => {
  it('gives due tasks of its queue in order of due time, each to one worker, and starts them', async () => {
    const queue = nameQueue();
    const later = await createTask(queue, { payload: 'later' });
    const sooner = await createTask(queue, { payload: { n: 1 } });
    await api.testDatabase.database.ordinary.query(
      `UPDATE timers SET wake_at = wake_at - interval '1 minute' WHERE id = $1`,
      [sooner],
    );
    await createTask(queue, { delay: { type: 'duration', value: 1, unit: 'hours' } });
    await createTask(nameQueue());
    const [first] = await lease(queue, { maxTasks: 1 });
    expect(first).toEqual({
      id: sooner,
      leaseToken: expect.any(String),
      runId: null,
      taskKey: null,
      attempt: 1,
      payload: { n: 1 },
      input: null,
      inputs: {},
    });
    expect((await lease(queue, { workerId: 'w2' })).map(({ id }) => id)).toEqual([later]);
    expect(await lease(queue)).toEqual([]);
    expect(await read(sooner)).toMatchObject({ status: 'running', version: 2, attempt: 1 });
    const cancel = await api.request('POST', `/v1/timers/${sooner}/cancel`);
    expect([cancel.status, cancel.body.code]).toEqual([409, 'timer_already_started']);
  });

  it('never gives a task twice, however many ask at once, through several apis', async () => {
    const queue = nameQueue();
    const beside = await openTestApi({}, api);
    const timers = Array.from({ length: 300 }, () => ({ action: { type: 'pull', queue } }));
    await api.request('POST', '/v1/timers/batch', { timers });
    const ask = async (through: TestApi, workerId: string) => {
      const wish = { workerId, maxTasks: 7, leaseSeconds: 30 };
      const { body } = await through.request('POST', `/v1/task-queues/${queue}/leases`, wish);
      return body.tasks as Task[];
    };
    const found: string[] = [];
    for (let round = 0; found.length < 300 && round < 50; round += 1) {
      const asked = Array.from({ length: 20 }, (_, index) => ask(index % 2 ? api : beside, `w${index}`));
      for (const tasks of await Promise.all(asked)) found.push(...tasks.map(({ id }) => id));
    }
    expect(new Set(found).size).toBe(300);
    expect(found).toHaveLength(300);
    beside.context.taskQueues.stop();
    await beside.close();
  });

  it('waits for the first task that is announced, and answers with none when its time is over', async () => {
    expect(await lease(nameQueue(), { waitSeconds: 1 })).toEqual([]);
    // Or it would look by itself before its time is over.
    api.context.taskQueues.setListening(true);
    const queue = nameQueue();
    const waiting = lease(queue, { waitSeconds: 5 });
    await waitUntil('it waits', async () => api.context.taskQueues.waitingCount === 1);
    const id = await createTask(queue);
    api.context.taskQueues.announce([{ tenantId: DEFAULT_TENANT_ID, queue }]);
    expect((await waiting).map((task) => task.id)).toEqual([id]);
    expect(api.context.taskQueues.waitingCount).toBe(0);
    api.context.taskQueues.setListening(false);
  });

  it('that ended without an outcome is offered again under its number, and the loss is recorded', async () => {
    const queue = nameQueue();
    const id = await createTask(queue);
    const [lost] = await lease(queue);
    await lapse(id);
    const [again] = await lease(queue, { workerId: 'w2' });
    expect(again).toMatchObject({ id, attempt: 1 });
    expect(again!.leaseToken).not.toBe(lost!.leaseToken);
    for (const verb of ['complete', 'heartbeat', 'fail']) {
      const fields = { complete: {}, heartbeat: { leaseSeconds: 5 }, fail: { error: 'x' } }[verb];
      const { status, body } = await end(lost!, verb, fields);
      expect([verb, status, body.code]).toEqual([verb, 409, 'lease_lost']);
    }
    expect((await end(again!, 'complete')).status).toBe(200);
    const attempts = await readAttempts(id);
    expect(attempts.map(({ outcome }: { outcome: string }) => outcome)).toEqual(['lost', 'succeeded']);
  });

  it('that is resumed gives its worker what it holds, with the same tokens, and nobody else', async () => {
    const queue = nameQueue();
    const ids = [await createTask(queue), await createTask(queue)];
    const before = await lease(queue, { workerId: 'phoenix' });
    expect(await lease(queue, { workerId: 'other', resume: true })).toEqual([]);
    const held = await lease(queue, { workerId: 'phoenix', resume: true });
    expect(held.map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
    expect(held.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual(before.toSorted((a, b) => (a.id < b.id ? -1 : 1)));
    for (const task of held) expect((await end(task, 'complete')).status).toBe(200);
    expect(await lease(queue, { workerId: 'phoenix', resume: true })).toEqual([]);
  });
});

describe('the end of a leased task', () => {
  it('is recorded like that of any attempt, and may be told twice', async () => {
    const queue = nameQueue();
    const id = await createTask(queue);
    const [task] = await lease(queue);
    for (let times = 0; times < 2; times += 1) {
      const { status, body } = await end(task!, 'complete', { output: { items: [1, 2, 3] } });
      expect([status, body]).toEqual([200, { id, status: 'succeeded' }]);
    }
    expect(await read(id)).toMatchObject({ status: 'succeeded', attempt: 1 });
    expect(await readAttempts(id)).toEqual([
      expect.objectContaining({ attempt: 1, outcome: 'succeeded', responseBody: '{"items":[1,2,3]}' }),
    ]);
    expect((await end(task!, 'fail', { error: 'too late' })).body.code).toBe('lease_lost');
  });

  it('by failure leads to retries as the policy says, then to a dead letter that can be redriven', async () => {
    const queue = nameQueue();
    const retry = { maxRetries: 1, backoff: { initialMs: 0 } };
    const id = await createTask(queue, { retry });
    const [first] = await lease(queue);
    expect((await end(first!, 'fail', { error: 'no luck' })).body).toEqual({ id, status: 'scheduled' });
    const [second] = await lease(queue);
    expect(second).toMatchObject({ id, attempt: 2 });
    for (let times = 0; times < 2; times += 1)
      expect((await end(second!, 'fail', { error: 'again' })).body).toEqual({ id, status: 'dead' });
    expect((await readAttempts(id)).map(({ error }: { error: string }) => error)).toEqual(['no luck', 'again']);
    expect((await api.request('POST', `/v1/dead-letters/${id}/redrive`)).status).toBe(200);
    const [redriven] = await lease(queue);
    expect(redriven).toMatchObject({ id, attempt: 1 });
    expect((await end(redriven!, 'fail', { error: 'never', retryable: false })).body).toEqual({ id, status: 'dead' });
  });

  it('is put off by a heartbeat', async () => {
    const queue = nameQueue();
    const id = await createTask(queue);
    const [task] = await lease(queue, { leaseSeconds: 1 });
    const { status, body } = await end(task!, 'heartbeat', { leaseSeconds: 600 });
    expect(status).toBe(200);
    expect(Date.parse(body.leaseEndsAt) - Date.now()).toBeGreaterThan(500_000);
    expect(await lease(queue)).toEqual([]);
    expect((await end({ id, leaseToken: task!.leaseToken }, 'complete')).status).toBe(200);
  });

  it('of many at once is written together, and batches tell of each by itself', async () => {
    const queue = nameQueue();
    const timers = Array.from({ length: 200 }, () => ({ action: { type: 'pull', queue } }));
    await api.request('POST', '/v1/timers/batch', { timers });
    const tasks = await lease(queue, { maxTasks: 200 });
    const answers = await Promise.all(tasks.slice(0, 100).map((task) => end(task, 'complete')));
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    const [stranger, ...rest] = tasks.slice(100);
    const items = [{ ...stranger!, leaseToken: 'forged' }, { id: 'x' }, ...rest].map((task) => ({
      id: task.id,
      ...('leaseToken' in task && { leaseToken: task.leaseToken }),
    }));
    const { status, body } = await api.request('POST', '/v1/tasks/batch/complete', { tasks: items });
    expect(status).toBe(207);
    expect(body.results.map((result: { status: number }) => result.status)).toEqual([409, 400, ...rest.map(() => 200)]);
  });

  it('of a task of a run lets those after it begin, and ends the run', async () => {
    const [first, second] = [nameQueue(), nameQueue()];
    const runId = await createRun(
      [
        { key: 'a', action: { type: 'pull', queue: first } },
        { key: 'b', after: ['a'], action: { type: 'pull', queue: second } },
      ],
      { customer: 7 },
    );
    const [a] = await lease(first);
    expect(a).toMatchObject({ runId, taskKey: 'a', input: { customer: 7 }, attempt: 1 });
    expect(await lease(second)).toEqual([]);
    await end(a!, 'complete');
    const [b] = await lease(second);
    expect(b).toMatchObject({ runId, taskKey: 'b', input: { customer: 7 }, attempt: 1 });
    await end(b!, 'complete');
    expect((await api.request('GET', `/v1/runs/${runId}`)).body.status).toBe('succeeded');
  });

  it('of a cancelled run is recorded, and nothing of the run is offered any more', async () => {
    const queue = nameQueue();
    const tasks = ['a', 'b', 'c'].map((key) => ({ key, action: { type: 'pull', queue } }));
    const runId = await createRun(tasks);
    const [done, failed] = await lease(queue, { maxTasks: 2 });
    expect((await api.request('POST', `/v1/runs/${runId}/cancel`)).status).toBe(200);
    expect((await end(done!, 'complete')).body.status).toBe('succeeded');
    await lapse(failed!.id);
    expect(await lease(queue)).toEqual([]);
    await waitUntil('the lost attempt ends', async () => (await read(failed!.id)).status === 'cancelled');
  });
});

describe('a race', () => {
  it('of a lease with cancels and changes has one winner for each task', async () => {
    const queue = nameQueue();
    const timers = Array.from({ length: 600 }, () => ({ action: { type: 'pull', queue }, payload: 'old' }));
    const { body } = await api.request('POST', '/v1/timers/batch', { timers });
    const ids: string[] = body.results.map(({ timer }: { timer: Task }) => timer.id);
    const [cancelled, changed] = [new Set<string>(), new Set<string>()];
    const leased: Task[] = [];
    for (let from = 0; from < ids.length; from += 60) {
      const some = ids.slice(from, from + 60);
      const act = async (id: string, index: number) => {
        for (let turn = 0; turn < Math.random() * 20; turn += 1) await new Promise(setImmediate);
        const { status } =
          index % 2
            ? await api.request('POST', `/v1/timers/${id}/cancel`)
            : await api.request('PATCH', `/v1/timers/${id}`, { payload: 'new' });
        if (status === 200) (index % 2 ? cancelled : changed).add(id);
        else expect(status).toBe(409);
      };
      const grab = async () => leased.push(...(await lease(queue, { maxTasks: 20 })));
      await Promise.all([grab(), grab(), ...some.map(act), grab()]);
    }
    leased.push(...(await lease(queue, { maxTasks: 500 })));
    // A race that one side always wins tests nothing.
    expect(cancelled.size).toBeGreaterThan(10);
    expect(cancelled.size).toBeLessThan(290);
    expect(leased.filter(({ id }) => cancelled.has(id))).toEqual([]);
    expect(leased.length + cancelled.size).toBe(ids.length);
    for (const { id, payload } of leased) expect(payload).toBe(changed.has(id) ? 'new' : 'old');
  });

  it('of two ends of one task has one winner', async () => {
    const queue = nameQueue();
    const id = await createTask(queue);
    const [task] = await lease(queue);
    const answers = await Promise.all([
      end(task!, 'complete'),
      end(task!, 'fail', { error: 'x', retryable: false }),
      end(task!, 'complete'),
    ]);
    const { status } = await read(id);
    const told = answers.filter((answer) => answer.status === 200).map((answer) => answer.body.status);
    expect(new Set(told)).toEqual(new Set([status]));
    expect(answers.filter((answer) => answer.status !== 200).every((answer) => answer.body.code === 'lease_lost')).toBe(
      true,
    );
  });
});

it('what lies in the queues is told to operators', async () => {
  const queue = nameQueue();
  for (let count = 0; count < 3; count += 1) await createTask(queue);
  await lease(queue, { maxTasks: 1 });
  const { body } = await api.request('GET', '/v1/queues');
  expect(body.data.find(({ name }: { name: string }) => name === queue)).toEqual({
    name: queue,
    backend: 'tasks',
    tenantId: DEFAULT_TENANT_ID,
    waiting: 2,
    active: 1,
    isCapped: false,
  });
});

it('an action may be changed to one that is pulled, and back', async () => {
  const queue = nameQueue();
  const { body } = await api.request('POST', '/v1/timers', { action: { type: 'noop' } });
  await api.request('PATCH', `/v1/timers/${body.id}`, { action: { type: 'pull', queue } });
  await api.request('PATCH', `/v1/timers/${body.id}`, { payload: 1 });
  expect((await lease(queue)).map(({ id }) => id)).toEqual([body.id]);
  const id = await createTask(queue);
  await api.request('PATCH', `/v1/timers/${id}`, { action: { type: 'noop' } });
  expect(await lease(queue)).toEqual([]);
});

describe('too many who wait', () => {
  it('are refused, those of one tenant with 429, and a stop ends all waits', async () => {
    const beside = await openTestApi({ API_LEASE_WAITS_MAX: '3', API_LEASE_WAITS_PER_TENANT_MAX: '2' }, api);
    const wish = { workerId: 'w', maxTasks: 1, leaseSeconds: 30, waitSeconds: 60 };
    const ask = () => beside.request('POST', '/v1/task-queues/crowd/leases', wish);
    const waiting = [ask(), ask()];
    await waitUntil('two wait', async () => beside.context.taskQueues.waitingCount === 2);
    const refused = await ask();
    expect([refused.status, refused.body.code, refused.headers['retry-after']]).toEqual([429, 'too_many_waiting', '1']);
    beside.context.taskQueues.stop();
    for (const answer of await Promise.all(waiting)) expect([answer.status, answer.body]).toEqual([200, { tasks: [] }]);
    await beside.close();
  });
});

describe('an idempotency key', () => {
  it('gives the same lease, and the same end, again', async () => {
    const queue = nameQueue();
    await createTask(queue);
    await createTask(queue);
    const wish = { workerId: 'w1', maxTasks: 1, leaseSeconds: 30, waitSeconds: 5 };
    const leases = [1, 2].map(() =>
      api.request('POST', `/v1/task-queues/${queue}/leases`, wish, { 'idempotency-key': `lease-${queue}` }),
    );
    const [one, two] = [await leases[0]!, await leases[1]!];
    const good = [one, two].filter(({ status }) => status === 200);
    const [{ body }] = good as [typeof one];
    for (const answer of good) expect(answer.body).toEqual(body);
    const [task] = body.tasks;
    const fail = () =>
      api.request(
        'POST',
        `/v1/tasks/${task.id}/fail`,
        { leaseToken: task.leaseToken, error: 'x' },
        { 'idempotency-key': `fail-${queue}` },
      );
    expect((await fail()).body).toEqual({ id: task.id, status: 'scheduled' });
    expect((await fail()).body).toEqual({ id: task.id, status: 'scheduled' });
  });
});

it('has a task announced anew in the queue to which it is moved while it is overdue: behind what was announced, nobody looks', async () => {
  const id = await createTask(nameQueue());
  const { ordinary } = api.testDatabase.database;
  const readWake = async () => {
    const { rows } = await ordinary.query(
      `SELECT date_part('epoch', wake_at) * 1000 AS wake, date_part('epoch', clock_timestamp()) * 1000 AS now
       FROM timers WHERE id = $1`,
      [id],
    );
    return rows[0] as { wake: number; now: number };
  };
  await ordinary.query(`UPDATE timers SET wake_at = wake_at - interval '1 minute' WHERE id = $1`, [id]);
  const before = await readWake();
  await api.request('PATCH', `/v1/timers/${id}`, { payload: 1 });
  expect((await readWake()).wake).toBe(before.wake);
  await api.request('PATCH', `/v1/timers/${id}`, { action: { type: 'pull', queue: nameQueue() } });
  expect((await readWake()).wake).toBeGreaterThanOrEqual(before.now);
});
