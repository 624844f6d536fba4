import type { RunningStack } from '@punctual/local-servers';
import { areFaultsInjected, BACKENDS, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient, type Timer } from './api-client.ts';
import { type LaneEndpoint, startLaneEndpoint } from './lane-endpoint.ts';
import { STACK_LIMIT_MS, startTestStack } from './test-stack.ts';

const TEST_LIMIT_MS = 180_000;
const LIMIT_MS = 90_000;
const KEYS = 8;
const TIMERS_PER_KEY = 25;
const ATTEMPT_MS = 30;

interface Run {
  id: string;
  status: string;
}

describe.each(BACKENDS)('concurrency keys, with the queue on %s', (backend) => {
  let stack: RunningStack;
  let api: ApiClient;
  let endpoint: LaneEndpoint;
  beforeAll(async () => {
    endpoint = await startLaneEndpoint();
    stack = await startTestStack(backend, {
      api: 2,
      scheduler: 2,
      worker: 3,
      env: { LOG_LEVEL: 'error', WORKER_LEASE_MARGIN_MS: '1000' },
    });
    api = new ApiClient(stack.apiUrls, 20);
  }, STACK_LIMIT_MS);
  afterAll(async () => {
    await stack?.stop();
    await endpoint?.stop();
  }, STACK_LIMIT_MS);

  const requestsOf = (prefix: string) => endpoint.requests.filter(({ key }) => key.startsWith(prefix));
  const overlapsOf = (prefix: string) => endpoint.overlaps.filter(({ later }) => later.key.startsWith(prefix));
  const readTimer = (id: string) => api.expect<Timer>([200], 'GET', `/v1/timers/${id}`);
  const createTimer = (fields: object) => api.expect<Timer>([201], 'POST', '/v1/timers', fields);
  const isDone = async (id: string) => (await readTimer(id)).status === 'succeeded';

  /** Timers of one batch, each a millisecond after the one before it. */
  async function createTimers(describeOne: (index: number) => object, count: number, dueAt: number): Promise<string[]> {
    const timers = Array.from({ length: count }, (_, index) => ({
      dueAt: new Date(dueAt + index).toISOString(),
      timeoutMs: 1_000,
      ...describeOne(index),
    }));
    const answer = await api.expect<{ results: { timer: Timer }[] }>([207], 'POST', '/v1/timers/batch', { timers });
    return answer.results.map(({ timer }) => timer.id);
  }

  it(
    'timers of one key run one after the other in order of due time, though a worker is killed among them',
    async () => {
      const nameKey = (index: number) => `killed-${index % KEYS}`;
      const count = KEYS * TIMERS_PER_KEY;
      const ids = await createTimers(
        (index) => ({
          action: { type: 'http', url: endpoint.describeUrl(nameKey(index), ATTEMPT_MS) },
          concurrency: { key: nameKey(index), limit: 1 },
        }),
        count,
        Date.now() + 500,
      );
      await waitUntil('some have run', () => requestsOf('killed-').length > KEYS * 3, LIMIT_MS);
      const worker = stack.processes.find(({ name }) => name === 'worker-1')!;
      worker.kill('SIGKILL');
      await worker.exited;
      await waitUntil(
        'all have run',
        () => new Set(requestsOf('killed-').map((r) => r.timerId)).size === count,
        LIMIT_MS,
      );
      for (const id of ids) await waitUntil(`${id} has succeeded`, () => isDone(id), LIMIT_MS);
      expect(overlapsOf('killed-').filter(({ earlier }) => !earlier.isAbandoned)).toEqual([]);
      for (let key = 0; key < KEYS; key += 1) {
        const firsts = new Map<string, number>();
        for (const { timerId, dueAt } of requestsOf(nameKey(key))) if (!firsts.has(timerId)) firsts.set(timerId, dueAt);
        const order = [...firsts.values()];
        expect(order).toEqual(order.toSorted((a, b) => a - b));
      }
    },
    TEST_LIMIT_MS,
  );

  it(
    'a key that is blocked holds nobody else, and a limit of three lets three run',
    async () => {
      const slowUrl = endpoint.describeUrl('slow', 400);
      await createTimers(
        () => ({ action: { type: 'http', url: slowUrl }, concurrency: { key: `slow-${backend}`, limit: 3 } }),
        60,
        Date.now(),
      );
      await waitUntil('the slow ones have begun', () => requestsOf('slow').length >= 3, LIMIT_MS);
      const beganAt = Date.now();
      const other = await createTimer({
        action: { type: 'http', url: endpoint.describeUrl('quick', 0) },
        concurrency: { key: `quick-${backend}` },
      });
      await waitUntil('the quick one has run', () => isDone(other.id), LIMIT_MS);
      expect(Date.now() - beganAt).toBeLessThan(3_000);
      await waitUntil(
        'all slow ones have run',
        () => requestsOf('slow').filter((r) => r.endedAt).length >= 60,
        LIMIT_MS,
      );
      const atOnce = requestsOf('slow').map(
        (one) => requestsOf('slow').filter((r) => r.beganAt <= one.beganAt && (r.endedAt ?? 0) > one.beganAt).length,
      );
      expect(Math.max(...atOnce)).toBe(3);
    },
    TEST_LIMIT_MS,
  );

  it(
    'tasks of runs share the key that their inputs give; an input that gives none is refused',
    async () => {
      const action = { type: 'http', url: endpoint.describeUrl('run', ATTEMPT_MS) };
      const { id: workflowId } = await api.expect<{ id: string }>([201], 'POST', '/v1/workflows', {
        name: 'customers',
        tasks: [
          { key: 'first', action, concurrency: { key: 'customer-{{input.customerId}}', limit: 1 } },
          { key: 'second', after: ['first'], action, concurrency: { key: 'customer-{{input.customerId}}', limit: 1 } },
        ],
      });
      const refused = await api.send<{ code: string; errors: { pointer: string }[] }>('POST', '/v1/runs', {
        workflowId,
        input: {},
      });
      expect(refused.status).toBe(400);
      expect(refused.body).toMatchObject({
        code: 'invalid_request',
        errors: [{ pointer: '/input' }, { pointer: '/input' }],
      });
      const before = requestsOf('run').length;
      const { results } = await api.expect<{ results: { run: Run }[] }>([207], 'POST', '/v1/runs/batch', {
        workflowId,
        runs: Array.from({ length: 10 }, () => ({ input: { customerId: 7 } })),
      });
      for (const { run } of results) {
        await waitUntil(
          'the run has succeeded',
          async () => (await api.expect<Run>([200], 'GET', `/v1/runs/${run.id}`)).status === 'succeeded',
          LIMIT_MS,
        );
      }
      expect(requestsOf('run').length - before).toBeGreaterThanOrEqual(20);
      expect(overlapsOf('run')).toEqual([]);
      const { data } = await api.expect<{ data: { concurrency: { key: string } }[] }>(
        [200],
        'GET',
        `/v1/timers?workflowId=${workflowId}&status=succeeded`,
      );
      expect(new Set(data.map(({ concurrency }) => concurrency.key))).toEqual(new Set(['customer-7']));
    },
    TEST_LIMIT_MS,
  );

  it(
    'keys may read outputs and elements: those of one element never run side by side',
    async () => {
      const accounts = Array.from({ length: 12 }, (_, index) => ({ id: index % 3 }));
      const { id: workflowId } = await api.expect<{ id: string }>([201], 'POST', '/v1/workflows', {
        name: 'accounts',
        tasks: [
          { key: 'list', action: { type: 'noop', output: { region: 'eu', accounts } } },
          {
            key: 'sync',
            forEach: { task: 'list', path: '/accounts' },
            concurrency: { key: '{{inputs.list.region}}-{{item.id}}-{{input.day}}' },
            action: { type: 'http', url: endpoint.describeUrl('account', ATTEMPT_MS) },
          },
        ],
      });
      const run = await api.expect<Run>([201], 'POST', '/v1/runs', { workflowId, input: { day: '{{1}}' } });
      const readRun = () => api.expect<Run>([200], 'GET', `/v1/runs/${run.id}`);
      await waitUntil('the run has succeeded', async () => (await readRun()).status === 'succeeded', LIMIT_MS);
      const { data } = await api.expect<{ data: { id: string; concurrency: { key: string } }[] }>(
        [200],
        'GET',
        `/v1/timers?runId=${run.id}&taskKey=sync`,
      );
      const keyOf = new Map(data.map(({ id, concurrency }) => [id, concurrency.key]));
      // A key is what its expressions give, and is not read as one again.
      expect(new Set(keyOf.values())).toEqual(new Set(['eu-0-{{1}}', 'eu-1-{{1}}', 'eu-2-{{1}}']));
      const requests = requestsOf('account');
      expect(requests.length).toBeGreaterThanOrEqual(accounts.length);
      const beside = requests.flatMap((one) =>
        requests.filter((r) => r !== one && r.beganAt <= one.beganAt && (r.endedAt ?? 0) > one.beganAt),
      );
      expect(beside.length, 'other elements run meanwhile').toBeGreaterThan(0);
      for (const one of requests) {
        const alike = requests.filter((r) => r !== one && keyOf.get(r.timerId) === keyOf.get(one.timerId));
        const overlapping = alike.filter((r) => r.beganAt <= one.beganAt && (r.endedAt ?? 0) > one.beganAt);
        if (!areFaultsInjected) expect(overlapping).toEqual([]);
      }
    },
    TEST_LIMIT_MS,
  );

  it(
    'what waits for its turn can be cancelled, moved, paused and changed, and the next one goes on',
    async () => {
      const key = `edited-${backend}`;
      const create = (dueAt: number, ms = ATTEMPT_MS) =>
        createTimer({
          dueAt: new Date(dueAt).toISOString(),
          action: { type: 'http', url: endpoint.describeUrl(key, ms) },
          timeoutMs: 5_000,
          concurrency: { key },
        });
      const now = Date.now();
      const first = await create(now, 2_500);
      await waitUntil('the first one runs', async () => (await readTimer(first.id)).status === 'running', LIMIT_MS);
      const [cancelled, moved, paused, changed, last] = await Promise.all([1, 2, 3, 4, 5].map((n) => create(now + n)));
      await waitUntil('the last one is due', () => Date.now() > now + 300, LIMIT_MS);
      await api.expect([200], 'POST', `/v1/timers/${cancelled!.id}/cancel`);
      await api.expect([200], 'PATCH', `/v1/timers/${moved!.id}`, { dueAt: new Date(now + 86_400_000).toISOString() });
      await api.expect([200], 'POST', `/v1/timers/${paused!.id}/pause`);
      await api.expect([200], 'PATCH', `/v1/timers/${changed!.id}`, { payload: { changed: true } });
      await waitUntil('the last one has run', () => isDone(last!.id), LIMIT_MS);
      expect((await readTimer(changed!.id)).status).toBe('succeeded');
      expect((await readTimer(cancelled!.id)).status).toBe('cancelled');
      expect((await readTimer(moved!.id)).status).toBe('scheduled');
      expect((await readTimer(paused!.id)).status).toBe('paused');
      await api.expect([200], 'POST', `/v1/timers/${paused!.id}/resume`);
      await api.expect([200], 'POST', `/v1/timers/${moved!.id}/fire`);
      for (const timer of [paused!, moved!]) await waitUntil('it has run', () => isDone(timer.id), LIMIT_MS);
      expect(overlapsOf(key).filter(({ earlier }) => !earlier.isAbandoned)).toEqual([]);
      expect(requestsOf(key).some(({ timerId }) => timerId === cancelled!.id)).toBe(false);
    },
    TEST_LIMIT_MS,
  );

  it(
    'pull workers get one task of a key at a time, in order of due time',
    async () => {
      const queue = `keyed-${backend}`;
      const now = Date.now();
      const ids: string[] = [];
      for (let n = 0; n < 4; n += 1) {
        const { id } = await createTimer({
          dueAt: new Date(now + n).toISOString(),
          action: { type: 'pull', queue },
          concurrency: { key: queue },
        });
        ids.push(id);
      }
      interface Task {
        id: string;
        leaseToken: string;
      }
      const lease = (waitSeconds: number) =>
        api.expect<{ tasks: Task[] }>([200], 'POST', `/v1/task-queues/${queue}/leases`, {
          workerId: 'w',
          maxTasks: 10,
          leaseSeconds: 30,
          waitSeconds,
        });
      const seen: string[] = [];
      for (let n = 0; n < ids.length; n += 1) {
        const { tasks } = await lease(20);
        expect(tasks).toHaveLength(1);
        expect((await lease(0)).tasks).toEqual([]);
        seen.push(tasks[0]!.id);
        await api.expect([200], 'POST', `/v1/tasks/${tasks[0]!.id}/complete`, { leaseToken: tasks[0]!.leaseToken });
      }
      expect(seen).toEqual(ids);
    },
    TEST_LIMIT_MS,
  );

  it(
    'a rate lets so many of a key begin in any second',
    async () => {
      const key = `rated-${backend}`;
      await createTimers(
        () => ({ action: { type: 'http', url: endpoint.describeUrl(key, 0) }, concurrency: { key, ratePerSecond: 5 } }),
        20,
        Date.now(),
      );
      await waitUntil('all have run', () => requestsOf(key).length >= 20, LIMIT_MS);
      const times = requestsOf(key).map(({ beganAt }) => beganAt);
      // Requests leave a moment after their starts, some later than others.
      const most = Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + 900).length));
      if (!areFaultsInjected) expect(most).toBeLessThanOrEqual(6);
      expect(times.at(-1)! - times[0]!).toBeGreaterThan(3_500);
      expect(times.at(-1)! - times[0]!).toBeLessThan(15_000);
    },
    TEST_LIMIT_MS,
  );

  const setLimit = (limit: object) => api.expect([200], 'PUT', '/v1/limits', limit);
  const removeLimit = (query: string) => api.expect([204], 'DELETE', `/v1/limits?${query}`);
  const countAtOnce = (prefix: string) =>
    requestsOf(prefix).map(
      (one) => requestsOf(prefix).filter((r) => r.beganAt <= one.beganAt && (r.endedAt ?? 0) > one.beganAt).length,
    );

  it(
    'a limit of an origin lets so many of its requests run, in order, and holds nobody else; removed, all go on',
    async () => {
      const name = `limited-${backend}`;
      const url = endpoint.describeUrl(name, 200);
      await setLimit({ kind: 'origin', name: url, limit: 2 });
      const count = 30;
      await createTimers(() => ({ action: { type: 'http', url } }), count, Date.now());
      await waitUntil('some have run', () => requestsOf(name).filter((r) => r.endedAt).length >= 8, LIMIT_MS);
      const beganAt = Date.now();
      const other = await createTimer({ action: { type: 'noop' } });
      await waitUntil('another one is done', () => isDone(other.id), LIMIT_MS);
      expect(Date.now() - beganAt).toBeLessThan(3_000);
      expect(Math.max(...countAtOnce(name))).toBe(2);
      const seen = requestsOf(name).length;
      expect(seen).toBeLessThan(count);
      await removeLimit(`kind=origin&name=${encodeURIComponent(url)}`);
      await waitUntil('all have run', () => requestsOf(name).filter((r) => r.endedAt).length >= count, LIMIT_MS);
      expect(new Set(requestsOf(name).map(({ timerId }) => timerId)).size).toBe(count);
    },
    TEST_LIMIT_MS,
  );

  it(
    'limits of a workflow and of the tenant hold together with keys',
    async () => {
      const name = `both-${backend}`;
      const { id: workflowId } = await api.expect<{ id: string }>([201], 'POST', '/v1/workflows', {
        name: 'limited',
        tasks: [
          {
            key: 'a',
            action: { type: 'http', url: endpoint.describeUrl(name, 100) },
            concurrency: { key: `${name}-{{ input }}`, limit: 2 },
          },
        ],
      });
      await setLimit({ kind: 'workflow', name: workflowId, limit: 3 });
      await setLimit({ kind: 'tenant', limit: 50, ratePerSecond: 500 });
      const { data } = await api.expect<{ data: object[] }>([200], 'GET', '/v1/limits');
      expect(data).toEqual([
        { kind: 'tenant', limit: 50, ratePerSecond: 500 },
        { kind: 'workflow', name: workflowId, limit: 3 },
      ]);
      const count = 30;
      await api.expect([207], 'POST', '/v1/runs/batch', {
        workflowId,
        runs: Array.from({ length: count }, (_, index) => ({ input: index % 3 })),
      });
      await waitUntil('all have run', () => requestsOf(name).filter((r) => r.endedAt).length >= count, LIMIT_MS);
      expect(Math.max(...countAtOnce(name))).toBeLessThanOrEqual(3);
      await removeLimit(`kind=workflow&name=${workflowId}`);
      await removeLimit('kind=tenant');
    },
    TEST_LIMIT_MS,
  );

  it(
    'a limit of a queue bounds what pull workers hold',
    async () => {
      const queue = `bounded-${backend}`;
      await setLimit({ kind: 'queue', name: queue, limit: 2 });
      for (let n = 0; n < 5; n += 1) await createTimer({ action: { type: 'pull', queue } });
      interface Task {
        id: string;
        leaseToken: string;
      }
      const lease = async (waitSeconds: number) => {
        const body = { workerId: 'w', maxTasks: 10, leaseSeconds: 30, waitSeconds };
        return (await api.expect<{ tasks: Task[] }>([200], 'POST', `/v1/task-queues/${queue}/leases`, body)).tasks;
      };
      const held = await lease(20);
      while (held.length < 2) held.push(...(await lease(20)));
      expect(held).toHaveLength(2);
      expect(await lease(0)).toEqual([]);
      const done = new Set<string>();
      while (done.size < 5) {
        for (const { id, leaseToken } of held.splice(0)) {
          await api.expect([200], 'POST', `/v1/tasks/${id}/complete`, { leaseToken });
          done.add(id);
        }
        if (done.size < 5) held.push(...(await lease(20)));
        expect(held.length).toBeLessThanOrEqual(2);
      }
      await removeLimit(`kind=queue&name=${queue}`);
    },
    TEST_LIMIT_MS,
  );
});
