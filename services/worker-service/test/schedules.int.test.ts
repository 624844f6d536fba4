import {
  armSchedule,
  connectDatabase,
  createSchedule,
  inTransaction,
  readSchedule,
  type ScheduleRow,
  type ScheduleSpec,
  type StartedTimer,
  saveSchedule,
  startTimers,
  turnSchedule,
  WorkflowVersions,
} from '@punctual/database';
import { createId } from '@punctual/domain';
import { storeWorkflow, TEST_PARTITION_COUNT, useTestDatabase } from '@punctual/testkit';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { createWorkerMetrics } from '../metrics.ts';
import { ScheduleWorker } from '../system/schedule.ts';

const db = useTestDatabase(6);
const versions = new WorkflowVersions();
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const NOOP = JSON.stringify({ type: 'noop' });

const openWorker = (database = db.database) =>
  new ScheduleWorker({
    database,
    workflowVersions: versions,
    partitionCount: TEST_PARTITION_COUNT,
    metrics: createWorkerMetrics(new Registry()),
  });

interface Wanted {
  spec?: Partial<ScheduleSpec>;
  row?: Partial<ScheduleRow>;
  /** How long ago its last occurrence was handled (ms). */
  agoMs?: number;
}

/** A schedule that occurs every ten minutes, of a tenant of its own, with its timer. */
async function store({ spec, row, agoMs = 10.5 * MINUTE_MS }: Wanted = {}): Promise<ScheduleRow> {
  const handledAt = Math.floor((Date.now() - agoMs) / MINUTE_MS) * MINUTE_MS;
  const times: ScheduleSpec = {
    rule: { type: 'interval', value: 10, unit: 'minutes' },
    timeZone: 'UTC',
    startAt: null,
    endAt: null,
    jitterMs: 0,
    overlap: 'allow',
    missedRuns: { policy: 'last' },
    ...spec,
  };
  const stored: ScheduleRow = {
    id: createId(),
    tenant_id: createId(),
    name: null,
    status: 'active',
    version: 1,
    spec: JSON.stringify(times),
    workflow_id: null,
    input: null,
    action: NOOP,
    payload: null,
    retry: null,
    timeout_ms: null,
    labels: null,
    priority: null,
    anchor_at: handledAt,
    handled_at: handledAt,
    waiting: [],
    next_at: handledAt + 10 * MINUTE_MS,
    next_due_at: handledAt + 10 * MINUTE_MS,
    timer_id: null,
    last_target_id: null,
    last_begun_at: null,
    last_occurrence_at: null,
    failure: null,
    live_timers_max: null,
    created_at: handledAt,
    updated_at: handledAt,
    ...row,
  };
  return inTransaction(db.database.hot, async (client) => {
    const armed = await armSchedule(client, stored, TEST_PARTITION_COUNT);
    await createSchedule(client, armed);
    return armed;
  });
}

const read = async ({ tenant_id, id }: ScheduleRow) => (await readSchedule(db.database.hot, tenant_id, id))!;

async function start(schedule: ScheduleRow): Promise<StartedTimer> {
  const { rows } = await db.database.ordinary.query('SELECT version FROM timers WHERE id = $1', [schedule.timer_id]);
  const hint = { id: schedule.timer_id!, version: rows[0].version as number };
  const [timer] = await startTimers(db.database.hot, [hint], 10_000, 15_000);
  return timer!;
}

async function readTimers(schedule: ScheduleRow): Promise<number[]> {
  const { rows } = await db.database.ordinary.query<{ due_at: number }>(
    `SELECT due_at FROM timers WHERE tenant_id = $1 ORDER BY due_at`,
    [schedule.tenant_id],
  );
  return rows.map(({ due_at }) => due_at);
}

it('a turn begins what is due, and moves its timer to the next occurrence in the same transaction', async () => {
  const schedule = await store();
  const timer = await start(schedule);
  expect(await openWorker().run(schedule.id, timer)).toBe('moved');
  const [first, next] = [schedule.next_at!, schedule.next_at! + 10 * MINUTE_MS];
  expect(await readTimers(schedule)).toEqual([first]);
  expect(await read(schedule)).toMatchObject({ handled_at: first, next_at: next, last_occurrence_at: first });
  const { rows } = await db.database.ordinary.query('SELECT state, wake_at, version FROM timers WHERE id = $1', [
    timer.id,
  ]);
  expect(rows).toEqual([{ state: 'scheduled', wake_at: next, version: timer.version + 1 }]);
});

