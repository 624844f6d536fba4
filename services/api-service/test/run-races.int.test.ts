import {
  claimRunExternalIds,
  endRunTimers,
  type FinishedAttempt,
  finishTimers,
  type ReturningTimer,
  readLedger,
  returnRunTimers,
  type StartedTimer,
  startTimers,
} from '@punctual/database';
import { createId, DEFAULT_TENANT_ID, decodeTaskStates, type TaskState } from '@punctual/domain';
import { createRandom, waitUntil } from '@punctual/testkit';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';

let api: TestApi;
beforeEach(async () => {
  api = await openTestApi();
});
afterEach(async () => {
  await api.close();
});

const noop = { type: 'noop' };
// a → (b, c) → d → e: d is the join.
const TASKS = [
  { key: 'a', action: noop },
  { key: 'b', after: ['a'], action: noop },
  { key: 'c', after: ['a'], action: noop },
  { key: 'd', after: ['b', 'c'], action: noop },
  { key: 'e', after: ['d'], action: noop },
];

const query = async (text: string, values: unknown[] = []) =>
  (await api.testDatabase.database.ordinary.query(text, values)).rows;

async function createWorkflow(tasks: unknown[] = TASKS): Promise<string> {
  return (await api.request('POST', '/v1/workflows', { name: 'w', tasks })).body.id;
}

const repeat = <T>(times: number, work: (index: number) => Promise<T>) =>
  Promise.all(Array.from({ length: times }, (_, index) => work(index)));

test('fifty parallel equal POSTs with one Idempotency-Key make one run', async () => {
  const workflowId = await createWorkflow();
  const headers = { 'idempotency-key': createId() };
  const answers = await repeat(50, () => api.request('POST', '/v1/runs', { workflowId, input: 1 }, headers));
  const created = answers.filter(({ status }) => status === 201);
  expect(created.length).toBeGreaterThan(0);
  expect(new Set(created.map(({ body }) => body.id)).size).toBe(1);
  for (const answer of answers.filter(({ status }) => status !== 201)) {
    expect(answer).toMatchObject({ status: 409, body: { code: 'idempotency_in_progress' } });
  }
  expect(await query('SELECT id FROM runs')).toEqual([{ id: created[0]!.body.id }]);
  expect(await query('SELECT count(*)::int AS count FROM timers')).toEqual([{ count: 1 }]);
});

test('fifty parallel POSTs with one external id make one run, and every answer names it', async () => {
  const workflowId = await createWorkflow();
  const answers = await repeat(50, (index) =>
    // Alone, in batches, and with a key of its own: all ways in meet.
    index % 3 === 0
      ? api.request('POST', '/v1/runs/batch', { workflowId, runs: [{ externalId: 'order' }] })
      : api.request(
          'POST',
          '/v1/runs',
          { workflowId, externalId: 'order' },
          index % 3 === 1 ? {} : { 'idempotency-key': createId() },
        ),
  );
  const results = answers.map(({ status, body }) => (status === 207 ? body.results[0] : { status, run: body }));
  expect(results.map(({ status }) => status).toSorted()).toEqual([...Array(49).fill(200), 201]);
  expect(new Set(results.map(({ run }) => run.id)).size).toBe(1);
  expect(await query('SELECT count(*)::int AS count FROM runs')).toEqual([{ count: 1 }]);
  expect(await query('SELECT count(*)::int AS count FROM timers')).toEqual([{ count: 1 }]);
});

