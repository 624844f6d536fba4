import {
  type AttemptResult,
  connectDatabase,
  createTimers,
  type Database,
  decideOutcome,
  type StartedTimer,
  startTimers,
  WorkflowVersions,
} from '@punctual/database';
import { RETRY_DEFAULT } from '@punctual/domain';
import {
  beginRuns,
  createTestLogger,
  makeTimer,
  storeWorkflow,
  useTestDatabase,
  waitUntil,
  waitUntilDue,
} from '@punctual/testkit';
import { Registry } from 'prom-client';
import { describe, expect, it, vi } from 'vitest';
import { createWorkerMetrics } from '../metrics.ts';
import { OutcomeWriter, type OutcomeWriterOptions } from '../outcome-writer.ts';

const db = useTestDatabase(6);

function openWriter(windowMs = 5, database = db.service, options: Partial<OutcomeWriterOptions> = {}) {
  let written = 0;
  const metrics = createWorkerMetrics(new Registry());
  const writer = new OutcomeWriter({
    database,
    workflowVersions: new WorkflowVersions(),
    windowMs,
    leaseMarginMs: 60_000,
    reservePlaces: () => 0,
    freePauseMs: () => 0,
    onStarted: () => {},
    onWritten: (ids) => {
      written += ids.length;
    },
    metrics,
    logger: createTestLogger().logger,
    ...options,
  });
  const add = (timer: StartedTimer, result: Partial<AttemptResult> = {}) =>
    writer.add(decideOutcome(timer, { outcome: 'succeeded', durationMs: 1, ...result }, RETRY_DEFAULT, () => 0));
  return { writer, add, metrics, countWritten: () => written };
}

async function startNew(count: number): Promise<StartedTimer[]> {
  const timers = Array.from({ length: count }, () => makeTimer());
  for (let from = 0; from < count; from += 1_000) await createTimers(db.database.hot, timers.slice(from, from + 1_000));
  await waitUntilDue(
    db.database,
    timers.map(({ id }) => id),
  );
  return startTimers(
    db.database.hot,
    timers.map(({ id }) => ({ id, version: 1 })),
    60_000,
    60_000,
  );
}

const countIn = async (table: string, ids: readonly string[]) => {
  const { rows } = await db.database.ordinary.query(`SELECT count(*)::int AS count FROM ${table} WHERE id = ANY ($1)`, [
    ids,
  ]);
  return (rows[0] as { count: number }).count;
};

/** A database that commits, but whose answer to the first commit is lost. */
function loseFirstCommit(database: Database): Database {
  let isLost = false;
  const connect = async () => {
    const client = await database.hot.connect();
    const query = async (...parameters: unknown[]) => {
      const result = await Reflect.apply(client.query, client, parameters);
      if (parameters[0] !== 'COMMIT' || isLost) return result;
      isLost = true;
      throw new Error('Connection terminated unexpectedly');
    };
    return { query, release: (error?: Error) => client.release(error) };
  };
  return { ...database, hot: { connect } as unknown as Database['hot'] };
}

const CHAIN = [
  { key: 'a', action: { type: 'noop' as const } },
  { key: 'b', after: ['a'], action: { type: 'noop' as const } },
];

const readTimersOf = (runIds: readonly string[]) =>
  db.database.kysely.selectFrom('timers').selectAll().where('run_id', 'in', runIds).execute();

async function startRuns(count: number): Promise<StartedTimer[]> {
  const runIds = await beginRuns(db.database, new WorkflowVersions(), await storeWorkflow(db.database, CHAIN), count);
  const timers = await readTimersOf(runIds);
  await waitUntilDue(
    db.database,
    timers.map(({ id }) => id),
  );
  return startTimers(db.database.hot, timers, 60_000, 60_000);
}

