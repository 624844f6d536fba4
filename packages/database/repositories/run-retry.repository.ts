import { inTransaction, type Transaction, type TransactionPool } from '../connect.ts';
import { cancelRunningTimers } from '../queries/cancel-running-timers.ts';
import { type AttemptRecord, postponeTimers, retryTimers } from '../queries/finish-timers.ts';
import { PARKED_FOR_RUN, parkTimers } from '../queries/pause-timers.ts';
import { nameStatement } from '../statement.ts';
import type { WorkflowVersions } from '../workflow-versions.ts';
import { advanceRuns, type LockedRun, lockRuns } from './run-progress.repository.ts';

/** A started timer of a run that its outcome sends back to wait. */
export interface ReturningTimer {
  id: string;
  /** The one that its start returned. */
  version: number;
  runId: string;
  waitMs: number;
  /** What the attempt came to; null when it was never sent, and so does not count. */
  record: AttemptRecord | null;
}

// Locks the timers in the order of their ids. The statements that follow each lock theirs in that order too, but one
// after another, which a start of the same timers, after their leases lapsed, would meet crosswise.
const lockTimers = nameStatement<{ id: string }>(
  'lock_returning_timers',
  'SELECT id FROM timers WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE',
);

/**
 * Sends started timers of runs back to wait, for a retry or postponed; those whose run was cancelled meanwhile end as
 * `cancelled` instead, for nobody would cancel them later and after the cancel was acknowledged nothing may start.
 * What goes back to a run that is paused waits until that goes on.
 * Exact under any race, because the cancel and the pause hold the same locks of the runs. Returns the ids on either side; a
 * timer that is in neither had lost its lease.
 */
export async function returnRunTimers(
  pool: TransactionPool,
  versions: WorkflowVersions,
  timers: readonly ReturningTimer[],
): Promise<{ waiting: string[]; cancelled: string[] }> {
  return inTransaction(pool, (client: Transaction) => returnRunTimersWithin(client, versions, timers));
}

/** The same, in a transaction that has locked nothing but runs. */
export async function returnRunTimersWithin(
  client: Transaction,
  versions: WorkflowVersions,
  timers: readonly ReturningTimer[],
): Promise<{ waiting: string[]; cancelled: string[] }> {
  const runs = await lockRuns(client, [...new Set(timers.map((timer) => timer.runId))]);
  await lockTimers(client, [timers.map((timer) => timer.id)]);
  const cancelledRuns = new Set(runs.filter((run) => run.status === 'cancelled').map((run) => run.id));
  const [wanted, unwanted] = [
    timers.filter(({ runId }) => !cancelledRuns.has(runId)),
    timers.filter(({ runId }) => cancelledRuns.has(runId)),
  ];
  const retries = wanted.flatMap(({ record, ...timer }) => (record ? [{ ...timer, ...record }] : []));
  const retried = retries.length > 0 ? await retryTimers(client, retries) : [];
  const unsent = wanted.filter((timer) => timer.record === null);
  const postponed = unsent.length > 0 ? await postponeTimers(client, unsent) : [];
  await parkThoseOfPausedRuns(client, runs, wanted);
  const ended = unwanted.length > 0 ? await cancelRunningTimers(client, unwanted) : [];
  const touched = new Set(ended.map((timer) => timer.run_id));
  await advanceRuns(
    client,
    versions,
    runs.filter((run) => touched.has(run.id)),
    ended.map((timer) => ({ ...timer, state: 'cancelled' as const })),
  );
  return {
    waiting: [...retried, ...postponed].map((timer) => timer.id),
    cancelled: ended.map((timer) => timer.id),
  };
}

/** Of these timers, which wait again, those whose run is paused. The caller holds the runs' locks and the timers'. */
async function parkThoseOfPausedRuns(
  client: Transaction,
  runs: readonly LockedRun[],
  timers: readonly ReturningTimer[],
): Promise<void> {
  const paused = new Set(runs.filter(({ status }) => status === 'paused').map(({ id }) => id));
  if (paused.size === 0) return;
  const ids = timers.filter(({ runId }) => paused.has(runId)).map(({ id }) => id);
  await parkTimers(client, ids, PARKED_FOR_RUN);
}