test('external ids are taken in one order, so that no two batches wait for each other', async () => {
  const workflowId = await createWorkflow([]);
  const { ordinary } = api.testDatabase.database;
  const other = await ordinary.connect();
  const claim = (externalId: string) =>
    claimRunExternalIds(other, [{ tenantId: DEFAULT_TENANT_ID, externalId, runId: createId() }]);
  try {
    await other.query('BEGIN');
    expect((await claim('m')).size).toBe(1);
    const batch = api.request('POST', '/v1/runs/batch', {
      workflowId,
      runs: ['z', 'm', 'a'].map((externalId) => ({ externalId })),
    });
    await waitUntil('the batch waits for the other transaction', async () => {
      const rows = await query(
        `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      return rows.length > 0;
    });
    // The batch holds "a" by now, and waits for "m" without holding "z".
    expect((await claim('z')).size).toBe(1);
    await other.query('ROLLBACK');
    const { body } = await batch;
    expect(body.results.map(({ status }: { status: number }) => status)).toEqual([201, 201, 201]);
  } finally {
    other.release(true);
  }
});

test('single runs that come together share transactions, each with its own answer', async () => {
  const workflows = [await createWorkflow(), await createWorkflow([])];
  const gone = createId();
  const answers = await repeat(300, (index) =>
    api.request('POST', '/v1/runs', { workflowId: index % 10 === 9 ? gone : workflows[index % 2], input: index }),
  );
  for (const [index, answer] of answers.entries()) {
    if (index % 10 === 9) expect(answer).toMatchObject({ status: 404, body: { code: 'workflow_not_found' } });
    else expect(answer).toMatchObject({ status: 201, body: { workflowId: workflows[index % 2], input: index } });
  }
  const [row] = await query('SELECT count(*)::int AS runs, count(DISTINCT xmin::text)::int AS transactions FROM runs');
  expect(row.runs).toBe(270);
  expect(row.transactions).toBeLessThan(30);
});

const RUNS = 2_000;
const RUNS_AT_ONCE = 60;
const WORKERS = 6;

/** Runs a DAG many times over, with several workers that meet, outcomes of every kind, and cancels at any moment. */
class Race {
  readonly #random: () => number;
  readonly #workflowId: string;
  /** When the cancel of a run was acknowledged. */
  readonly cancelledAt = new Map<string, number>();
  readonly violations: string[] = [];
  #created = 0;
  #live: string[] = [];

  constructor(workflowId: string, random: () => number) {
    this.#workflowId = workflowId;
    this.#random = random;
  }

  async run(): Promise<void> {
    await Promise.all([
      this.#feed(),
      ...Array.from({ length: WORKERS }, () => this.#work()),
      this.#cancel(),
      this.#cancel(),
    ]);
  }

  get #isOver(): boolean {
    return this.#created === RUNS && this.#live.length === 0;
  }

  async #feed(): Promise<void> {
    while (!this.#isOver) {
      const rows = await query(`SELECT DISTINCT run_id FROM timers`);
      this.#live = rows.map((row) => row.run_id);
      const wanted = Math.min(RUNS - this.#created, RUNS_AT_ONCE - this.#live.length);
      if (wanted <= 0) continue;
      const body = { workflowId: this.#workflowId, runs: Array(wanted).fill({}) };
      const { body: answer } = await api.request('POST', '/v1/runs/batch', body);
      this.#live.push(...answer.results.map(({ run }: { run: { id: string } }) => run.id));
      this.#created += wanted;
    }
  }

  async #cancel(): Promise<void> {
    while (!this.#isOver) {
      const id = this.#live[Math.floor(this.#random() * this.#live.length)];
      if (id === undefined || this.#random() < 0.7) {
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      const answer = await api.request('POST', `/v1/runs/${id}/cancel`);
      if (answer.status === 200) this.cancelledAt.set(id, this.cancelledAt.get(id) ?? performance.now());
      else if (answer.body.code !== 'run_finished') this.violations.push(`cancel answered ${answer.status}`);
    }
  }

  async #work(): Promise<void> {
    const { hot } = api.testDatabase.database;
    while (!this.#isOver) {
      const limit = 1 + Math.floor(this.#random() * 8);
      const hints = await query(
        `SELECT id, version FROM timers WHERE state = 'scheduled' AND wake_at <= clock_timestamp() ORDER BY random() LIMIT $1`,
        [limit],
      );
      const beganAt = performance.now();
      const started = await startTimers(hot, hints as { id: string; version: number }[], 10_000, 60_000);
      for (const timer of started) {
        const cancelledAt = this.cancelledAt.get(timer.run_id!);
        if (cancelledAt !== undefined && cancelledAt < beganAt)
          this.violations.push(`${timer.id} started after its run's cancel was acknowledged`);
      }
      const writes = [this.#writeOutcomes(started)];
      // Now and then an outcome arrives twice.
      if (this.#random() < 0.1) writes.push(this.#writeOutcomes(started));
      await Promise.all(writes);
    }
  }

  async #writeOutcomes(started: readonly StartedTimer[]): Promise<void> {
    const { hot } = api.testDatabase.database;
    const ended: { runId: string; record: FinishedAttempt }[] = [];
    const returning: ReturningTimer[] = [];
    for (const timer of started) {
      const { id, version, run_id: runId } = timer;
      const record = {
        outcome: 'succeeded' as const,
        startedAt: Date.now(),
        latenessMs: 0,
        durationMs: 0,
        httpStatus: null,
        error: null,
        responseBody: null,
      };
      const dice = this.#random();
      if (dice < 0.1)
        returning.push({ id, version, runId: runId!, waitMs: 0, record: { ...record, outcome: 'retryable' } });
      else if (dice < 0.2) returning.push({ id, version, runId: runId!, waitMs: 0, record: null });
      else if (dice < 0.25)
        ended.push({ runId: runId!, record: { ...record, id, version, state: 'dead', outcome: 'permanent' } });
      else ended.push({ runId: runId!, record: { ...record, id, version, state: 'succeeded' } });
    }
    const { workflowVersions } = api.context;
    const finish = () =>
      endRunTimers(
        hot,
        workflowVersions,
        ended.map(({ runId }) => runId),
        (client) =>
          finishTimers(
            client,
            ended.map(({ record }) => record),
          ),
      );
    const works = [
      ended.length > 0 && finish,
      returning.length > 0 && (() => returnRunTimers(hot, workflowVersions, returning)),
    ];
    if (this.#random() < 0.5) works.reverse();
    for (const work of works) if (work) await work();
  }
}

interface EndedRun {
  id: string;
  status: string;
  task_states: string;
  finished_at: number | null;
  timers: { key: string; state: TaskState; created: number; finished: number }[] | null;
}

/** What is inconsistent about a run that has come to its end. */
function findFaults(run: EndedRun, isCancelAcknowledged: boolean): string[] {
  const faults: string[] = [];
  const states = new Map(decodeTaskStates(run.task_states).map((state, index) => [TASKS[index]!.key, state]));
  const timers = Map.groupBy(run.timers ?? [], (timer) => timer.key);
  const isDone = (key: string) => states.get(key) === 'succeeded';
  for (const { key, after = [] } of TASKS) {
    const own = timers.get(key) ?? [];
    const state = states.get(key)!;
    if (own.length > 1) faults.push(`${key} was begun ${own.length} times`);
    if (own.length === 1 && own[0]!.state !== state)
      faults.push(`${key} is ${state} in the run and ${own[0]!.state} in its timer`);
    if (own.length === 0 && state !== 'pending') faults.push(`${key} is ${state} without a timer`);
    if (own.length === 1 && !after.every(isDone)) faults.push(`${key} was begun before all of ${after} had succeeded`);
    if (own.length === 0 && after.every(isDone) && run.status !== 'cancelled') faults.push(`${key} was never begun`);
  }
  const all = [...states.values()];
  const expected = isCancelAcknowledged ? 'cancelled' : all.includes('dead') ? 'failed' : 'succeeded';
  if (run.status !== expected) faults.push(`it is ${run.status}, not ${expected}: ${run.task_states}`);
  if (expected === 'succeeded' && !all.every((state) => state === 'succeeded'))
    faults.push(`it has not succeeded: ${run.task_states}`);
  if (run.finished_at === null) faults.push('it has no end');
  return faults;
}

test('thousands of runs cancelled at any moment end consistent: no task twice, every join once, nothing starts after', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const race = new Race(await createWorkflow(), createRandom(seed));
  await race.run();
  const runs = (
    await query(
      `SELECT id, status, task_states, finished_at,
       (SELECT json_agg(json_build_object('key', task_key, 'state', state)) FROM (
          SELECT task_key, state FROM finished_timers WHERE run_id = r.id
          UNION ALL SELECT task_key, state FROM dead_letters WHERE run_id = r.id
          UNION ALL SELECT task_key, state FROM timers WHERE run_id = r.id) AS t) AS timers
     FROM runs AS r`,
    )
  ).map((row) => ({ ...row, timers: row.timers === null ? null : JSON.parse(row.timers) })) as EndedRun[];
  expect(runs).toHaveLength(RUNS);
  const faults = runs.flatMap((run) =>
    findFaults(run, race.cancelledAt.has(run.id)).map((fault) => `${run.id}: ${fault}`),
  );
  expect([...race.violations, ...faults].slice(0, 20), `seed ${seed}`).toEqual([]);
  const report = await readLedger(api.testDatabase.database);
  expect(report).toMatchObject({ differences: [], stuckRunCount: 0, total: { scheduled: 0, running: 0, paused: 0 } });
  // The race was one: runs ended in every way.
  const counts = Map.groupBy(runs, (run) => run.status);
  for (const status of ['succeeded', 'failed', 'cancelled'])
    expect(counts.get(status)?.length ?? 0, status).toBeGreaterThan(RUNS / 50);
}, 180_000);
