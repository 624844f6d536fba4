import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  cancelTimers,
  createRuns,
  createSkippedTimers,
  createTimers,
  dismissDeadLetter,
  type FinishedAttempt,
  finishTimers,
  foldLedger,
  type NewTimer,
  readLedger,
  startTimers,
} from '@punctual/database';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { createTestDatabase, makeTimer, type TestDatabase } from '@punctual/testkit';
import { afterEach, beforeEach, expect, test } from 'vitest';

let testDatabase: TestDatabase;
beforeEach(async () => {
  testDatabase = await createTestDatabase();
});
afterEach(async () => {
  await testDatabase.drop();
});

const read = (options?: Parameters<typeof readLedger>[1]) => readLedger(testDatabase.database, options);
const query = (text: string, values: unknown[] = []) => testDatabase.database.ordinary.query(text, values);

async function create(count: number, fields: Partial<NewTimer> = {}): Promise<NewTimer[]> {
  const timers = Array.from({ length: count }, () => makeTimer(fields));
  await createTimers(testDatabase.database.hot, timers);
  return timers;
}

/** Starts due timers at their first version. */
async function start(timers: readonly NewTimer[]) {
  const hints = timers.map(({ id }) => ({ id, version: 1 }));
  const started = await startTimers(testDatabase.database.hot, hints, 10_000, 5_000);
  expect(started).toHaveLength(timers.length);
  return started;
}

const finished = (id: string, version: number, state: 'succeeded' | 'dead'): FinishedAttempt => ({
  id,
  version,
  state,
  outcome: state === 'dead' ? 'permanent' : 'succeeded',
  startedAt: Date.now(),
  latenessMs: 1,
  durationMs: 1,
  httpStatus: 200,
  error: null,
  responseBody: null,
});

async function finish(timers: readonly NewTimer[], state: 'succeeded' | 'dead'): Promise<void> {
  const started = await start(timers);
  await finishTimers(
    testDatabase.database.hot,
    started.map(({ id, version }) => finished(id, version, state)),
  );
}

const past = () => ({ dueAt: Date.now() - 1_000 });
const later = () => ({ dueAt: Date.now() + 3_600_000 });

test('timers that live and end in every way are all accounted for', async () => {
  await create(3, later());
  const running = await create(2, past());
  await start(running);
  await finish(await create(4, past()), 'succeeded');
  await finish(await create(5, past()), 'dead');
  const unwanted = await create(6, later());
  await cancelTimers(
    testDatabase.database.hot,
    DEFAULT_TENANT_ID,
    unwanted.map(({ id }) => id),
  );
  await createSkippedTimers(
    testDatabase.database.hot,
    Array.from({ length: 7 }, () => makeTimer()),
  );
  const report = await read();
  expect(report.differences).toEqual([]);
  expect(report.isBalanced).toBe(true);
  expect(report.total).toEqual({
    created: 27,
    scheduled: 3,
    running: 2,
    paused: 0,
    succeeded: 4,
    dead: 5,
    cancelled: 6,
    skipped: 7,
    dismissed: 0,
    deadLetters: 5,
  });
  const summed = report.lines.reduce((sum, line) => sum + line.created, 0);
  expect(summed).toBe(27);
  expect(report.lineCount).toBe(report.lines.length);
});

test('an empty database is balanced', async () => {
  const report = await read();
  expect(report).toMatchObject({ isBalanced: true, lines: [], lineCount: 0, overdueCount: 0, stuckRunCount: 0 });
  expect(report.total.created).toBe(0);
});

test('a timer deleted behind its back is named by tenant and partition', async () => {
  const [lost] = await create(20, later());
  await query('DELETE FROM timers WHERE id = $1', [lost!.id]);
  const report = await read();
  expect(report.isBalanced).toBe(false);
  expect(report.differenceCount).toBe(1);
  expect(report.differences).toHaveLength(1);
  const [difference] = report.differences;
  expect(difference).toMatchObject({ tenantId: DEFAULT_TENANT_ID, partition: lost!.partition, of: 'timers' });
  expect(difference!.booked - difference!.found).toBe(1);
  expect(difference!.detail).toContain('1 is neither live nor finished');
});

test('a timer inserted behind its back is named by tenant and partition', async () => {
  await create(20, later());
  const stray = makeTimer({ ...later(), tenantId: createId() });
  await query(
    `INSERT INTO timers (id, tenant_id, partition, wake_at, due_at, created_at) VALUES ($1, $2, $3, now() + '1h', now() + '1h', now())`,
    [stray.id, stray.tenantId, stray.partition],
  );
  const report = await read();
  expect(report.differences).toHaveLength(1);
  expect(report.differences[0]).toMatchObject({
    tenantId: stray.tenantId,
    partition: stray.partition,
    booked: 0,
    found: 1,
  });
  expect(report.differences[0]!.detail).toContain('1 is live or finished that nobody created');
});