describe('tasks that an outcome unlocks', () => {
  it('are started with it, as far as there are places, which are given back', async () => {
    const started: StartedTimer[] = [];
    const asked: number[] = [];
    const { writer, add, countWritten } = openWriter(5, db.service, {
      reservePlaces: (wanted) => {
        asked.push(wanted);
        return 7;
      },
      onStarted: (timers, _startedAt, places) => {
        started.push(...timers);
        expect(places).toBe(7);
      },
    });
    const ended = await startRuns(10);
    for (const timer of ended) add(timer);
    await writer.flush();
    expect(countWritten()).toBe(10);
    expect(asked).toEqual([10 + 64]);
    const rows = await readTimersOf(ended.map((timer) => timer.run_id!));
    expect(rows.map(({ task_key }) => task_key)).toEqual(Array.from({ length: 10 }, () => 'b'));
    const running = rows.filter(({ state }) => state === 'running').map(({ id }) => id);
    expect(running.toSorted()).toEqual(started.map(({ id }) => id).toSorted());
    expect(running.length).toBeLessThanOrEqual(7);
  });

  it('go back to the schedulers when nobody knows whether they were started', async () => {
    const started: StartedTimer[] = [];
    const { writer, add, metrics, countWritten } = openWriter(5, loseFirstCommit(db.service), {
      reservePlaces: (wanted) => wanted,
      onStarted: (timers) => void started.push(...timers),
    });
    const ended = await startRuns(3);
    for (const timer of ended) add(timer);
    await writer.flush();
    expect(countWritten()).toBe(3);
    expect((await metrics.outcomeWriteFailures.get()).values[0]!.value).toBe(1);
    expect(started).toEqual([]);
    const rows = await readTimersOf(ended.map((timer) => timer.run_id!));
    expect(rows).toHaveLength(3);
    for (const row of rows)
      expect(row).toMatchObject({ task_key: 'b', state: 'scheduled', attempt: 0, lease_ends_at: null });
  });
});