it('a turn that is made twice at once, or again by one who stood still, begins nothing twice', async () => {
  const schedule = await store();
  const timer = await start(schedule);
  const turns = await Promise.all([1, 2, 3, 4, 5].map(() => openWorker().run(schedule.id, timer)));
  expect(turns.filter((turn) => turn === 'moved')).toHaveLength(1);
  for (const turn of turns) if (turn !== 'moved') expect(turn).toMatchObject({ againInMs: expect.any(Number) });
  expect(await readTimers(schedule)).toHaveLength(1);
});

it('a turn that was rolled back has begun nothing, and is made again', async () => {
  const schedule = await store();
  const timer = await start(schedule);
  const isUndone = inTransaction(db.database.hot, async (client) => {
    await turnSchedule(client, versions, schedule.id, timer, TEST_PARTITION_COUNT);
    throw new Error('the worker died');
  });
  await expect(isUndone).rejects.toThrow('the worker died');
  expect(await readTimers(schedule)).toEqual([]);
  expect(await openWorker().run(schedule.id, timer)).toBe('moved');
  expect(await readTimers(schedule)).toHaveLength(1);
});

it('one external id names one occurrence: what was begun for it is not begun again', async () => {
  const schedule = await store();
  await openWorker().run(schedule.id, await start(schedule));
  const { last_target_id } = await read(schedule);
  // As if its progress had been lost.
  await inTransaction(db.database.hot, (client) => saveSchedule(client, schedule));
  await db.database.ordinary.query(`UPDATE timers SET wake_at = clock_timestamp() WHERE id = $1`, [schedule.timer_id]);
  expect(await openWorker().run(schedule.id, await start(schedule))).toBe('moved');
  expect(await readTimers(schedule)).toHaveLength(1);
  expect(await read(schedule)).toMatchObject({ last_target_id, handled_at: schedule.next_at });
});

it('after the commit of a pause or of an edit, the timer of before begins nothing', async () => {
  const schedule = await store();
  const timer = await start(schedule);
  await inTransaction(db.database.hot, async (client) => {
    const paused = await armSchedule(client, { ...schedule, status: 'paused' }, TEST_PARTITION_COUNT);
    await saveSchedule(client, paused);
  });
  expect(await openWorker().run(schedule.id, timer)).toBe('done');
  expect(await readTimers(schedule)).toEqual([]);
});

describe('what was missed', () => {
  it.each([
    ['skip', 0],
    ['last', 1],
    ['all', 5],
  ] as const)('by the policy %s is begun %i times', async (policy, count) => {
    const missedRuns = policy === 'all' ? { policy, windowMs: HOUR_MS } : { policy };
    // Five occurrences ago, the last of them some minutes late.
    const schedule = await store({ spec: { missedRuns }, agoMs: 54 * MINUTE_MS });
    await openWorker().run(schedule.id, await start(schedule));
    expect(await readTimers(schedule)).toHaveLength(count);
    expect((await read(schedule)).next_at).toBeGreaterThan(Date.now());
  });

  it('in a turn costs little more than a run may: the rest of what asks costly conditions follows in the next ones', async () => {
    // Each of these conditions takes more than half of what a turn may cost.
    const costly = (key: string) => ({ key, action: { type: 'noop' as const }, when: `input.all(n, n < 1000)` });
    const keys = Array.from({ length: 250 }, (_, index) => `t${index}`);
    const workflowId = await storeWorkflow(db.database, keys.map(costly));
    const { rows } = await db.database.ordinary.query('SELECT tenant_id FROM workflows WHERE id = $1', [workflowId]);
    const schedule = await store({
      spec: { missedRuns: { policy: 'all', windowMs: HOUR_MS } },
      row: {
        tenant_id: rows[0].tenant_id,
        workflow_id: workflowId,
        action: null,
        input: JSON.stringify(Array.from({ length: 1_000 }, (_, index) => index)),
      },
      agoMs: 34 * MINUTE_MS,
    });
    const countRuns = async () => {
      const runs = await db.database.ordinary.query<{ status: string; task_states: string }>(
        'SELECT status, task_states FROM runs WHERE workflow_id = $1',
        [workflowId],
      );
      return runs.rows.length;
    };
    const begun: number[] = [];
    for (let turns = 0; turns < 10 && begun.at(-1) !== 3; turns += 1) {
      await db.database.ordinary.query(`UPDATE timers SET wake_at = clock_timestamp() WHERE id = $1`, [
        schedule.timer_id,
      ]);
      await openWorker().run(schedule.id, await start(await read(schedule)));
      begun.push(await countRuns());
    }
    expect(begun).toEqual([2, 3]);
    const { rows: letters } = await db.database.ordinary.query(
      `SELECT error FROM dead_letters WHERE workflow_id = $1 LIMIT 1`,
      [workflowId],
    );
    expect(letters, 'each run has all that one may').toEqual([]);
  });

  it('comes in portions', async () => {
    const spec: Partial<ScheduleSpec> = {
      rule: { type: 'interval', value: 10, unit: 'seconds' },
      missedRuns: { policy: 'all', windowMs: HOUR_MS },
    };
    const schedule = await store({ spec, agoMs: 10.5 * MINUTE_MS });
    const due = Math.floor((Date.now() - schedule.handled_at) / 10_000);
    for (let turns = 1; (await read(schedule)).next_at! <= Date.now(); turns += 1) {
      expect(turns).toBeLessThan(10);
      await openWorker().run(schedule.id, await start(await read(schedule)));
    }
    const begun = await readTimers(schedule);
    expect(begun.length).toBeGreaterThanOrEqual(due);
    expect(begun).toEqual(begun.map((_, index) => schedule.handled_at + (index + 1) * 10_000));
  });
});

