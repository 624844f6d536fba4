import type { RunningStack } from '@punctual/local-servers';
import { areFaultsInjected, BACKENDS, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient, type Timer } from './api-client.ts';
import { STACK_LIMIT_MS, startTestStack } from './test-stack.ts';

const TEST_LIMIT_MS = 180_000;
const LIMIT_MS = 120_000;
const BATCH = 1_000;
/** Due at once, far more than a read takes or the queue holds: 256 chunks. */
const HERD = 50_000;
const URGENT = 100;
/** Batches with the api at once. */
const BATCHES_AT_ONCE = 4;
const NOOP = { type: 'noop' };

interface Attempt {
  latenessMs: number;
}

describe.each(BACKENDS)('priorities, with the queue on %s', (backend) => {
  let stack: RunningStack;
  let api: ApiClient;
  beforeAll(async () => {
    stack = await startTestStack(backend, { api: 1, scheduler: 2, worker: 2, env: { LOG_LEVEL: 'error' } });
    api = new ApiClient(stack.apiUrls, 20);
  }, STACK_LIMIT_MS);
  afterAll(async () => {
    await stack?.stop();
  }, STACK_LIMIT_MS);

  async function createBatch(timers: object[]): Promise<string[]> {
    const answer = await api.expect<{ results: { timer: Timer }[] }>([207], 'POST', '/v1/timers/batch', { timers });
    return answer.results.map(({ timer }) => timer.id);
  }

  /** How late each was (ms), in order, when all have succeeded. */
  async function readLateness(ids: readonly string[]): Promise<number[]> {
    const late: number[] = [];
    for (const id of ids) {
      const readAttempts = () => api.expect<{ data: Attempt[] }>([200], 'GET', `/v1/timers/${id}/attempts`);
      await waitUntil(`${id} has run`, async () => (await readAttempts()).data.length > 0, LIMIT_MS);
      late.push((await readAttempts()).data[0]!.latenessMs);
    }
    return late.toSorted((a, b) => a - b);
  }
  const p95 = (sorted: readonly number[]) => sorted[Math.floor(sorted.length * 0.95)]!;

  // With the queue in Postgres the drain, the hand-overs and the queue share one server, and how late anything is depends on all of
  // them. That the same goes first there: services/scheduler-service/test/priority-turns.int.test.ts.
  it.runIf(backend === 'redis')(
    'a hundred urgent timers are punctual though a herd of the same tenant is due before them',
    async () => {
      const makeUrgent = (dueAt: number) =>
        createBatch(
          Array.from({ length: URGENT }, () => ({ action: NOOP, dueAt: new Date(dueAt).toISOString(), priority: 5 })),
        );
      const quiet = p95(await readLateness(await makeUrgent(Date.now() + 500)));

      const herdDueAt = Date.now() + 12_000;
      // Some at the very instant of the herd, some while it is on its way.
      const urgent = [await makeUrgent(herdDueAt), await makeUrgent(herdDueAt + 1_000)];
      const samples: string[] = [];
      const waiting = Array.from({ length: HERD / BATCH }, (_, index) => index);
      const storeAll = async () => {
        while (waiting.pop() !== undefined) {
          const dueAt = new Date(herdDueAt).toISOString();
          const ids = await createBatch(Array.from({ length: BATCH }, () => ({ action: NOOP, dueAt })));
          samples.push(ids[0]!);
        }
      };
      await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, storeAll));
      const ofHerd = await readLateness(samples);
      const [atOnce, amid] = [await readLateness(urgent[0]!), await readLateness(urgent[1]!)];
      const described = { quiet, atOnce: p95(atOnce), amid: p95(amid), herd: p95(ofHerd) };
      console.info(JSON.stringify({ backend, ...described }));
      if (areFaultsInjected) return;
      expect(described.herd, 'the herd is one').toBeGreaterThan(1_500);
      for (const late of [described.atOnce, described.amid]) {
        expect(late, JSON.stringify(described)).toBeLessThan(described.herd / 3);
      }
    },
    TEST_LIMIT_MS,
  );

  it(
    'of those who wait for one key the highest is next, by a change of its priority too',
    async () => {
      const keyed = (fields: object) => ({ concurrency: { key: 'one' }, ...fields });
      const [first] = await createBatch([keyed({ action: { type: 'noop', durationMs: 2_500 } })]);
      await waitUntil('it runs', async () => (await read(first!)).status === 'running', LIMIT_MS);
      const others = await createBatch([
        keyed({ action: NOOP }),
        keyed({ action: NOOP }),
        keyed({ action: NOOP, priority: 2 }),
        keyed({ action: NOOP }),
      ]);
      const [plain, second, raised, changed] = others as [string, string, string, string];
      await api.expect([200], 'PATCH', `/v1/timers/${changed}`, { priority: 9 });
      for (const id of others)
        await waitUntil(`${id} has run`, async () => (await read(id)).status === 'succeeded', LIMIT_MS);
      const began = new Map<string, number>();
      for (const id of others) {
        const { data } = await api.expect<{ data: { startedAt: string }[] }>([200], 'GET', `/v1/timers/${id}/attempts`);
        began.set(id, Date.parse(data[0]!.startedAt));
      }
      const order = others.toSorted((a, b) => began.get(a)! - began.get(b)!);
      expect(order.slice(0, 2)).toEqual([changed, raised]);
      expect(new Set(order.slice(2))).toEqual(new Set([plain, second]));
    },
    TEST_LIMIT_MS,
  );

  it(
    'pull workers get the highest first',
    async () => {
      const pulled = (priority: number) => ({ action: { type: 'pull', queue: 'urgent' }, priority, payload: priority });
      await createBatch([pulled(0), pulled(0), pulled(1), pulled(8), pulled(3)]);
      const lease = () =>
        api.expect<{ tasks: { payload: number }[] }>([200], 'POST', '/v1/task-queues/urgent/leases', {
          workerId: 'w',
          maxTasks: 4,
          leaseSeconds: 60,
          waitSeconds: 5,
        });
      expect((await lease()).tasks.map(({ payload }) => payload)).toEqual([8, 3, 1, 0]);
    },
    TEST_LIMIT_MS,
  );

  const read = (id: string) => api.expect<Timer>([200], 'GET', `/v1/timers/${id}`);
});
