import { endRunReview, readLedger, readRunReview, type StoredTask, WorkflowVersions } from '@punctual/database';
import { beginRuns, createTestLogger, storeWorkflow, useTestDatabase, withoutFaults } from '@punctual/testkit';
import { Registry } from 'prom-client';
import { beforeEach, describe, expect, it } from 'vitest';
import { createSchedulerMetrics } from '../metrics.ts';
import { RunReviewer } from '../run-reviewer.ts';

const db = useTestDatabase(4);
const versions = new WorkflowVersions();
const TASKS: StoredTask[] = [
  { key: 'first', action: { type: 'noop' } },
  { key: 'last', after: ['first'], action: { type: 'noop' } },
];
/** More than one step mends. */
const MANY = 150;
/** Each step of a review is one turn, and there are few. */
const TURNS_MAX = 50;

const query = (text: string, values: unknown[] = []) => db.database.ordinary.query(text, values);
const readStatuses = async (ids: readonly string[]) =>
  (await query('SELECT status, count(*)::int AS count FROM runs WHERE id = ANY ($1) GROUP BY 1', [ids])).rows;
/** Takes their timers away, as a hand in the database would. */
const strand = (ids: readonly string[]) => query('DELETE FROM timers WHERE run_id = ANY ($1)', [ids]);

beforeEach(async () => {
  await query('TRUNCATE runs, timers CASCADE');
  await endRunReview(db.database.ordinary, 0, 0);
});

/** One whole review, and how many steps it took. */
async function review() {
  const metrics = createSchedulerMetrics(new Registry());
  const { logger, lines } = createTestLogger();
  const options = { database: db.service, versions, isLeading: () => true, intervalMs: 600_000, metrics, logger };
  const reviewer = new RunReviewer(options);
  const before = (await readRunReview(db.database.ordinary)).endedAt;
  const isOver = async () => (await readRunReview(db.database.ordinary)).endedAt !== before;
  let turns = 0;
  for (; !(await isOver()) && turns < TURNS_MAX; turns += 1) await withoutFaults(() => reviewer.runOnce());
  expect(await isOver()).toBe(true);
  const read = async (name: 'runsMended' | 'runsUnmendable' | 'runsReviewed') =>
    (await metrics[name].get()).values[0]!.value;
  return {
    turns,
    lines,
    reviewed: await read('runsReviewed'),
    mended: await read('runsMended'),
    unmendable: await read('runsUnmendable'),
  };
}

describe('a review', () => {
  it('mends the runs of which nothing is live, so many a step, and touches no others', async () => {
    const workflowId = await storeWorkflow(db.database, TASKS);
    const healthy = await beginRuns(db.database, versions, workflowId, 20);
    const stuck = await beginRuns(db.database, versions, workflowId, MANY);
    await strand(stuck);
    const timers = (await query('SELECT id, version FROM timers ORDER BY id')).rows;
    const before = await readRunReview(db.database.ordinary);

    const { turns, reviewed, mended, unmendable, lines } = await review();
    expect({ reviewed, mended, unmendable }).toEqual({ reviewed: 20 + MANY, mended: MANY, unmendable: 0 });
    expect(turns, 'steps').toBeGreaterThan(2);
    expect(await readStatuses(stuck)).toEqual([{ status: 'failed', count: MANY }]);
    expect(await readStatuses(healthy)).toEqual([{ status: 'running', count: 20 }]);
    expect((await query('SELECT id, version FROM timers ORDER BY id')).rows).toEqual(timers);
    expect(lines.filter(({ message }) => String(message).startsWith('mended a run'))).toHaveLength(MANY);
    const after = await readRunReview(db.database.ordinary);
    expect(after.mended - before.mended).toBe(MANY);
    expect((await readLedger(db.database)).review).toMatchObject({ reviewed: 20 + MANY, unmendable: 0 });
  });

  it('leaves what it can not understand, however much that is, says so, and mends those behind it', async () => {
    const workflowId = await storeWorkflow(db.database, TASKS);
    const odd = await beginRuns(db.database, versions, workflowId, MANY);
    await strand(odd);
    await query("UPDATE runs SET task_states = 'ss and more' WHERE id = ANY ($1)", [odd]);
    const stuck = await beginRuns(db.database, versions, workflowId, 5);
    await strand(stuck);

    for (const mended of [5, 0]) {
      const found = await review();
      expect({ mended: found.mended, unmendable: found.unmendable }).toEqual({ mended, unmendable: MANY });
      expect(found.lines.filter(({ message }) => message === 'a run is stuck and can not be mended')).toHaveLength(
        MANY,
      );
    }
    expect(await readStatuses(odd)).toEqual([{ status: 'running', count: MANY }]);
    expect(await readStatuses(stuck)).toEqual([{ status: 'failed', count: 5 }]);
    expect(await readRunReview(db.database.ordinary)).toMatchObject({ unmendable: MANY });
  });
});
