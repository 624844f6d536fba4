import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { makeTimer, useTestDatabase } from '@punctual/testkit';
import { expect, it } from 'vitest';
import {
  createNamedTimers,
  createRequestedTimers,
  pruneTraces,
  type RequestedTimer,
  readTraces,
  readTracesOfTimers,
} from '../index.ts';

const db = useTestDatabase(4);
const TRACEPARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
const query = (text: string, values: unknown[] = []) => db.database.ordinary.query(text, values);

function makeRequested(traceparent?: string, timer: Partial<RequestedTimer> = {}): RequestedTimer {
  const origin = { action: 'timer.create', actor: 'nobody', keyId: null, requestId: 'r' } as const;
  return { ...makeTimer(timer), origin: traceparent === undefined ? origin : { ...origin, traceparent } };
}

it.each([
  ['createRequestedTimers', createRequestedTimers],
  ['createNamedTimers', createNamedTimers],
])('%s keeps the spans of those that are traced, and of no others', async (_name, create) => {
  const traced = makeRequested(TRACEPARENT);
  const untraced = makeRequested();
  await create(db.database.hot, [traced, untraced]);
  const expected = new Map([[traced.id, TRACEPARENT]]);
  expect(await readTraces(db.database.hot, [traced.id, untraced.id, createId()])).toEqual(expected);
  expect(await readTracesOfTimers(db.database.hot, [traced.id, untraced.id])).toEqual(expected);
});

it("a run's span is found by its timers", async () => {
  const runId = createId();
  const task = makeRequested(undefined, { runId, workflowId: createId(), workflowVersion: 1, taskKey: 'a' });
  await createRequestedTimers(db.database.hot, [task]);
  await query('INSERT INTO trace_contexts (target_id, tenant_id, traceparent) VALUES ($1, $2, $3)', [
    runId,
    DEFAULT_TENANT_ID,
    TRACEPARENT,
  ]);
  expect(await readTracesOfTimers(db.database.hot, [task.id])).toEqual(new Map([[task.id, TRACEPARENT]]));
});

it('without anything traced nothing is asked of the database', async () => {
  const asked: string[] = [];
  const watched = {
    query: (statement: { name?: string }, ...rest: unknown[]) => {
      asked.push(statement.name ?? '');
      return (db.database.hot.query as (...all: unknown[]) => unknown)(statement, ...rest);
    },
  };
  await createRequestedTimers(watched as never, [makeRequested(), makeRequested()]);
  expect(asked).toEqual(['create_requested_timers']);
});

it('what is older than the days is forgotten, a bounded number at a time', async () => {
  await query('DELETE FROM trace_contexts');
  const ids = Array.from({ length: 5 }, () => createId());
  for (const [index, id] of ids.entries()) {
    await query(
      `INSERT INTO trace_contexts (target_id, tenant_id, traceparent, created_at)
       VALUES ($1, $2, $3, clock_timestamp() - $4::int * interval '1 day')`,
      [id, DEFAULT_TENANT_ID, TRACEPARENT, index < 3 ? 31 + index : 29],
    );
  }
  expect(await pruneTraces(db.database.ordinary, 30, 2)).toBe(2);
  expect(await pruneTraces(db.database.ordinary, 30, 2)).toBe(1);
  expect(await pruneTraces(db.database.ordinary, 30, 2)).toBe(0);
  expect([...(await readTraces(db.database.hot, ids)).keys()].toSorted()).toEqual(ids.slice(3).toSorted());
});
