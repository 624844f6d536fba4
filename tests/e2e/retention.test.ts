import { randomUUID } from 'node:crypto';
import type { RunningStack } from '@punctual/local-servers';
import { BACKENDS, waitUntil } from '@punctual/testkit';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient } from './api-client.ts';
import { dumpPostgres } from './canaries/haystacks.ts';
import { type Receivers, startReceivers } from './main-job/receivers.ts';
import { STACK_LIMIT_MS, startTestStack } from './test-stack.ts';

const TEST_LIMIT_MS = 180_000;
/** In which runs that take seconds have ended, on a machine that does much else (ms). */
const END_LIMIT_MS = 60_000;
/** Of the schedulers' looks: short, so that there are many during a test (ms). */
const LOOKS_MS = '150';
const CANARY = 'canary-of-a-person-4711';
/** Runs that move while some are broken. */
const HEALTHY_RUNS = 2_000;
const BROKEN_RUNS = 20;
const BATCH = 500;

interface Run {
  id: string;
  status: string;
  tasks: { key: string; status: string; timerId?: string }[];
}
interface Ledger {
  isBalanced: boolean;
  total: { created: number };
  differences: { booked: number; found: number }[];
  stuckRunCount: number;
  review: { endedAt: string | null; mended: number; tasksLost: number; unmendable: number };
}

