import {
  type AttemptRecord,
  endRunTimers,
  finishTimers,
  inTransaction,
  mendRun,
  readLedger,
  readStuckRunIds,
  redriveDeadLetters,
  type StartedTimer,
  type StoredTask,
  startTimers,
  storeTaskOutputs,
  WorkflowVersions,
} from '@punctual/database';
import { beginRunTree, DEFAULT_TENANT_ID, encodeRunTree, setTaskState } from '@punctual/domain';
import { beginRuns, storeWorkflow, useTestDatabase, waitUntilDue } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';

const db = useTestDatabase(8);
const versions = new WorkflowVersions();

const noop = { type: 'noop' } as const;
const DIAMOND: StoredTask[] = [
  { key: 'left', action: noop },
  { key: 'right', action: noop },
  { key: 'join', after: ['left', 'right'], action: noop },
];
const MAPPED: StoredTask[] = [
  { key: 'split', action: noop },
  { key: 'each', forEach: { task: 'split', path: '' }, action: noop },
  { key: 'sum', after: ['each'], action: noop },
];
const RECORD: AttemptRecord = {
  outcome: 'succeeded',
  startedAt: 0,
  latenessMs: 0,
  durationMs: 0,
  httpStatus: 200,
  error: null,
  responseBody: null,
};

const readTimersOf = (runIds: readonly string[]) =>
  db.database.kysely.selectFrom('timers').selectAll().where('run_id', 'in', runIds).orderBy('path').execute();
const readRun = async (id: string) =>
  (await db.database.kysely.selectFrom('runs').selectAll().where('id', '=', id).execute())[0]!;
const query = (text: string, values: unknown[]) => db.database.ordinary.query(text, values);
const mend = (runId: string) => mendRun(db.database.ordinary, versions, runId);

async function startAll(runIds: readonly string[]): Promise<StartedTimer[]> {
  const timers = await readTimersOf(runIds);
  await waitUntilDue(
    db.database,
    timers.map(({ id }) => id),
  );
  const started: StartedTimer[] = [];
  for (let from = 0; from < timers.length; from += 64) {
    started.push(...(await startTimers(db.database.hot, timers.slice(from, from + 64), 60_000, 0)));
  }
  return started;
}

const toOutcomes = (timers: readonly StartedTimer[]) =>
  timers.map(({ id, version }) => ({ ...RECORD, id, version, state: 'succeeded' as const }));

/** As the worker writes outcomes. */
const end = (timers: readonly StartedTimer[], output?: string) =>
  endRunTimers(
    db.database.hot,
    versions,
    timers.map((timer) => timer.run_id!),
    async (client) => (await finishTimers(client, toOutcomes(timers))).map((timer) => ({ ...timer, output })),
  );

/** As a worker would that forgets the runs. */
const endUnnoticed = (timers: readonly StartedTimer[]) => finishTimers(db.database.hot, toOutcomes(timers));

async function beginOne(tasks: readonly StoredTask[]): Promise<string> {
  const [id] = await beginRuns(db.database, versions, await storeWorkflow(db.database, tasks), 1);
  return id!;
}

async function findStuck(): Promise<string[]> {
  const found: string[] = [];
  let cursor: Parameters<typeof readStuckRunIds>[1];
  do {
    const { stuck, next } = await readStuckRunIds(db.database.ordinary, cursor);
    found.push(...stuck);
    cursor = next;
  } while (cursor !== undefined);
  return found;
}

async function finishRun(runId: string): Promise<void> {
  while ((await readTimersOf([runId])).length > 0) await end(await startAll([runId]));
}

