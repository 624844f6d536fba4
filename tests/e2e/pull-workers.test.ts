import type { RunningStack } from '@punctual/local-servers';
import { BACKENDS, type ServerProxy, startProxy, waitUntil } from '@punctual/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient, type Run, type Timer } from './api-client.ts';
import type { Program } from './processes.ts';
import { readPullEvents, startPullProgram } from './pull-workers/pull-program.ts';
import { STACK_LIMIT_MS, startTestStack } from './test-stack.ts';

const LIMIT_MS = 60_000;
const TEST_LIMIT_MS = 180_000;
/** A task that is under way for as long as a test needs (ms). */
const SLOW_MS = 8_000;
/** A task that comes due while somebody waits for it is in hand so soon, with room for a machine that is busy (ms). */
const PICK_UP_LIMIT_MS = 2_000;

describe.each(BACKENDS)('pull workers, with the queue on %s', (backend) => {
  let stack: RunningStack;
  let api: ApiClient;
  let door: ServerProxy;
  const programs: Program[] = [];
  let queues = 0;
  const nameQueue = () => {
    queues += 1;
    return `e2e-${queues}`;
  };

  beforeAll(async () => {
    stack = await startTestStack(backend, {
      api: 2,
      env: { LOG_LEVEL: 'warn' },
    });
    door = await startProxy(stack.apiUrls[0]!);
    // Not by the door: the first api, to which it leads, is killed.
    api = new ApiClient([stack.apiUrls[1]!], 20);
  }, STACK_LIMIT_MS);
  afterEach(async () => {
    for (const program of programs.splice(0)) {
      program.kill('SIGKILL');
      await program.exited;
    }
  });
  afterAll(async () => {
    await door?.close();
    await stack?.stop();
  }, STACK_LIMIT_MS);

  function startWorker(workerId: string, queue: string, leaseSeconds: number): Program {
    const program = startPullProgram({ url: door.url, workerId, queue, leaseSeconds });
    programs.push(program);
    return program;
  }

  const hasBegun = (program: Program, id: string) =>
    readPullEvents(program).find((e) => e.event === 'began' && e.id === id);
  const readTimer = (id: string) => api.expect<Timer>([200], 'GET', `/v1/timers/${id}`);
  const isDone = async (id: string) => (await readTimer(id)).status === 'succeeded';
  const listOutcomes = async (id: string) => {
    const { data } = await api.expect<{ data: { attempt: number; outcome: string }[] }>(
      [200],
      'GET',
      `/v1/timers/${id}/attempts`,
    );
    return data.map(({ attempt, outcome }) => `${attempt} ${outcome}`);
  };
  async function createTask(queue: string, payload: object, delayMs = 0): Promise<Timer> {
    const dueAt = new Date(Date.now() + delayMs).toISOString();
    return api.expect<Timer>([201], 'POST', '/v1/timers', { action: { type: 'pull', queue }, dueAt, payload });
  }

  it(
    'get each task once, not before it is due and soon after, and end timers and runs',
    async () => {
      const queue = nameQueue();
      const workers = ['one', 'two'].map((name) => startWorker(`${queue}-${name}`, queue, 30));
      await waitUntil('both run', () => workers.every((worker) => readPullEvents(worker).length > 0), LIMIT_MS);
      const timers: Timer[] = [];
      for (let count = 0; count < 60; count += 1) timers.push(await createTask(queue, {}, (count % 4) * 500));
      const failing = await createTask(queue, { failOnce: true });
      const action = { type: 'pull', queue };
      const { id: workflowId } = await api.expect<{ id: string }>([201], 'POST', '/v1/workflows', {
        name: 'pulled',
        tasks: [
          { key: 'a', action },
          { key: 'b', after: ['a'], action },
          { key: 'c', after: ['a'], action: { type: 'noop' } },
          { key: 'd', after: ['b', 'c'], action },
        ],
      });
      const run = await api.expect<Run>([201], 'POST', '/v1/runs', { workflowId });
      await waitUntil(
        'all timers succeeded',
        async () => (await Promise.all([...timers, failing].map(({ id }) => isDone(id)))).every(Boolean),
        LIMIT_MS,
      );
      const isRunDone = async () => (await api.expect<Run>([200], 'GET', `/v1/runs/${run.id}`)).status === 'succeeded';
      await waitUntil('the run succeeded', isRunDone, LIMIT_MS);
      const events = workers.flatMap(readPullEvents);
      const began = Map.groupBy(
        events.filter(({ event }) => event === 'began'),
        ({ id }) => id!,
      );
      const lateness: number[] = [];
      for (const { id, dueAt } of timers) {
        expect(began.get(id)).toHaveLength(1);
        lateness.push(began.get(id)![0]!.at - Date.parse(dueAt));
      }
      // By clocks of one machine.
      expect(Math.min(...lateness)).toBeGreaterThanOrEqual(0);
      lateness.sort((a, b) => a - b);
      console.log(JSON.stringify({ backend, p50: lateness[30], max: lateness.at(-1) }));
      expect(lateness[30]).toBeLessThan(PICK_UP_LIMIT_MS);
      expect(await listOutcomes(failing.id)).toEqual(['1 retryable', '2 succeeded']);
      expect(events.filter(({ event }) => event === 'error')).toHaveLength(1);
    },
    TEST_LIMIT_MS,
  );

  it(
    'that wait get what comes due soon',
    async () => {
      const queue = nameQueue();
      const worker = startWorker(`${queue}-w`, queue, 30);
      await waitUntil('it runs', () => readPullEvents(worker).length > 0, LIMIT_MS);
      for (let count = 0; count < 5; count += 1) {
        const { id } = await createTask(queue, {});
        await waitUntil('it is in hand', () => hasBegun(worker, id), PICK_UP_LIMIT_MS);
      }
    },
    TEST_LIMIT_MS,
  );

  it(
    'that are killed get their tasks again under their names at once, the same attempt',
    async () => {
      const queue = nameQueue();
      const first = startWorker(`${queue}-phoenix`, queue, 60);
      const { id } = await createTask(queue, { ms: SLOW_MS });
      await waitUntil('it has begun', () => hasBegun(first, id), LIMIT_MS);
      first.kill('SIGKILL');
      await first.exited;
      const second = startWorker(`${queue}-phoenix`, queue, 60);
      const again = await waitUntil('it has begun again', () => hasBegun(second, id), LIMIT_MS);
      expect(again.attempt).toBe(1);
      await waitUntil('it is done', () => isDone(id), LIMIT_MS);
      expect(await listOutcomes(id)).toEqual(['1 succeeded']);
    },
    TEST_LIMIT_MS,
  );

  it(
    'that are killed for good leave their tasks to others when the leases end, and the loss does not count',
    async () => {
      const queue = nameQueue();
      const killed = startWorker(`${queue}-a`, queue, 3);
      const { id } = await createTask(queue, { ms: SLOW_MS });
      await waitUntil('it has begun', () => hasBegun(killed, id), LIMIT_MS);
      killed.kill('SIGKILL');
      const heir = startWorker(`${queue}-b`, queue, 3);
      const again = await waitUntil('another has begun it', () => hasBegun(heir, id), LIMIT_MS);
      expect(again.attempt).toBe(1);
      // Longer than a lease: it was kept by heartbeats.
      await waitUntil('it is done', () => isDone(id), LIMIT_MS);
      expect(await listOutcomes(id)).toEqual(['1 lost', '1 succeeded']);
    },
    TEST_LIMIT_MS,
  );

  it(
    'go on when the api is killed under them, and end what they began once',
    async () => {
      const queue = nameQueue();
      const worker = startWorker(`${queue}-w`, queue, 60);
      const slow = await createTask(queue, { ms: 3_000 });
      await waitUntil('it has begun', () => hasBegun(worker, slow.id), LIMIT_MS);
      const dead = stack.processes.find(({ url }) => url === stack.apiUrls[0])!;
      dead.kill('SIGKILL');
      await dead.exited;
      await door.retarget(stack.apiUrls[1]!);
      const later = await createTask(queue, {});
      for (const { id } of [slow, later]) await waitUntil('it is done', () => isDone(id), LIMIT_MS);
      for (const { id } of [slow, later]) expect(await listOutcomes(id)).toEqual(['1 succeeded']);
      expect(readPullEvents(worker).filter(({ event, id }) => event === 'began' && id === slow.id)).toHaveLength(1);
    },
    TEST_LIMIT_MS,
  );

  it(
    'that are told to stop finish what they began, take nothing more and leave nothing behind',
    async () => {
      const queue = nameQueue();
      const worker = startWorker(`${queue}-w`, queue, 60);
      const slow = await createTask(queue, { ms: 2_000 });
      await waitUntil('it has begun', () => hasBegun(worker, slow.id), LIMIT_MS);
      worker.kill('SIGTERM');
      const late = await createTask(queue, {}, 500);
      expect(await worker.exited).toEqual({ code: 0, signal: null });
      expect((await readTimer(slow.id)).status).toBe('succeeded');
      expect((await readTimer(late.id)).status).toBe('scheduled');
    },
    TEST_LIMIT_MS,
  );
});
