import type { RunningStack } from '@punctual/local-servers';
import { BACKENDS, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient } from './api-client.ts';
import { type Receivers, startReceivers } from './main-job/receivers.ts';
import { STACK_LIMIT_MS, startTestStack } from './test-stack.ts';

const TEST_LIMIT_MS = 240_000;
const SCHEDULES = 12;
/** Two occurrences of each schedule would begin in it (ms). */
const SILENCE_MS = 2_500;
const EVERY_SECOND = { type: 'cron', expression: '* * * * * *' };

interface Schedule {
  id: string;
  version: number;
  status: string;
  waiting: number;
  failure?: { code: string };
  lastRun?: { occurrenceAt?: string; runId?: string };
}
interface Run {
  id: string;
  status: string;
  externalId?: string;
  createdAt: string;
}

describe.each(BACKENDS)('with the queue in %s', (queue) => {
  let stack: RunningStack;
  let receivers: Receivers;
  let api: ApiClient;
  beforeAll(async () => {
    receivers = await startReceivers();
    stack = await startTestStack(queue, {
      api: 2,
      scheduler: 2,
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
  const createWorkflow = async (tasks: unknown[]) =>
    (await post<{ id: string }>('/v1/workflows', { name: 'w', tasks }, [201])).id;
  const createSchedule = async (fields: object) => post<Schedule>('/v1/schedules', fields, [201]);
  const readSchedule = (id: string) => api.expect<Schedule>([200], 'GET', `/v1/schedules/${id}`);
  const listRuns = (workflowId: string) => api.list<Run>('/v1/runs', { workflowId });
  /** The occurrences that runs were begun for, in order. */
  const readOccurrences = (runs: readonly Run[], id: string) =>
    runs
      .filter(({ externalId }) => externalId?.startsWith(`schedule:${id}:`))
      .map(({ externalId }) => Date.parse(externalId!.slice(`schedule:${id}:`.length)))
      .toSorted((a, b) => a - b);

  it(
    'every occurrence begins exactly one run, while schedulers and workers are killed',
    async () => {
      const action = { type: 'http', url: receivers.urls.good };
      const workflowId = await createWorkflow([{ key: 'call', action }]);
      const ids = await Promise.all(
        Array.from(
          { length: SCHEDULES },
          async () => (await createSchedule({ rule: EVERY_SECOND, run: { workflowId } })).id,
        ),
      );
      const hasBegun = (count: number) => async () => (await listRuns(workflowId)).length >= count;
      await waitUntil('occurrences have begun', hasBegun(3 * SCHEDULES), TEST_LIMIT_MS);
      for (const name of ['worker-1', 'scheduler-1', 'worker-2']) {
        const victim = stack.processes.find((process) => process.name === name)!;
        victim.kill('SIGKILL');
        await victim.exited;
      }
      const killedAt = Date.now();
      const isPast = async () => {
        const schedules = await Promise.all(ids.map(readSchedule));
        return schedules.every(({ lastRun }) => Date.parse(lastRun!.occurrenceAt!) > killedAt + 5_000);
      };
      await waitUntil('all go on after the kills', isPast, TEST_LIMIT_MS);
      await Promise.all(ids.map((id) => post(`/v1/schedules/${id}/pause`)));
      const pausedAt = Date.now();
      const runs = await listRuns(workflowId);
      for (const id of ids) {
        const occurrences = readOccurrences(runs, id);
        const first = occurrences[0]!;
        // One for each second between the first and the last: none is missing, none is there twice.
        expect(occurrences).toEqual(occurrences.map((_, index) => first + index * 1_000));
      }
      // After the answer to a pause nothing begins any more.
      await waitUntil('two more occurrences are past', () => Date.now() > pausedAt + SILENCE_MS);
      expect(await listRuns(workflowId)).toHaveLength(runs.length);
      await waitUntil(
        'all runs have succeeded',
        async () => (await listRuns(workflowId)).every(({ status }) => status === 'succeeded'),
        TEST_LIMIT_MS,
      );
      const runIds = new Set(runs.map(({ id }) => id));
      const delivered = receivers.deliveries.filter(({ body }) => body.runId !== null && runIds.has(body.runId));
      expect(new Set(delivered.map(({ body }) => body.runId)).size).toBe(runs.length);
      const { isBalanced } = await api.expect<{ isBalanced: boolean }>([200], 'GET', '/v1/ledger');
      expect(isBalanced).toBe(true);
    },
    TEST_LIMIT_MS,
  );

  it(
    'what overlaps is skipped, or waits for its turn, as the policy says',
    async () => {
      const delay = { type: 'duration', value: 3, unit: 'seconds' };
      const workflows = { skip: '', queue: '' };
      const schedules: Record<string, string> = {};
      for (const overlap of ['skip', 'queue'] as const) {
        workflows[overlap] = await createWorkflow([{ key: 'slow', delay, action: { type: 'noop' } }]);
        const run = { workflowId: workflows[overlap] };
        schedules[overlap] = (await createSchedule({ rule: EVERY_SECOND, overlap, run })).id;
      }
      const count = async (overlap: 'skip' | 'queue') => (await listRuns(workflows[overlap])).length;
      await waitUntil(
        'some have begun',
        async () => (await count('skip')) > 3 && (await count('queue')) > 3,
        TEST_LIMIT_MS,
      );
      expect((await readSchedule(schedules.queue!)).waiting).toBeGreaterThan(0);
      expect((await readSchedule(schedules.skip!)).waiting).toBe(0);
      for (const overlap of ['skip', 'queue'] as const) {
        await post(`/v1/schedules/${schedules[overlap]}/pause`);
        const runs = (
          await api.list<Run & { finishedAt?: string }>('/v1/runs', { workflowId: workflows[overlap] })
        ).toSorted((a, b) => Date.parse(a.createdAt) - Date.parse(b.createdAt));
        for (const [index, run] of runs.entries()) {
          const next = runs[index + 1];
          if (next) expect(Date.parse(next.createdAt)).toBeGreaterThanOrEqual(Date.parse(run.finishedAt!));
        }
        const occurrences = readOccurrences(runs, schedules[overlap]!);
        const gaps = occurrences.slice(1).map((at, index) => at - occurrences[index]!);
        if (overlap === 'queue') expect(gaps).toEqual(gaps.map(() => 1_000));
        else expect(Math.min(...gaps)).toBeGreaterThanOrEqual(3_000);
      }
    },
    TEST_LIMIT_MS,
  );

  it(
    'single timers are sent at their occurrences; edits, triggers and the end take effect',
    async () => {
      const timer = { action: { type: 'http', url: receivers.urls.good }, payload: { of: `timer ${queue}` } };
      const deliveries = async () => {
        await receivers.readAll();
        return receivers.deliveries.filter(
          ({ body }) => (body.payload as { of?: string } | null)?.of === `timer ${queue}`,
        );
      };
      const { id } = await createSchedule({
        rule: { type: 'date', month: 12, day: 31 },
        timeZone: 'Pacific/Apia',
        timer,
      });
      const triggered = await post<{ timerId: string }>(`/v1/schedules/${id}/trigger`, undefined, [201]);
      await waitUntil('the trigger is delivered', async () => (await deliveries()).length === 1, TEST_LIMIT_MS);
      expect((await deliveries())[0]!.body.timerId).toBe(triggered.timerId);

      const endAt = new Date(Date.now() + 8_000).toISOString();
      const change = { rule: { type: 'interval', value: 2, unit: 'seconds' }, endAt };
      const stale = await api.send('PATCH', `/v1/schedules/${id}`, change, { 'if-match': '"7"' });
      expect(stale.status).toBe(412);
      await api.expect([200], 'PATCH', `/v1/schedules/${id}`, change);
      await waitUntil('it has ended', async () => (await readSchedule(id)).status === 'ended', TEST_LIMIT_MS);
      await waitUntil('its timers are delivered', async () => (await deliveries()).length >= 4, TEST_LIMIT_MS);
      const sent = (await deliveries()).slice(1).map(({ body }) => Date.parse(body.dueAt as string));
      const sorted = sent.toSorted((a, b) => a - b);
      expect(sorted).toEqual(sorted.map((_, index) => sorted[0]! + index * 2_000));
      expect(sorted.at(-1)).toBeLessThan(Date.parse(endAt));
    },
    TEST_LIMIT_MS,
  );

  it(
    'of a paused workflow nothing begins; when it goes on the policy decides what was missed',
    async () => {
      const workflowId = await createWorkflow([{ key: 'a', action: { type: 'noop' } }]);
      const { id } = await createSchedule({ rule: EVERY_SECOND, run: { workflowId } });
      await waitUntil('it has begun', async () => (await listRuns(workflowId)).length > 0, TEST_LIMIT_MS);
      await post(`/v1/workflows/${workflowId}/pause`);
      const before = (await listRuns(workflowId)).length;
      await waitUntil(
        'the schedule knows',
        async () => (await readSchedule(id)).failure?.code === 'workflow_paused',
        TEST_LIMIT_MS,
      );
      expect(await listRuns(workflowId)).toHaveLength(before);
      await post(`/v1/workflows/${workflowId}/resume`, {});
      await waitUntil('it goes on', async () => (await readSchedule(id)).failure === undefined, TEST_LIMIT_MS);
      // A short pause is no miss: they begin late, and none is left out.
      await waitUntil('all have begun', async () => (await listRuns(workflowId)).length > before + 2, TEST_LIMIT_MS);
      await api.expect([204], 'DELETE', `/v1/schedules/${id}`);
      const occurrences = readOccurrences(await listRuns(workflowId), id);
      expect(occurrences).toEqual(occurrences.map((_, index) => occurrences[0]! + index * 1_000));
      expect((await api.send('GET', `/v1/schedules/${id}`)).status).toBe(404);
    },
    TEST_LIMIT_MS,
  );
});