test('a loss in one partition is not made up for by a surplus in another', async () => {
  const [lost] = await create(1, { ...later(), partition: 3 });
  await query('UPDATE timers SET partition = 4 WHERE id = $1', [lost!.id]);
  const report = await read();
  expect(report.differences.map(({ partition, booked, found }) => ({ partition, booked, found }))).toEqual([
    { partition: 3, booked: 1, found: 0 },
    { partition: 4, booked: 0, found: 1 },
  ]);
});

test('a dead letter inserted behind its back is named, a dismissed one is not', async () => {
  const [stray, dismissed] = await create(2, { ...past(), partition: 5 });
  await finish([stray!, dismissed!], 'dead');
  expect(await dismissDeadLetter(testDatabase.database.ordinary, DEFAULT_TENANT_ID, dismissed!.id)).toBe(true);
  expect(await read()).toMatchObject({ isBalanced: true, total: { dead: 2, deadLetters: 1 } });
  await query(
    `INSERT INTO dead_letters (id, tenant_id, due_at, created_at, finished_at, version, state, partition, attempt)
     SELECT gen_random_uuid(), $1, now(), now(), now(), 1, 'dead', 5, 1 FROM generate_series(1, 2)`,
    [DEFAULT_TENANT_ID],
  );
  const report = await read();
  expect(report.isBalanced).toBe(false);
  expect(report.differences).toMatchObject([
    { of: 'deadLetters', partition: 5, tenantId: DEFAULT_TENANT_ID, booked: 1, found: 3 },
  ]);
});

test('a dead letter that vanished behind its back is named', async () => {
  const [lost] = await create(1, { ...past(), partition: 6 });
  await finish([lost!], 'dead');
  await query('DELETE FROM dead_letters WHERE id = $1', [lost!.id]);
  const report = await read();
  expect(report.isBalanced).toBe(false);
  expect(report.differences).toMatchObject([{ of: 'deadLetters', partition: 6, booked: 1, found: 0 }]);
});

test('overdue timers are counted, and the oldest twenty are named', async () => {
  const overdue = await create(25, { dueAt: Date.now() });
  const [lapsed] = await create(1, past());
  await start([lapsed!]);
  await create(5, later());
  await query(`UPDATE timers SET wake_at = now() - interval '61 s' WHERE id = ANY ($1)`, [overdue.map(({ id }) => id)]);
  await query(`UPDATE timers SET lease_ends_at = now() - interval '2 min' WHERE id = $1`, [lapsed!.id]);
  const report = await read();
  expect(report.overdueCount).toBe(26);
  expect(report.overdueTimers).toHaveLength(20);
  expect(report.overdueTimers[0]).toMatchObject({
    id: lapsed!.id,
    tenantId: DEFAULT_TENANT_ID,
    partition: lapsed!.partition,
    state: 'running',
  });
  expect(report.readAt - report.overdueTimers[0]!.wakeAt).toBeGreaterThan(119_000);
  expect((await read({ overdueAfterMs: 90_000 })).overdueCount).toBe(1);
});

test('a report on one tenant leaves the others out', async () => {
  const other = createId();
  await create(2, later());
  const [lost] = await create(3, { ...later(), tenantId: other });
  await query('DELETE FROM timers WHERE id = $1', [lost!.id]);
  expect(await read({ tenantId: DEFAULT_TENANT_ID })).toMatchObject({
    isBalanced: true,
    total: { created: 2, scheduled: 2 },
  });
  expect(await read({ tenantId: other })).toMatchObject({ isBalanced: false, total: { created: 3, scheduled: 2 } });
});

test('a run that is running with nothing live is named', async () => {
  const run = (id: string) => ({
    id,
    tenantId: DEFAULT_TENANT_ID,
    workflowId: createId(),
    workflowVersion: 1,
    partition: 1,
    status: 'running' as const,
    taskStates: 'l',
    input: null,
    externalId: null,
    labels: null,
    createdAt: Date.now(),
  });
  const [stuck, alive] = [run(createId()), run(createId())];
  await createRuns(testDatabase.database.hot, [stuck, alive]);
  await create(1, { ...later(), runId: alive.id });
  const report = await read();
  expect(report.stuckRunCount).toBe(1);
  expect(report.stuckRuns).toMatchObject([{ id: stuck.id, workflowId: stuck.workflowId, tenantId: DEFAULT_TENANT_ID }]);
});

test('partitions without an unexpired owner are named', async () => {
  await query(`UPDATE partition_leases SET owner_id = $1, expires_at = clock_timestamp() + interval '1 min'`, [
    createId(),
  ]);
  expect((await read()).unownedPartitions).toEqual([]);
  await query(`UPDATE partition_leases SET expires_at = clock_timestamp() - interval '1 ms' WHERE partition = 7`);
  await query('UPDATE partition_leases SET owner_id = NULL WHERE partition = 9');
  expect((await read()).unownedPartitions).toEqual([7, 9]);
});

