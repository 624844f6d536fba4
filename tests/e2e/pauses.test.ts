import type { RunningStack } from '@punctual/local-servers';
import { BACKENDS, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient } from './api-client.ts';
import { type Receivers, startReceivers } from './main-job/receivers.ts';
import { STACK_LIMIT_MS, startTestStack } from './test-stack.ts';

const TEST_LIMIT_MS = 120_000;
/** What was written before an answer may be read by the endpoint so much later, on a machine that does much else (ms). */
const ARRIVAL_MS = 500;
/** Tasks of a run come due one second after the other, so that every moment of a pause finds some. */
const SECONDS = [1, 2, 3, 4, 5, 6];
const RUNS = 60;
const TIMERS = 4_000;
/** For so long nothing may come: some of the tasks, which are a second apart, come due meanwhile (ms). */
const SILENCE_MS = 2_500;

interface Operation {
  id: string;
  status: string;
  matched: number;
  done: number;
  failed: number;
}

describe.each(BACKENDS)('with the queue in %s', (queue) => {
  let stack: RunningStack;
  let receivers: Receivers;
  let api: ApiClient;
  beforeAll(async () => {
    receivers = await startReceivers();
    stack = await startTestStack(queue, {
      api: 2,
      scheduler: 1,
      worker: 3,
      env: { LOG_LEVEL: 'error' },
    });
    api = new ApiClient(stack.apiUrls, 5);
  }, STACK_LIMIT_MS);
  afterAll(async () => {
    await stack?.stop();
    await receivers?.stop();
  }, STACK_LIMIT_MS);

  const post = <Body>(path: string, body?: unknown, statuses: readonly number[] = [200]) =>
    api.expect<Body>(statuses, 'POST', path, body);
  const deliveriesOf = (runIds: ReadonlySet<string>) =>
    receivers.deliveries.filter(({ body }) => body.runId !== null && runIds.has(body.runId));
  const readOperation = (id: string) => api.expect<Operation>([200], 'GET', `/v1/bulk-operations/${id}`);
  const waitForOperation = async (id: string) => {
    await waitUntil(
      `operation ${id} has ended`,
      async () => (await readOperation(id)).status !== 'running',
      TEST_LIMIT_MS,
    );
    return readOperation(id);
  };

  async function beginRuns(): Promise<{ workflowId: string; runIds: ReadonlySet<string> }> {
    const action = { type: 'http', url: receivers.urls.good };
    const tasks = SECONDS.flatMap((value) => [
      { key: `at${value}`, delay: { type: 'duration', value, unit: 'seconds' }, action },
      { key: `after${value}`, after: [`at${value}`], action },
    ]);
    const { id: workflowId } = await post<{ id: string }>('/v1/workflows', { name: 'w', tasks }, [201]);
    const { results } = await post<{ results: { run: { id: string } }[] }>(
      '/v1/runs/batch',
      { workflowId, runs: Array.from({ length: RUNS }, () => ({})) },
      [207],
    );
    return { workflowId, runIds: new Set(results.map(({ run }) => run.id)) };
  }

  /** Sees to it that nothing of the runs begins from here on while many of their tasks come due. */
  async function expectSilence(runIds: ReadonlySet<string>, answeredAt: number): Promise<void> {
    await waitUntil('the silence has lasted', () => Date.now() > answeredAt + SILENCE_MS);
    await receivers.readAll();
    const late = deliveriesOf(runIds).filter(({ receivedAt }) => receivedAt > answeredAt + ARRIVAL_MS);
    expect(late.map(({ body, receivedAt }) => `${body.taskKey} ${receivedAt - answeredAt} ms later`)).toEqual([]);
  }

  const expectBalance = async () => {
    const { isBalanced } = await api.expect<{ isBalanced: boolean }>([200], 'GET', '/v1/ledger');
    expect(isBalanced).toBe(true);
  };

  it(
    'a paused workflow sends nothing, a worker may die meanwhile, and every task is delivered once after the resume',
    async () => {
      const { workflowId, runIds } = await beginRuns();
      await waitUntil('the first tasks are delivered', () => deliveriesOf(runIds).length > RUNS / 2, TEST_LIMIT_MS);
      const beganAt = performance.now();
      await post(`/v1/workflows/${workflowId}/pause`);
      const tookMs = performance.now() - beganAt;
      const answeredAt = Date.now();
      await expectSilence(runIds, answeredAt);
      // Nothing of it is under way, so nothing may be repeated.
      const worker = stack.processes.find(({ name }) => name === 'worker-1')!;
      worker.kill('SIGKILL');
      await worker.exited;
      const runs = await api.list<{ status: string }>('/v1/runs', { workflowId });
      expect(runs.every(({ status }) => status === 'running')).toBe(true);
      const paused = await api.expect<{ count: number }>(
        [200],
        'GET',
        `/v1/timers/count?workflowId=${workflowId}&status=paused`,
      );
      expect(paused.count).toBeGreaterThan(0);
      const resumed = await post<{ bulkOperationId: string }>(`/v1/workflows/${workflowId}/resume`, {
        ratePerSecond: 500,
      });
      const release = await waitForOperation(resumed.bulkOperationId);
      expect(release).toMatchObject({ status: 'succeeded', failed: 0, done: release.matched });
      expect(release.matched).toBeGreaterThan(0);
      await waitUntil(
        'all runs have succeeded',
        async () => (await api.list('/v1/runs', { workflowId, status: 'succeeded' })).length === RUNS,
        TEST_LIMIT_MS,
      );
      await receivers.readAll();
      const names = deliveriesOf(runIds).map(({ body }) => `${body.runId}/${body.taskKey}`);
      expect(new Set(names).size).toBe(RUNS * SECONDS.length * 2);
      expect(names).toHaveLength(new Set(names).size);
      await expectBalance();
      console.log(`${queue}: the pause was answered within ${Math.round(tookMs)} ms`);
    },
    TEST_LIMIT_MS,
  );

  it(
    'a cancel of a whole workflow takes effect at once, and ends every run',
    async () => {
      const { workflowId, runIds } = await beginRuns();
      await waitUntil('the first tasks are delivered', () => deliveriesOf(runIds).length > RUNS / 2, TEST_LIMIT_MS);
      const { id } = await post<Operation>(`/v1/workflows/${workflowId}/cancel`, undefined, [202]);
      const answeredAt = Date.now();
      const young = await post<{ id: string }>('/v1/runs', { workflowId }, [201]);
      await expectSilence(runIds, answeredAt);
      expect(await waitForOperation(id)).toMatchObject({ status: 'succeeded', failed: 0 });
      const cancelled = await api.list<{ id: string }>('/v1/runs', { workflowId, status: 'cancelled' });
      expect(new Set(cancelled.map((run) => run.id))).toEqual(runIds);
      await waitUntil(
        'the run that began later succeeds',
        async () => (await api.expect<{ status: string }>([200], 'GET', `/v1/runs/${young.id}`)).status === 'succeeded',
        TEST_LIMIT_MS,
      );
      const { data } = await api.expect<{ data: { name: string }[] }>([200], 'GET', '/v1/gates');
      expect(data.filter(({ name }) => name === workflowId)).toEqual([]);
      await expectBalance();
    },
    TEST_LIMIT_MS,
  );

  it(
    'bulk operations change each timer once, and those that started first are failures',
    async () => {
      const label = `bulk-${queue}`;
      const action = { type: 'http', url: receivers.urls.good };
      for (let stored = 0; stored < TIMERS; stored += 1_000) {
        const timers = Array.from({ length: 1_000 }, () => ({
          delay: { type: 'duration', value: 1, unit: 'days' },
          action,
          labels: { label },
        }));
        await post('/v1/timers/batch', { timers }, [207]);
      }
      const filter = { labels: { label } };
      const run = async (body: object) =>
        waitForOperation((await post<Operation>('/v1/bulk-operations', body, [202])).id);
      expect(await run({ action: 'reschedule', filter, change: { shiftMs: 60_000 } })).toMatchObject({
        status: 'succeeded',
        done: TIMERS,
      });
      const { data } = await api.expect<{ data: { version: number }[] }>(
        [200],
        'GET',
        `/v1/timers?label.label=${label}&limit=200`,
      );
      expect(data.every(({ version }) => version === 2)).toBe(true);
      expect(await run({ action: 'pause', filter })).toMatchObject({ done: TIMERS, failed: 0 });
      expect(await run({ action: 'resume', filter })).toMatchObject({ done: TIMERS, failed: 0 });
      const [fired, cancelled] = await Promise.all([
        run({ action: 'fire', filter }),
        run({ action: 'cancel', filter }),
      ]);
      expect(fired.matched).toBeLessThanOrEqual(TIMERS);
      await waitUntil(
        'nothing of it is live',
        async () =>
          (
            await api.expect<{ count: number }>(
              [200],
              'GET',
              `/v1/timers/count?label.label=${label}&status=scheduled,running,paused`,
            )
          ).count === 0,
        TEST_LIMIT_MS,
      );
      const ended = async (status: string) =>
        (await api.expect<{ count: number }>([200], 'GET', `/v1/timers/count?label.label=${label}&status=${status}`))
          .count;
      expect((await ended('cancelled')) + (await ended('succeeded'))).toBe(TIMERS);
      expect(cancelled.done).toBeGreaterThanOrEqual(await ended('cancelled'));
      await expectBalance();
    },
    TEST_LIMIT_MS,
  );
});