describe.each(BACKENDS)('with the queue in %s', (queue) => {
  let stack: RunningStack;
  let receivers: Receivers;
  let api: ApiClient;
  let database: pg.Client;
  beforeAll(async () => {
    receivers = await startReceivers();
    stack = await startTestStack(queue, {
      api: 1,
      scheduler: 2,
      worker: 2,
      env: { LOG_LEVEL: 'error', RETENTION_INTERVAL_MS: LOOKS_MS, SCHEDULER_REVIEW_INTERVAL_MS: LOOKS_MS },
    });
    api = new ApiClient(stack.apiUrls, 5);
    database = new pg.Client({ connectionString: stack.databaseUrl });
    await database.connect();
  }, STACK_LIMIT_MS);
  afterAll(async () => {
    await database?.end();
    await stack?.stop();
    await receivers?.stop();
  }, STACK_LIMIT_MS);

  const post = <Body>(path: string, body?: unknown, statuses: readonly number[] = [200, 201]) =>
    api.expect<Body>(statuses, 'POST', path, body);
  const readLedger = () => api.expect<Ledger>([200], 'GET', '/v1/ledger');
  const readRun = (id: string) => api.expect<Run>([200], 'GET', `/v1/runs/${id}`);
  const waitForStatus = (id: string, status: string) =>
    waitUntil(`run ${id} is ${status}`, async () => (await readRun(id)).status === status, TEST_LIMIT_MS);
  const storeWorkflow = async (tasks: readonly object[], fields: object = {}) =>
    (await post<{ id: string }>('/v1/workflows', { name: 'w', tasks, ...fields })).id;
  async function beginRuns(workflowId: string, count: number): Promise<string[]> {
    const ids: string[] = [];
    while (ids.length < count) {
      const runs = Array.from({ length: Math.min(BATCH, count - ids.length) }, () => ({}));
      const { results } = await post<{ results: { run: Run }[] }>('/v1/runs/batch', { workflowId, runs }, [207]);
      ids.push(...results.map(({ run }) => run.id));
    }
    return ids;
  }
  // Rows of a day are shown by the table and by the day's own.
  const findCanary = async (text: string) => {
    const found = (await dumpPostgres(stack.databaseUrl))
      .filter(([name, bytes]) => name !== 'table pg_stat_activity' && bytes.includes(text))
      .map(([name]) => name.replace('table public.', '').replace(/_(\d{8}|default)$/, ''));
    return [...new Set(found)].toSorted();
  };

  it(
    'an erased run leaves its id in the audit log, and no other trace in any table',
    async () => {
      const http = (target: 'good' | 'failing') => ({
        type: 'http',
        url: receivers.urls[target],
        // The receivers want the first three.
        body: { payload: null, runId: null, timerId: 'one', about: '{{ input.person }}', seen: '{{ inputs.split }}' },
      });
      const workflowId = await storeWorkflow([
        { key: 'split', action: { type: 'noop', output: ['{{ input.person }}', 'another'] } },
        { key: 'each', forEach: { task: 'split', path: '' }, action: { type: 'noop', output: '{{ item }}' } },
        { key: 'good', after: ['split'], action: http('good') },
        {
          key: 'bad',
          after: ['each', 'split'],
          action: http('failing'),
          retry: { maxRetries: 1, backoff: { initialMs: 10 } },
        },
      ]);
      const order = { workflowId, input: { person: CANARY }, labels: { person: CANARY }, externalId: CANARY };
      const key = { 'idempotency-key': randomUUID() };
      const { body: run } = await api.send<Run>('POST', '/v1/runs', order, key);
      const { id: bystander } = await post<Run>('/v1/runs', { workflowId, input: { person: 'nobody' } });
      await waitForStatus(run.id, 'failed');
      await waitForStatus(bystander, 'failed');
      expect(await findCanary(CANARY)).toEqual(
        expect.arrayContaining(['external_ids', 'idempotency_keys', 'runs', 'task_outputs']),
      );
      const { status } = await api.send('DELETE', `/v1/runs/${run.id}`);
      expect(status).toBe(204);
      expect(await findCanary(CANARY)).toEqual(expect.not.arrayContaining(['runs', 'finished_timers', 'task_outputs']));
      expect((await api.send('GET', `/v1/runs/${run.id}`)).status).toBe(404);
      expect(await api.send('POST', '/v1/runs', order, key)).toMatchObject({ status: 410 });
      await waitUntil(
        'kept answers show it no more',
        async () => (await findCanary(CANARY)).length === 0,
        TEST_LIMIT_MS,
      );
      await waitUntil(
        'only the audit log knows it',
        async () => String(await findCanary(run.id)) === 'audit_log',
        TEST_LIMIT_MS,
      );
      expect(await api.send('POST', '/v1/runs', order, key)).toMatchObject({ status: 410 });
      expect((await readRun(bystander)).status).toBe('failed');
      expect((await readLedger()).isBalanced).toBe(true);
    },
    TEST_LIMIT_MS,
  );

  it(
    'runs leave by what their workflow keeps, whatever sleeps beside them goes on, and the ledger stays balanced',
    async () => {
      const task = { key: 'a', action: { type: 'noop' } };
      const sleeping = { ...task, delay: { type: 'duration', value: 1, unit: 'hours' } };
      const brief = await storeWorkflow([task], { retentionDays: 2 });
      const usual = await storeWorkflow([task]);
      const asleep = await storeWorkflow([sleeping], { retentionDays: 1 });
      const [gone, kept, live] = [await beginRuns(brief, 50), await beginRuns(usual, 50), await beginRuns(asleep, 50)];
      for (const id of [gone.at(-1)!, kept.at(-1)!]) await waitForStatus(id, 'succeeded');
      await waitUntil(
        'all have succeeded',
        async () => (await api.list('/v1/runs', { status: 'succeeded', workflowId: brief })).length === gone.length,
        TEST_LIMIT_MS,
      );
      const { total } = await readLedger();
      const age = "SET created_at = created_at - interval '4 days', finished_at = finished_at - interval '4 days'";
      await database.query(`UPDATE finished_timers ${age} WHERE run_id = ANY ($1)`, [[...gone, ...kept]]);
      await database.query(`UPDATE runs ${age} WHERE id = ANY ($1)`, [[...gone, ...kept, ...live]]);
      await waitUntil(
        'they are gone',
        async () => (await api.list('/v1/runs', { workflowId: brief })).length === 0,
        TEST_LIMIT_MS,
      );
      const { rows } = await database.query<{ kept: number; gone: number }>(
        `SELECT count(*) FILTER (WHERE run_id = ANY ($1))::int AS gone, count(*) FILTER (WHERE run_id = ANY ($2))::int AS kept
         FROM finished_timers`,
        [gone, kept],
      );
      expect(rows).toEqual([{ gone: 0, kept: kept.length }]);
      expect(await api.list('/v1/runs', { workflowId: usual })).toHaveLength(kept.length);
      expect(await readLedger()).toMatchObject({ isBalanced: true, total: { created: total.created } });
      const sleeper = await readRun(live[0]!);
      await post(`/v1/timers/${sleeper.tasks[0]!.timerId}/fire`);
      // It ends now, and has its day from now on.
      await waitForStatus(sleeper.id, 'succeeded');
      await post(`/v1/workflows/${asleep}/cancel`, undefined, [202]);
    },
    TEST_LIMIT_MS,
  );

  it(
    `broken runs are mended or end, while ${HEALTHY_RUNS} healthy ones under load are not touched`,
    async () => {
      const http = { type: 'http', url: receivers.urls.good };
      const tasks = [
        { key: 'one', action: http },
        { key: 'two', after: ['one'], delay: { type: 'duration', value: 1, unit: 'seconds' }, action: http },
        { key: 'three', after: ['two'], action: http },
      ];
      const sleep = { type: 'duration', value: 1, unit: 'hours' };
      const asleep = await storeWorkflow([
        { key: 'a', delay: sleep, action: http },
        { key: 'b', onFailure: ['a'], action: http },
      ]);
      const lost = await beginRuns(asleep, BROKEN_RUNS);
      const unnoticed = await beginRuns(
        await storeWorkflow([
          { key: 'a', delay: sleep, action: http },
          ...tasks.slice(1).map((task) => ({ ...task, after: [task.key === 'two' ? 'a' : 'two'] })),
        ]),
        BROKEN_RUNS,
      );
      const before = await readLedger();
      const moving = beginRuns(await storeWorkflow(tasks), HEALTHY_RUNS);
      // A timer that is gone without a trace, and one whose end nobody told its run.
      await database.query('DELETE FROM timers WHERE run_id = ANY ($1)', [lost]);
      await database.query(
        `WITH gone AS (DELETE FROM timers WHERE run_id = ANY ($1) RETURNING *), entries AS (
           INSERT INTO ledger_entries (tenant_id, partition, succeeded) SELECT tenant_id, partition, 1 FROM gone
         )
         INSERT INTO finished_timers (id, tenant_id, run_id, workflow_id, due_at, created_at, finished_at, version, workflow_version,
           state, outcome, partition, attempt, task_key)
         SELECT id, tenant_id, run_id, workflow_id, due_at, created_at, clock_timestamp(), 3, workflow_version, 'succeeded', 'succeeded',
           partition, 1, task_key FROM gone`,
        [unnoticed],
      );
      const healthy = await moving;
      const everyRun = [...healthy, ...lost, ...unnoticed];
      for (const [what, ids] of Object.entries({ lost, unnoticed, healthy })) {
        const countLeft = async () => {
          const { rows } = await database.query<{ left: number }>(
            `SELECT count(*)::int AS left FROM runs WHERE id = ANY ($1) AND status = 'running'`,
            [ids],
          );
          return rows[0]!.left;
        };
        await waitUntil(`all ${what} runs have ended`, async () => (await countLeft()) === 0, END_LIMIT_MS);
      }
      for (const id of [...healthy.slice(0, 3), ...lost, ...unnoticed])
        expect((await readRun(id)).status).toBe('succeeded');
      await receivers.readAll();
      const names = receivers.deliveries.map(({ body }) => `${body.runId}/${body.taskKey}`);
      const expected = [
        ...healthy.flatMap((id) => tasks.map(({ key }) => `${id}/${key}`)),
        ...lost.map((id) => `${id}/b`),
        ...unnoticed.flatMap((id) => [`${id}/two`, `${id}/three`]),
      ];
      const wanted = new Set(everyRun);
      const sent = names.filter((name) => wanted.has(name.split('/')[0]!));
      expect(sent.toSorted()).toEqual(expected.toSorted());
      const ledger = await readLedger();
      expect(ledger.stuckRunCount).toBe(0);
      expect(ledger.review.unmendable).toBe(0);
      expect(ledger.review.mended - before.review.mended).toBe(2 * BROKEN_RUNS);
      expect(ledger.review.tasksLost - before.review.tasksLost).toBe(BROKEN_RUNS);
      // What is lost can not be mended, and the books say so.
      const missing = ledger.differences.reduce((sum, { booked, found }) => sum + booked - found, 0);
      expect(missing).toBe(BROKEN_RUNS);
      const { rows } = await database.query<{ runs: number }>(
        `SELECT count(DISTINCT target_ids[1])::int AS runs FROM audit_log WHERE action = 'run.mend' AND NOT target_ids && $1`,
        [[...lost, ...unnoticed]],
      );
      expect(rows).toEqual([{ runs: 0 }]);
    },
    TEST_LIMIT_MS,
  );
});