test('every report taken while timers come and go and entries are folded is balanced', async () => {
  const { hot } = testDatabase.database;
  let isDone = false;
  const work = async () => {
    for (let turn = 0; turn < 30; turn += 1) {
      const timers = await create(5, past());
      await finish(timers.slice(0, 2), turn % 2 === 0 ? 'succeeded' : 'dead');
      await cancelTimers(hot, DEFAULT_TENANT_ID, [timers[2]!.id]);
    }
  };
  const fold = async () => {
    while (!isDone) await foldLedger(hot, 7);
  };
  const folding = [fold(), fold()];
  const working = Promise.all([work(), work(), work()]);
  let reports = 0;
  const watch = async () => {
    while (!isDone) {
      const report = await read();
      expect(report.differences).toEqual([]);
      reports += 1;
    }
  };
  const watching = watch();
  await working;
  isDone = true;
  await Promise.all([watching, ...folding]);
  expect(reports).toBeGreaterThan(5);
  expect((await read()).total).toMatchObject({ created: 450, scheduled: 180, cancelled: 90, succeeded: 90, dead: 90 });
});

test('a fold moves at most what it is told, says how much, and leaves the sums as they were', async () => {
  for (let turn = 0; turn < 10; turn += 1) await create(3, { ...later(), partition: turn % 2 });
  const before = await read();
  expect(await foldLedger(testDatabase.database.hot, 4)).toBe(4);
  expect(await read()).toMatchObject({ total: before.total, lines: before.lines });
  expect(await foldLedger(testDatabase.database.hot)).toBe(6);
  expect(await foldLedger(testDatabase.database.hot)).toBe(0);
  expect(await read()).toMatchObject({ total: before.total, lines: before.lines });
  const { rows } = await query('SELECT partition, created FROM ledger_totals ORDER BY partition');
  expect(rows).toEqual([
    { partition: 0, created: 15 },
    { partition: 1, created: 15 },
  ]);
  await expect(foldLedger(testDatabase.database.hot, 1_000_000)).rejects.toThrow(RangeError);
});

const COMMAND = join(import.meta.dirname, '..', 'ledger-command.ts');

function runCommand(environment: Record<string, string>, ...parameters: string[]) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const env = { PATH: process.env.PATH!, ...environment };
    execFile(process.execPath, [COMMAND, ...parameters], { env }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

test('the command exits with 0 when balanced and with 1, naming the tenant and partition, when not', async () => {
  const environment = { DATABASE_URL: testDatabase.url };
  const [lost] = await create(4, later());
  const balanced = await runCommand(environment);
  expect(balanced).toMatchObject({ code: 0, stderr: '' });
  expect(balanced.stdout).toContain('Balanced');
  await query('DELETE FROM timers WHERE id = $1', [lost!.id]);
  const unbalanced = await runCommand(environment);
  expect(unbalanced.code).toBe(1);
  expect(unbalanced.stdout).toContain(`tenant ${DEFAULT_TENANT_ID}, partition ${lost!.partition}: `);
  const json = await runCommand(environment, '--json');
  expect(json.code).toBe(1);
  expect(JSON.parse(json.stdout)).toMatchObject({ isBalanced: false, total: { created: 4, scheduled: 3 } });
}, 30_000);

test('the command finds the database of a standalone by its data folder', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'punctual-ledger-'));
  try {
    const missing = await runCommand({ PUNCTUAL_DATA_DIR: folder });
    expect(missing).toMatchObject({ code: 2, stdout: '' });
    expect(missing.stderr).toContain('no standalone runs in');
    await writeFile(join(folder, 'connection.json'), JSON.stringify({ databaseUrl: testDatabase.url }));
    expect(await runCommand({ PUNCTUAL_DATA_DIR: folder })).toMatchObject({ code: 0 });
  } finally {
    await rm(folder, { recursive: true });
  }
}, 30_000);

test('the command explains itself, and refuses what it can not read', async () => {
  expect(await runCommand({}, '--help')).toMatchObject({ code: 0, stdout: expect.stringContaining('Exit code') });
  expect(await runCommand({ DATABASE_URL: testDatabase.url }, '--overdue-ms', 'soon')).toMatchObject({ code: 2 });
  expect(await runCommand({ DATABASE_URL: testDatabase.url }, '--tenant', 'me')).toMatchObject({ code: 2 });
  const away = await runCommand({ DATABASE_URL: 'postgres://postgres@127.0.0.1:1/none' });
  expect(away.code).toBe(2);
  expect(away.stderr).toContain('ECONNREFUSED');
}, 30_000);
