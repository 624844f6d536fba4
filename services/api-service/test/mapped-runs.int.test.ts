import {
  endRunTimers,
  finishTimers,
  OUTCOMES_PER_STATEMENT_MAX,
  type StartedTimer,
  startTimers,
} from '@punctual/database';
import { waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { beginRunOf } from './mapped-steps.ts';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { readBalance } from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

/** Longer than any of these tests. */
const LEASE_MS = 600_000;

const noop = { type: 'noop' };
const http = (fields: object = {}) => ({ type: 'http', url: 'https://example.com/p', ...fields });

const begin = (tasks: object[], input?: unknown) => beginRunOf(api, tasks, input);
const readRun = async (id: string) => (await api.request('GET', `/v1/runs/${id}`)).body;

/** Ends live timers of a run as a worker would. Returns how many there were. */
async function end(runId: string, key: string, state: 'succeeded' | 'dead', output?: unknown): Promise<number> {
  const { database } = api.testDatabase;
  const { rows } = await database.ordinary.query<{ id: string; version: number }>(
    'SELECT id, version FROM timers WHERE run_id = $1 AND task_key = $2',
    [runId, key],
  );
  const started: StartedTimer[] = [];
  await waitUntil('they have all started', async () => {
    started.push(...(await startTimers(database.hot, rows, LEASE_MS, 0)));
    return started.length === rows.length;
  });
  await endRunTimers(database.hot, api.context.workflowVersions, [runId], async (client) => {
    const outcomes = started.map(({ id, version, started_at }) => ({
      id,
      version,
      state,
      outcome: state === 'dead' ? ('permanent' as const) : ('succeeded' as const),
      startedAt: started_at,
      latenessMs: 0,
      durationMs: 1,
      httpStatus: null,
      error: null,
      responseBody: null,
    }));
    const ended = [];
    for (let start = 0; start < outcomes.length; start += OUTCOMES_PER_STATEMENT_MAX)
      ended.push(...(await finishTimers(client, outcomes.slice(start, start + OUTCOMES_PER_STATEMENT_MAX))));
    const text = output === undefined ? undefined : JSON.stringify(output);
    return ended.map((timer) => ({ ...timer, output: state === 'succeeded' ? text : undefined }));
  });
  return rows.length;
}
const expectBalance = async () => {
  const balance = await readBalance(api);
  expect(balance.live! + balance.finished! + balance.letters!).toBe(balance.created);
  expect(balance.dead).toBe(balance.storedDead);
};

describe('a mapped run', () => {
  const TASKS = [
    { key: 'split', action: noop },
    { key: 'map', forEach: { task: 'split', path: '' }, action: noop },
    { key: 'more', in: 'map', after: ['map'], action: noop },
    { key: 'join', after: ['more'], when: 'inputs.more.size() > 0', action: noop },
  ];

  it('shows a task of many instances once, with counts and the first of them, and what they yielded', async () => {
    const { run } = await begin(TASKS);
    expect(run.tasks).toMatchObject([
      { key: 'split', status: 'scheduled' },
      { key: 'map', status: 'pending', attempts: 0, counts: { total: 0 }, instances: [] },
      { key: 'more', status: 'pending' },
      { key: 'join', status: 'pending' },
    ]);
    await end(
      run.id,
      'split',
      'succeeded',
      Array.from({ length: 150 }, (_, n) => n),
    );
    const open = await readRun(run.id);
    expect(open.tasks[0]).toMatchObject({ status: 'succeeded', output: expect.any(Array) });
    expect(open.tasks[1]).toMatchObject({ status: 'running', counts: { total: 150, live: 150, pending: 0 } });
    expect(open.tasks[2]).toMatchObject({ status: 'pending', counts: { total: 150, pending: 150 } });
    expect(open.tasks[1].instances.map(({ path }: { path: number[] }) => path)).toEqual(
      Array.from({ length: 100 }, (_, n) => [n]),
    );
    expect(open.tasks[1].instances[7]).toMatchObject({ status: 'scheduled', timerId: expect.any(String), attempts: 0 });
    const listed = await api.request('GET', `/v1/timers?runId=${run.id}&taskKey=map&limit=200`);
    expect(listed.body.data).toHaveLength(150);
    expect(
      listed.body.data.map(({ path }: { path: number[] }) => path[0]).toSorted((a: number, b: number) => a - b),
    ).toEqual(Array.from({ length: 150 }, (_, n) => n));
    expect(await end(run.id, 'map', 'succeeded')).toBe(150);
    expect(await end(run.id, 'more', 'succeeded', { ok: true })).toBe(150);
    const joined = await readRun(run.id);
    expect(joined.tasks[2]).toMatchObject({ status: 'succeeded', counts: { total: 150, succeeded: 150 } });
    expect(joined.tasks[2].instances[99]).toMatchObject({ path: [99], status: 'succeeded', output: { ok: true } });
    expect(joined.tasks[3]).toMatchObject({ status: 'scheduled' });
    await end(run.id, 'join', 'succeeded');
    expect(await readRun(run.id)).toMatchObject({ status: 'succeeded' });
    await expectBalance();
  });

  it('shows less of each when many tasks have many instances: a thousand of all, each with its timer', async () => {
    const keys = Array.from({ length: 12 }, (_, n) => `map${n}`);
    const split = { key: 'split', action: noop };
    const { run } = await begin([
      split,
      ...keys.map((key) => ({ key, forEach: { task: 'split', path: '' }, action: noop })),
    ]);
    const elements = Array.from({ length: 150 }, (_, n) => n);
    await end(run.id, 'split', 'succeeded', elements);
    const { tasks } = await readRun(run.id);
    for (const task of tasks.slice(1)) {
      expect(task).toMatchObject({ counts: { total: 150, live: 150 } });
      expect(task.instances).toHaveLength(83);
      expect(task.instances.every(({ timerId }: { timerId?: string }) => timerId !== undefined)).toBe(true);
    }
    expect(await api.request('POST', `/v1/runs/${run.id}/cancel`)).toMatchObject({ status: 200 });
  });

  it('goes on where its dead elements left off when it is retried', async () => {
    const { run } = await begin(TASKS);
    await end(run.id, 'split', 'succeeded', [1, 2]);
    await end(run.id, 'map', 'dead');
    const failed = await readRun(run.id);
    expect(failed).toMatchObject({ status: 'failed' });
    expect(failed.tasks[1]).toMatchObject({ status: 'dead', counts: { total: 2, dead: 2 }, attempts: 2 });
    expect(await api.request('POST', `/v1/runs/${run.id}/retry`)).toMatchObject({
      status: 200,
      body: { status: 'running', tasks: [{}, { status: 'running', counts: { live: 2, dead: 0 } }, {}, {}] },
    });
    expect(await end(run.id, 'map', 'succeeded')).toBe(2);
    expect(await end(run.id, 'more', 'succeeded')).toBe(2);
    await end(run.id, 'join', 'succeeded');
    expect(await readRun(run.id)).toMatchObject({ status: 'succeeded' });
    await expectBalance();
  });

  it('is retried and cancelled whole when more of it is dead, or waits, than one statement changes', async () => {
    const COUNT = 1_100;
    // Tasks that are never reached, as large as a workflow may be: a statement that read them for every dead letter would
    // run into its time-out.
    const rest = Array.from({ length: 500 }, (_, n) => ({
      key: `rest-${n}`,
      after: ['map'],
      action: http({ body: 'x'.repeat(500) }),
    }));
    const map = { key: 'map', forEach: { task: 'split', path: '' }, action: { type: 'pull', queue: 'elements' } };
    const { run } = await begin([{ key: 'split', action: noop }, map, ...rest]);
    await end(
      run.id,
      'split',
      'succeeded',
      Array.from({ length: COUNT }, (_, n) => n),
    );
    expect(await end(run.id, 'map', 'dead')).toBe(COUNT);
    const retried = await api.request('POST', `/v1/runs/${run.id}/retry`);
    expect(retried).toMatchObject({ status: 200, body: { status: 'running' } });
    expect(retried.body.tasks[1]).toMatchObject({ counts: { live: COUNT, dead: 0 } });
    const { rows } = await api.testDatabase.database.ordinary.query(
      'SELECT pull_queue, count(*)::int AS n FROM timers WHERE run_id = $1 GROUP BY 1',
      [run.id],
    );
    expect(rows).toEqual([{ pull_queue: 'elements', n: COUNT }]);
    const cancelled = await api.request('POST', `/v1/runs/${run.id}/cancel`);
    expect(cancelled).toMatchObject({ status: 200, body: { status: 'cancelled' } });
    expect(cancelled.body.tasks[1]).toMatchObject({ counts: { live: 0, cancelled: COUNT } });
    await expectBalance();
  });

  it('can be sent again where there were no elements, and says the same', async () => {
    const { run } = await begin(TASKS);
    await end(run.id, 'split', 'succeeded', { no: 'list' });
    const failed = await readRun(run.id);
    expect(failed).toMatchObject({ status: 'failed' });
    expect(failed.tasks[1]).toMatchObject({
      status: 'dead',
      counts: { total: 1, dead: 1 },
      instances: [{ path: [], status: 'dead', attempts: 1 }],
    });
    const [letter] = failed.tasks[1].instances;
    const attempts = await api.request('GET', `/v1/timers/${letter.timerId}/attempts`);
    expect(attempts.body.data).toMatchObject([
      { attempt: 1, outcome: 'permanent', error: 'The output of "split" has no array at "".' },
    ]);
    expect(await api.request('POST', `/v1/dead-letters/${letter.timerId}/redrive`)).toMatchObject({ status: 200 });
    expect(await readRun(run.id)).toMatchObject({ status: 'running' });
    expect(await end(run.id, 'map', 'dead')).toBe(1);
    expect(await readRun(run.id)).toMatchObject({ status: 'failed' });
    await expectBalance();
  });

  it('begins nothing more once it is cancelled, and neither does a cancelled element', async () => {
    const { run } = await begin(TASKS);
    await end(run.id, 'split', 'succeeded', [1, 2, 3]);
    const { tasks } = await readRun(run.id);
    expect(await api.request('POST', `/v1/timers/${tasks[1].instances[1].timerId}/cancel`)).toMatchObject({
      status: 200,
    });
    expect((await readRun(run.id)).tasks[1]).toMatchObject({ counts: { live: 2, cancelled: 1 } });
    expect(await end(run.id, 'map', 'succeeded')).toBe(2);
    expect(await api.request('POST', `/v1/runs/${run.id}/cancel`)).toMatchObject({
      status: 200,
      body: {
        status: 'cancelled',
        tasks: [
          { status: 'succeeded' },
          { status: 'cancelled', counts: { succeeded: 2, cancelled: 1 } },
          { status: 'cancelled', counts: { cancelled: 3 } },
          { status: 'cancelled' },
        ],
      },
    });
    await expectBalance();
  });

  it('begins with what asks for the output of a task that ended at once, of which there is none', async () => {
    const past = { delay: { type: 'date', year: 2020, month: 1, day: 2, onPast: 'skip' } };
    const tasks = [
      { key: 'out', when: 'false', action: noop },
      { key: 'past', ...past, action: noop },
      { key: 'faulty', when: 'input.missing', continueOnFailure: true, action: noop },
      { key: 'after-out', after: ['out'], when: 'inputs.out == null', action: noop },
      { key: 'after-past', after: ['past'], when: 'inputs.past == null', action: noop },
      { key: 'after-faulty', after: ['faulty'], when: 'inputs.faulty == null', action: noop },
      { key: 'later', after: ['after-out'], when: 'inputs.out != null', action: noop },
      { key: 'list', forEach: { task: 'past', path: '' }, action: noop },
    ];
    const { run, workflowId } = await begin(tasks, {});
    expect(run.tasks.map(({ key, status }: { key: string; status: string }) => [key, status])).toEqual([
      ['out', 'skipped'],
      ['past', 'skipped'],
      ['faulty', 'dead'],
      ['after-out', 'scheduled'],
      ['after-past', 'scheduled'],
      ['after-faulty', 'scheduled'],
      ['later', 'pending'],
      // It has no instances, and shows as left out when the run has ended.
      ['list', 'pending'],
    ]);
    const batch = { workflowId, runs: [{ input: {} }, { input: { missing: true } }] };
    expect((await api.request('POST', '/v1/runs/batch', batch)).body.results).toMatchObject([
      { status: 201 },
      { status: 201 },
    ]);
    await end(run.id, 'after-out', 'succeeded');
    expect((await readRun(run.id)).tasks[6]).toMatchObject({ status: 'skipped' });
    await expectBalance();
  });

  it('decides the conditions of its first tasks when it begins, by what it was begun with', async () => {
    const tasks = [
      { key: 'a', when: 'input.n > 1', action: noop },
      { key: 'b', when: 'input.n <= 1', action: noop },
      { key: 'c', when: 'input.missing', action: noop },
      { key: 'd', after: ['a', 'b'], action: noop },
    ];
    const { run, workflowId } = await begin(tasks, { n: 2 });
    expect(run.tasks).toMatchObject([
      { key: 'a', status: 'scheduled' },
      { key: 'b', status: 'skipped', attempts: 0 },
      { key: 'c', status: 'dead', attempts: 1, timerId: expect.any(String) },
      { key: 'd', status: 'pending' },
    ]);
    expect((await readRun(run.id)).tasks[2]).toMatchObject({ status: 'dead', attempts: 1 });
    const { body } = await api.request('POST', '/v1/runs/batch', {
      workflowId,
      runs: [{ input: { n: 0 } }, { input: { n: 5 } }],
    });
    expect(body.results.map((result: { run: typeof run }) => result.run.tasks[0].status)).toEqual([
      'skipped',
      'scheduled',
    ]);
    await expectBalance();
  });
});
