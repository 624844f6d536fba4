import type { RunningStack } from '@punctual/local-servers';
import { BACKENDS, type Receiver, startReceiver, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient } from './api-client.ts';
import { signalTree } from './processes.ts';
import { STACK_LIMIT_MS, startTestStack } from './test-stack.ts';

/** Elements on each level: with the two ends and the middle 1 + 12 + 144 + 12 + 1 tasks a run. */
const WIDTH = 12;
const RUNS = 5;
const TEST_LIMIT_MS = 120_000;
const END_LIMIT_MS = 100_000;
/** How long a killed worker's attempts are its own. */
const WORKER_SETTINGS = { WORKER_LEASE_MARGIN_MS: '2000' };

interface ShownTask {
  key: string;
  status: string;
  attempts: number;
  counts?: Record<string, number>;
  instances?: { path: number[]; status: string; output?: unknown }[];
  output?: unknown;
}
interface ShownRun {
  id: string;
  status: string;
  tasks: ShownTask[];
}

describe.each(BACKENDS)('a map-reduce over two levels, with the queue on %s', (queue) => {
  let stack: RunningStack;
  let receiver: Receiver;
  let api: ApiClient;
  /** Whether one element of runs that ask for it is answered 400. */
  let isRefusing = true;
  /** Settles when the leaves of runs that ask for it may be answered. */
  const held = Promise.withResolvers<void>();

  beforeAll(async () => {
    receiver = await startReceiver(async ({ path, body }) => {
      const { item, index, inputs, input } = JSON.parse(body);
      if (input === 'refuse' && isRefusing && path === '/map' && index === 3) return { status: 400 };
      if (input === 'hold' && path === '/leaf') await held.promise;
      const numbers = (from: number) => Array.from({ length: WIDTH }, (_, n) => from + n);
      const sum = (list: number[]) => list.reduce((total, n) => total + n, 0);
      const answers: Record<string, () => unknown> = {
        '/split': () => ({ items: numbers(1) }),
        '/map': () => ({ leaves: numbers(item * 1_000) }),
        '/leaf': () => item * 2,
        '/reduce': () => sum(inputs.leaf),
        '/join': () => ({ total: sum(inputs.reduce), parts: inputs.reduce }),
      };
      return { body: JSON.stringify(answers[path]?.() ?? null) };
    });
    stack = await startTestStack(queue, {
      api: 1,
      scheduler: 1,
      worker: 2,
      env: { LOG_LEVEL: 'fatal' },
      envOf: { worker: WORKER_SETTINGS },
    });
    api = new ApiClient(stack.apiUrls);
  }, STACK_LIMIT_MS);
  afterAll(async () => {
    await stack?.stop();
    await receiver?.close();
  }, STACK_LIMIT_MS);

  const call = (path: string) => ({ type: 'http', url: `${receiver.url}/${path}` });
  const retry = { maxRetries: 0 };
  const TASKS = () => [
    { key: 'split', action: call('split') },
    { key: 'map', forEach: { task: 'split', path: '/items' }, action: call('map'), retry },
    { key: 'leaf', forEach: { task: 'map', path: '/leaves' }, action: call('leaf') },
    { key: 'reduce', in: 'map', after: ['leaf'], action: call('reduce') },
    { key: 'join', after: ['reduce'], action: call('join') },
  ];
  async function begin(runs: number, input: unknown = null): Promise<string[]> {
    const workflow = await api.expect<{ id: string }>([201], 'POST', '/v1/workflows', { name: 'mr', tasks: TASKS() });
    const { results } = await api.expect<{ results: { run: ShownRun }[] }>([207], 'POST', '/v1/runs/batch', {
      workflowId: workflow.id,
      runs: Array.from({ length: runs }, () => ({ input })),
    });
    return results.map(({ run }) => run.id);
  }
  const read = (id: string) => api.expect<ShownRun>([200], 'GET', `/v1/runs/${id}`);
  const waitForEnd = (id: string, status: string) =>
    waitUntil(
      `run ${id} is ${status}`,
      async () => {
        const run = await read(id);
        return run.status === status ? run : undefined;
      },
      END_LIMIT_MS,
    );
  const find = (run: ShownRun, key: string) => run.tasks.find((task) => task.key === key)!;
  const requestsOf = (runId: string, path: string) =>
    receiver.requests.filter((request) => request.path === path && JSON.parse(request.body).runId === runId);
  const parts = Array.from({ length: WIDTH }, (_, m) =>
    Array.from({ length: WIDTH }, (_leaf, n) => ((m + 1) * 1_000 + n) * 2).reduce((total, n) => total + n, 0),
  );
  const output = { total: parts.reduce((total, n) => total + n, 0), parts };

  it(
    'calls each element once, gives the joins all answers in order, and the books balance',
    async () => {
      const ids = await begin(RUNS);
      for (const id of ids) {
        const run = await waitForEnd(id, 'succeeded');
        expect(find(run, 'leaf')).toMatchObject({
          status: 'succeeded',
          counts: { total: WIDTH * WIDTH, succeeded: WIDTH * WIDTH },
        });
        expect(find(run, 'reduce').instances!.map((instance) => instance.output)).toEqual(parts);
        expect(find(run, 'join')).toMatchObject({ output });
        const leaves = requestsOf(id, '/leaf').map(({ body }) => JSON.parse(body).item as number);
        expect(leaves).toHaveLength(WIDTH * WIDTH);
        expect(new Set(leaves).size).toBe(WIDTH * WIDTH);
      }
      const ledger = await api.expect<{ isBalanced: boolean; total: { scheduled: number; running: number } }>(
        [200],
        'GET',
        '/v1/ledger',
      );
      expect(ledger).toMatchObject({ isBalanced: true, total: { scheduled: 0, running: 0 } });
    },
    TEST_LIMIT_MS,
  );

  it(
    'fails by a dead element alone, and is whole after a retry',
    async () => {
      const [id] = await begin(1, 'refuse');
      const run = await waitForEnd(id!, 'failed');
      expect(find(run, 'map').counts).toMatchObject({ total: WIDTH, dead: 1, succeeded: WIDTH - 1 });
      expect(find(run, 'reduce').counts).toMatchObject({ succeeded: WIDTH - 1 });
      expect(find(run, 'join').status).toBe('cancelled');
      isRefusing = false;
      await api.expect([200], 'POST', `/v1/runs/${id}/retry`);
      expect(find(await waitForEnd(id!, 'succeeded'), 'join')).toMatchObject({ output });
      expect(requestsOf(id!, '/map')).toHaveLength(WIDTH + 1);
    },
    TEST_LIMIT_MS,
  );

  it(
    'is whole although a worker is killed in the midst of it',
    async () => {
      const before = receiver.requests.length;
      const ids = await begin(RUNS);
      await waitUntil('some elements were called', async () => receiver.requests.length - before > WIDTH * WIDTH);
      const victim = stack.processes.find(({ name }) => name === 'worker-1')!;
      signalTree(victim.pid, 'SIGKILL');
      for (const id of ids) {
        const run = await waitForEnd(id, 'succeeded');
        expect(find(run, 'join')).toMatchObject({ output });
        // Twice at most: as many as the killed worker had under way.
        const leaves = new Set(requestsOf(id, '/leaf').map(({ body }) => JSON.parse(body).timerId));
        expect(leaves.size).toBe(WIDTH * WIDTH);
      }
    },
    TEST_LIMIT_MS,
  );

  it(
    'begins nothing more once it is cancelled',
    async () => {
      const [id] = await begin(1, 'hold');
      await waitUntil('its elements are called', async () => requestsOf(id!, '/leaf').length > 0);
      expect(await api.expect([200], 'POST', `/v1/runs/${id}/cancel`)).toMatchObject({ status: 'cancelled' });
      const begun = requestsOf(id!, '/leaf').length;
      held.resolve();
      await waitUntil('nothing of it is live', async () => {
        const live = await api.list(`/v1/timers`, { runId: id!, status: 'scheduled,running' });
        return live.length === 0;
      });
      expect(requestsOf(id!, '/reduce')).toEqual([]);
      expect(requestsOf(id!, '/join')).toEqual([]);
      // What was under way when it was cancelled may still have been on its way here.
      expect(requestsOf(id!, '/leaf').length).toBeLessThanOrEqual(WIDTH * WIDTH);
      expect(requestsOf(id!, '/leaf').length).toBeGreaterThanOrEqual(begun);
      expect(await read(id!)).toMatchObject({ status: 'cancelled' });
    },
    TEST_LIMIT_MS,
  );
});