describe('a run of which nothing is live', () => {
  it('goes on where its tasks have ended unnoticed', async () => {
    const runId = await beginOne(DIAMOND);
    await endUnnoticed(await startAll([runId]));
    expect(await findStuck()).toContain(runId);
    expect(await mend(runId)).toEqual({ tasksEnded: 2, tasksLost: 0 });
    expect((await readTimersOf([runId])).map(({ task_key: key }) => key)).toEqual(['join']);
    expect(await findStuck()).not.toContain(runId);
    await finishRun(runId);
    expect(await readRun(runId)).toMatchObject({ status: 'succeeded', task_states: 'sss' });
  });

  it('ends by the state that its tasks tell, when nothing is to follow', async () => {
    const runId = await beginOne([{ key: 'only', action: noop }]);
    await endUnnoticed(await startAll([runId]));
    expect(await mend(runId)).toEqual({ tasksEnded: 1, tasksLost: 0 });
    expect(await readRun(runId)).toMatchObject({ status: 'succeeded', finished_at: expect.any(Number) });
  });

  it('fails by tasks whose timers are gone without a trace, and its dead letters may be sent again', async () => {
    const before = await readLedger(db.database);
    const runId = await beginOne(DIAMOND);
    await query('DELETE FROM timers WHERE run_id = $1', [runId]);
    expect(await mend(runId)).toEqual({ tasksEnded: 0, tasksLost: 2 });
    expect((await readRun(runId)).status).toBe('failed');
    const letters = await db.database.kysely
      .selectFrom('dead_letters')
      .selectAll()
      .where('run_id', '=', runId)
      .execute();
    expect(letters.map((letter) => letter.error)).toEqual(Array(2).fill(expect.stringMatching(/without a trace/)));
    const ledger = await readLedger(db.database);
    // What is lost stays lost in the books.
    expect(ledger.differences).toHaveLength(1);
    expect(ledger.differences[0]!.detail).toMatch(/2 are neither live nor finished/);
    expect(ledger.review).toMatchObject({
      mended: before.review.mended + 1,
      tasksLost: before.review.tasksLost + 2,
    });
    await inTransaction(db.database.ordinary, (client) =>
      redriveDeadLetters(
        client,
        versions,
        DEFAULT_TENANT_ID,
        letters.map(({ id }) => id),
      ),
    );
    await finishRun(runId);
    expect((await readRun(runId)).status).toBe('succeeded');
    await query(
      'INSERT INTO ledger_entries (tenant_id, partition, created) SELECT tenant_id, partition, -2 FROM runs WHERE id = $1',
      [runId],
    );
    expect((await readLedger(db.database)).isBalanced).toBe(true);
  });

  it('goes on with what its elements have come to, and opens scopes that nobody opened', async () => {
    const joined = await beginOne(MAPPED);
    await end(await startAll([joined]), '[1,2,3]');
    await endUnnoticed(await startAll([joined]));
    expect(await mend(joined)).toEqual({ tasksEnded: 3, tasksLost: 0 });
    expect((await readTimersOf([joined])).map(({ task_key: key }) => key)).toEqual(['sum']);

    const unopened = await beginOne(MAPPED);
    const tree = beginRunTree(MAPPED);
    setTaskState(tree, 'split', [], 'succeeded');
    await endUnnoticed(await startAll([unopened]));
    await storeTaskOutputs(db.database.hot, [
      { runId: unopened, tenantId: DEFAULT_TENANT_ID, taskKey: 'split', path: '', output: '[1,2]' },
    ]);
    await query('UPDATE runs SET task_states = $2 WHERE id = $1', [unopened, encodeRunTree(tree)]);
    expect(await mend(unopened)).toEqual({ tasksEnded: 0, tasksLost: 0 });
    expect((await readTimersOf([unopened])).map(({ path }) => path)).toEqual(['0000', '0001']);
    for (const runId of [joined, unopened]) {
      await finishRun(runId);
      expect((await readRun(runId)).status).toBe('succeeded');
    }
  });

  it('is entered in the audit log by the reviewer, once however many come to mend it', async () => {
    const runId = await beginOne(DIAMOND);
    await endUnnoticed(await startAll([runId]));
    const mended = await Promise.all(Array.from({ length: 4 }, () => mend(runId)));
    expect(mended.filter((one) => one !== undefined)).toHaveLength(1);
    const { rows } = await query(
      'SELECT actor, action, details::text FROM audit_log WHERE target_ids @> ARRAY[$1::uuid]',
      [runId],
    );
    expect(rows).toEqual([
      { actor: 'reviewer', action: 'run.mend', details: JSON.stringify({ tasksEnded: 2, tasksLost: 0 }) },
    ]);
    await finishRun(runId);
  });

  it('stays as it is when it can not be understood', async () => {
    const runId = await beginOne(DIAMOND);
    await endUnnoticed(await startAll([runId]));
    await query(`UPDATE runs SET task_states = 'l?p' WHERE id = $1`, [runId]);
    await expect(mend(runId)).rejects.toThrow(RangeError);
    expect(await readRun(runId)).toMatchObject({ status: 'running', task_states: 'l?p' });
    expect(await findStuck()).toContain(runId);
    await query(`UPDATE runs SET task_states = 'llp' WHERE id = $1`, [runId]);
    expect(await mend(runId)).toEqual({ tasksEnded: 2, tasksLost: 0 });
    await finishRun(runId);
  });
});

it('thousands of runs that move are neither found nor touched, whenever they are looked at', async () => {
  const RUNS = 3_000;
  const chain: StoredTask[] = [
    { key: 'one', action: noop },
    { key: 'two', after: ['one'], action: noop },
    { key: 'three', after: ['two'], action: noop },
  ];
  const workflowId = await storeWorkflow(db.database, chain);
  const runIds: string[] = [];
  while (runIds.length < RUNS) runIds.push(...(await beginRuns(db.database, versions, workflowId, 1_000)));
  const broken = new Set(runIds.slice(0, 5));
  await endUnnoticed(await startAll([...broken]));
  let isMoving = true;
  const found = new Set<string>();
  let mended = 0;
  let looks = 0;
  const review = async () => {
    do {
      for (const id of await findStuck()) found.add(id);
      // Whoever is wrong about a run asks again under its lock.
      const [some] = runIds.slice(5 + ((looks * 7) % (RUNS - 5)));
      if ((await mend(some!)) !== undefined) mended += 1;
      looks += 1;
    } while (isMoving);
  };
  const move = async (ids: readonly string[]) => {
    for (let round = 0; round < chain.length; round += 1) {
      const started = await startAll(ids);
      for (let from = 0; from < started.length; from += 200) await end(started.slice(from, from + 200));
    }
  };
  const moving = Promise.all([0, 1, 2].map((lane) => move(runIds.slice(5).filter((_, index) => index % 3 === lane))));
  const reviewing = review();
  await moving;
  isMoving = false;
  await reviewing;
  expect(looks).toBeGreaterThan(3);
  expect(found).toEqual(broken);
  expect(mended).toBe(0);
  for (const id of broken) expect(await mend(id)).toEqual({ tasksEnded: 1, tasksLost: 0 });
  await move([...broken]);
  const { rows } = await query(
    `SELECT count(*) FILTER (WHERE status = 'succeeded')::int AS ended,
       (SELECT count(*)::int FROM finished_timers AS f WHERE f.run_id = ANY ($1)) AS timers
     FROM runs WHERE id = ANY ($1)`,
    [runIds],
  );
  expect(rows).toEqual([{ ended: RUNS, timers: RUNS * chain.length }]);
}, 120_000);