it('without room for another live timer an occurrence waits until there is some', async () => {
  const schedule = await store({ row: { live_timers_max: 0 } });
  expect(await openWorker().run(schedule.id, await start(schedule))).toBe('moved');
  const barred = await read(schedule);
  expect(JSON.parse(barred.failure!)).toMatchObject({ code: 'quota_exceeded' });
  expect(barred.handled_at).toBe(schedule.handled_at);
  await inTransaction(db.database.hot, (client) => saveSchedule(client, { ...barred, live_timers_max: 1 }));
  await db.database.ordinary.query(`UPDATE timers SET wake_at = clock_timestamp() WHERE id = $1`, [schedule.timer_id]);
  await openWorker().run(schedule.id, await start(schedule));
  expect(await readTimers(schedule)).toHaveLength(1);
  expect((await read(schedule)).failure).toBeNull();
});

it('with its workflow archived a schedule ends, and says why', async () => {
  const workflowId = await storeWorkflow(db.database, [{ key: 'a', action: { type: 'noop' } }]);
  await db.database.ordinary.query(`UPDATE workflows SET status = 'archived' WHERE id = $1`, [workflowId]);
  const { rows } = await db.database.ordinary.query('SELECT tenant_id FROM workflows WHERE id = $1', [workflowId]);
  const schedule = await store({ row: { tenant_id: rows[0].tenant_id, workflow_id: workflowId, action: null } });
  expect(await openWorker().run(schedule.id, await start(schedule))).toBe('done');
  expect(await read(schedule)).toMatchObject({ status: 'ended', timer_id: null, next_at: null });
});

it('what a tenant has thousands of is put off in good order, and nobody else waits for it', async () => {
  const tenantId = createId();
  const schedules: ScheduleRow[] = [];
  for (let count = 0; count < 90; count += 1) schedules.push(await store({ row: { tenant_id: tenantId } }));
  const other = await store();
  const timers: StartedTimer[] = [];
  for (const schedule of schedules) timers.push(await start(schedule));
  const [otherTimer, worker] = [await start(other), openWorker()];
  let done = 0;
  const turns = schedules.map(async ({ id }, index) => {
    const turn = await worker.run(id, timers[index]!, tenantId);
    done += 1;
    return turn;
  });
  const [otherTurn, doneBefore] = await worker
    .run(other.id, otherTimer, other.tenant_id)
    .then((turn) => [turn, done] as const);
  expect(otherTurn).toBe('moved');
  const all = await Promise.all(turns);
  const putOff = all.flatMap((turn) => (typeof turn === 'object' ? turn.againInMs : []));
  expect(all.filter((turn) => turn === 'moved')).toHaveLength(3 + 64);
  expect(putOff).toHaveLength(90 - 67);
  expect(putOff).toEqual(putOff.toSorted((a, b) => a - b));
  expect(doneBefore - putOff.length, 'it has its turn between two of theirs').toBeLessThan(12);
  // As the worker writes it down, and the next one finds it.
  expect(await worker.run(schedules.at(-1)!.id, timers.at(-1)!, tenantId)).toBe('moved');
});

it('many turns share few connections', async () => {
  const database = connectDatabase({ connectionString: db.url, applicationName: 'punctual-test', poolSizeMax: 3 });
  try {
    const schedules = await Promise.all(Array.from({ length: 30 }, () => store()));
    const timers = await Promise.all(schedules.map(start));
    const worker = openWorker(database);
    const turns = await Promise.all(schedules.map(({ id }, index) => worker.run(id, timers[index]!)));
    expect(turns).toEqual(turns.map(() => 'moved'));
  } finally {
    await database.close();
  }
});
