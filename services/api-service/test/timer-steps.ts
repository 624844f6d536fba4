import { finishTimers, retryTimers, type StartedTimer, startTimers } from '@punctual/database';
import { createId } from '@punctual/domain';
import { waitUntil } from '@punctual/testkit';
import type { TestApi } from './open-test-api.ts';

/** A time-out and a lease margin for attempts that tests only write down (ms). */
const TIMEOUT_MS = 10_000;
const LEASE_MARGIN_MS = 5_000;

/** Starts a timer as a worker would, in the version named; undefined when it was not to be started. */
export async function startTimer(api: TestApi, id: string, version: number): Promise<StartedTimer | undefined> {
  const [started] = await startTimers(api.testDatabase.database.hot, [{ id, version }], TIMEOUT_MS, LEASE_MARGIN_MS);
  return started;
}

/** The same for a timer that is due at once: its due time is the end of the millisecond in which it was made. */
export function startDueTimer(api: TestApi, id: string, version: number): Promise<StartedTimer> {
  return waitUntil('the timer starts', () => startTimer(api, id, version));
}

const RECORD = {
  latenessMs: 2,
  durationMs: 30,
  httpStatus: 500,
  error: 'the target answered 500',
  responseBody: 'oops',
};

/** Ends a started timer by its outcome. */
export async function endTimer(api: TestApi, started: StartedTimer, state: 'succeeded' | 'dead'): Promise<void> {
  await finishTimers(api.testDatabase.database.hot, [
    {
      ...RECORD,
      id: started.id,
      version: started.version,
      state,
      startedAt: started.started_at,
      outcome: state === 'dead' ? 'permanent' : 'succeeded',
    },
  ]);
}

/** Sends a started timer back to wait for its next attempt. */
export async function retryTimer(api: TestApi, started: StartedTimer, waitMs: number): Promise<void> {
  await retryTimers(api.testDatabase.database.hot, [
    {
      ...RECORD,
      id: started.id,
      version: started.version,
      waitMs,
      startedAt: started.started_at,
      outcome: 'retryable',
    },
  ]);
}

/** A timer that became a dead letter at its first attempt. Returns its id. */
export async function createDeadLetter(api: TestApi, fields: Record<string, unknown> = {}): Promise<string> {
  const { body } = await api.request('POST', '/v1/timers', { action: { type: 'noop' }, ...fields });
  await endTimer(api, await startDueTimer(api, body.id, 1), 'dead');
  return body.id;
}

/** Rows of all tables in which a request can leave something behind. */
export async function countEverything(api: TestApi): Promise<Record<string, number>> {
  const tables = [
    'timers',
    'finished_timers',
    'dead_letters',
    'attempts',
    'external_ids',
    'idempotency_keys',
    'erasures',
    'ledger_entries',
    'workflows',
    'workflow_versions',
    'runs',
    'task_outputs',
    'run_signals',
    'trace_contexts',
    'tenants',
    'api_keys',
    'signing_secrets',
    'audit_log',
  ];
  const counts = tables.map((table) => `(SELECT count(*)::int FROM ${table}) AS ${table}`);
  const { rows } = await api.testDatabase.database.ordinary.query<Record<string, number>>(
    `SELECT ${counts.join(', ')}`,
  );
  return rows[0]!;
}

/** The ledger's sums beside what the tables hold: equal for each state when nothing was lost or invented. */
export async function readBalance(api: TestApi) {
  const { rows } = await api.testDatabase.database.ordinary.query<Record<string, number>>(
    `SELECT (SELECT coalesce(sum(created), 0)::int FROM ledger_entries) AS created,
       (SELECT coalesce(sum(succeeded), 0)::int FROM ledger_entries) AS succeeded,
       (SELECT coalesce(sum(dead), 0)::int FROM ledger_entries) AS dead,
       (SELECT coalesce(sum(cancelled), 0)::int FROM ledger_entries) AS cancelled,
       (SELECT count(*)::int FROM timers) AS live,
       (SELECT count(*)::int FROM finished_timers WHERE state = 'succeeded') AS "storedSucceeded",
       (SELECT count(*)::int FROM finished_timers WHERE state = 'cancelled') AS "storedCancelled",
       (SELECT count(*)::int FROM dead_letters) + (SELECT count(*)::int FROM finished_timers WHERE state = 'dead') AS "storedDead",
       (SELECT count(*)::int FROM finished_timers) AS finished, (SELECT count(*)::int FROM dead_letters) AS letters`,
  );
  return rows[0]!;
}

/** Stores a workflow version and a run of it, both written by hand. Returns the ids of the run and its tasks' timers. */
export async function createRunByHand(
  api: TestApi,
  tasks: readonly { key: string; after?: string[] }[],
): Promise<{ runId: string; workflowId: string; timerIds: Record<string, string> }> {
  const { body: workflow } = await api.request('POST', '/v1/workflows', {
    name: createId(),
    tasks: tasks.map((task) => ({ ...task, action: { type: 'noop', durationMs: 7 }, delay: HOUR })),
  });
  const { body: run } = await api.request('POST', '/v1/runs', { workflowId: workflow.id });
  const timerIds = Object.fromEntries(
    (run.tasks as { key: string; timerId?: string }[]).flatMap(({ key, timerId }) => (timerId ? [[key, timerId]] : [])),
  );
  return { runId: run.id, workflowId: workflow.id, timerIds };
}

/** A delay after which no test is still running. */
export const HOUR = { type: 'duration', value: 1, unit: 'hours' };
export const NOOP = { type: 'noop' };
/** An id that no timer has. */
export const UNKNOWN_ID = '01900000-0000-7000-8000-00000000dead';