describe('the outcome writer', () => {
  it('writes thousands of outcomes in few statements, and tells of each once', async () => {
    const started = await startNew(3_000);
    const { writer, add, metrics, countWritten } = openWriter();
    for (const [index, timer] of started.entries()) add(timer, index % 3 === 0 ? { outcome: 'permanent' } : {});
    await writer.flush();
    expect(countWritten()).toBe(3_000);
    const ids = started.map(({ id }) => id);
    expect(await countIn('timers', ids)).toBe(0);
    expect(await countIn('dead_letters', ids)).toBe(1_000);
    expect(await countIn('finished_timers', ids)).toBe(2_000);
    const batches = (await metrics.outcomeBatchTimers.get()).values.find(({ metricName }) =>
      metricName?.endsWith('_count'),
    )!.value;
    expect(batches).toBeLessThanOrEqual(2 * (3_000 / 500) + 2);
  });

  it('waits for half of its window when no more come', async () => {
    const [timer] = await startNew(1);
    const { add, countWritten } = openWriter(20);
    const addedAt = performance.now();
    add(timer!);
    await vi.waitUntil(() => countWritten() === 1, { timeout: 5_000, interval: 5 });
    expect(performance.now() - addedAt).toBeGreaterThanOrEqual(9);
  });

  it('stores the others when one can not be stored, and that one without what the endpoint said', async () => {
    const started = await startNew(40);
    const bad = started[17]!;
    const { writer, add, countWritten } = openWriter();
    // Postgres refuses NUL in a text.
    for (const timer of started) add(timer, timer === bad ? { responseBody: 'a\0b' } : { responseBody: 'fine' });
    await writer.flush();
    expect(countWritten()).toBe(40);
    const rows = await db.database.kysely
      .selectFrom('finished_timers')
      .selectAll()
      .where(
        'id',
        'in',
        started.map(({ id }) => id),
      )
      .execute();
    expect(rows).toHaveLength(40);
    expect(rows.filter(({ response_body }) => response_body === 'fine')).toHaveLength(39);
    expect(rows.find(({ id }) => id === bad.id)).toMatchObject({
      state: 'succeeded',
      response_body: null,
      error: 'what the endpoint said could not be stored',
    });
  });

  it('ends a task dead whose output is needed and can not be stored', async () => {
    const tasks = [CHAIN[0]!, { ...CHAIN[1]!, reads: ['a'], when: 'inputs.a == null' }];
    const runIds = await beginRuns(db.database, new WorkflowVersions(), await storeWorkflow(db.database, tasks), 1);
    const timers = await readTimersOf(runIds);
    await waitUntilDue(
      db.database,
      timers.map(({ id }) => id),
    );
    const [started] = await startTimers(db.database.hot, timers, 60_000, 60_000);
    const { writer, add, countWritten } = openWriter();
    add(started!, { responseBody: '{"a": "\0"}', output: '{"a": 1}' });
    await writer.flush();
    expect(countWritten()).toBe(1);
    const dead = await db.database.kysely
      .selectFrom('dead_letters')
      .selectAll()
      .where('run_id', 'in', runIds)
      .execute();
    expect(dead).toMatchObject([
      { task_key: 'a', outcome: 'permanent', error: 'what the endpoint said could not be stored' },
    ]);
    expect(await readTimersOf(runIds)).toEqual([]);
  });

  it('tells once of many that can not be stored as they are', async () => {
    const started = await startNew(6);
    const { logger, lines } = createTestLogger();
    const { writer, add, countWritten } = openWriter(5, db.service, { logger });
    for (const timer of started) add(timer, { responseBody: 'a\0b' });
    await writer.flush();
    expect(countWritten()).toBe(started.length);
    const told = lines.filter(({ message }) => String(message).includes('could not be stored'));
    expect(told).toEqual([expect.objectContaining({ timerId: expect.any(String) })]);
  });

  it('stores a retry of a task of a run that can not be stored as it is', async () => {
    const versions = new WorkflowVersions();
    const runIds = await beginRuns(
      db.database,
      versions,
      await storeWorkflow(db.database, [{ key: 'a', action: { type: 'noop' } }]),
      3,
    );
    const timers = await db.database.kysely.selectFrom('timers').selectAll().where('run_id', 'in', runIds).execute();
    await waitUntilDue(
      db.database,
      timers.map(({ id }) => id),
    );
    const started = await startTimers(db.database.hot, timers, 60_000, 60_000);
    const { writer, add } = openWriter();
    for (const [index, timer] of started.entries())
      add(timer, { outcome: 'retryable', error: index === 1 ? 'a\0b' : 'fine' });
    await writer.flush();
    const after = await db.database.kysely.selectFrom('timers').selectAll().where('run_id', 'in', runIds).execute();
    expect(after.map(({ state, attempt }) => [state, attempt])).toEqual([1, 2, 3].map(() => ['scheduled', 1]));
  });

  it('records the outcomes of other runs while somebody holds the lock of one', async () => {
    const versions = new WorkflowVersions();
    const workflowId = await storeWorkflow(db.database, [{ key: 'a', action: { type: 'noop' } }]);
    const runIds = await beginRuns(db.database, versions, workflowId, 8);
    const timers = await db.database.kysely.selectFrom('timers').selectAll().where('run_id', 'in', runIds).execute();
    const ids = timers.map(({ id }) => id);
    await waitUntilDue(db.database, ids);
    const started = await startTimers(db.database.hot, timers, 60_000, 60_000);
    // Statements that wait for a lock are given up sooner than by default, so that the test takes less time.
    const impatient = connectDatabase({
      connectionString: db.url,
      applicationName: 'punctual-test',
      poolSizeMax: 4,
      queryTimeoutMs: 300,
    });
    const holder = await db.database.ordinary.connect();
    try {
      // Held until the test lets go: the server would end a transaction that is idle for too long.
      await holder.query('SET idle_in_transaction_session_timeout = 0');
      await holder.query('BEGIN');
      await holder.query('SELECT 1 FROM runs WHERE id = $1 FOR UPDATE', [started[0]!.run_id]);
      const { writer, add, countWritten } = openWriter(5, impatient);
      for (const timer of started) add(timer);
      await waitUntil('all but one are recorded', () => countWritten() === 7);
      expect(await countIn('finished_timers', ids)).toBe(7);
      await holder.query('ROLLBACK');
      await writer.flush();
      expect(await countIn('finished_timers', ids)).toBe(8);
    } finally {
      holder.release(true);
      await impatient.close();
    }
  });

  it('gives up an outcome that can never be stored, so that the attempt is begun again when its lease ends', async () => {
    const [timer] = await startNew(1);
    const { writer, countWritten } = openWriter();
    const outcome = decideOutcome(
      timer!,
      { outcome: 'succeeded', durationMs: 1, httpStatus: 99_999 },
      RETRY_DEFAULT,
      () => 0,
    );
    writer.add(outcome);
    await writer.flush();
    expect(countWritten()).toBe(1);
    expect(await countIn('timers', [timer!.id])).toBe(1);
  });

  it('counts outcomes of lapsed leases as void', async () => {
    const [timer] = await startNew(1);
    const { writer, add, metrics, countWritten } = openWriter();
    add({ ...timer!, version: timer!.version - 1 });
    await writer.flush();
    expect(countWritten()).toBe(1);
    expect((await metrics.outcomesVoid.get()).values[0]!.value).toBe(1);
    expect(await countIn('timers', [timer!.id])).toBe(1);
  });

  it('is done at once when there is nothing to write', async () => {
    await openWriter().writer.flush();
  });
});
