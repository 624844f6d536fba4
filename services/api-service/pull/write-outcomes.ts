import {
  admitOutputs,
  advanceRuns,
  asTenant,
  describeEnd,
  endRunTimers,
  type FinishedAttempt,
  finishTimers,
  type GatedTimer,
  holdTimers,
  type LockedRun,
  lockRuns,
  type Outcome,
  postponeTimers,
  type ReturningTimer,
  retryTimers,
  returnRunTimers,
  returnRunTimersWithin,
  type Transaction,
  type WorkflowVersions,
} from '@punctual/database';
import type { ApiContext } from '../context.ts';

/** How a task stands after its outcome was written. */
export type TaskStatus = 'succeeded' | 'dead' | 'scheduled' | 'cancelled';

/** Outcomes of runs in one transaction: it holds the locks of all its runs, and each may unlock many tasks. */
const RUN_OUTCOMES_PER_TRANSACTION_MAX = 500;

interface RunOutcome {
  runId: string;
  record: FinishedAttempt;
  output: string | undefined;
}

/**
 * Writes what became of a tenant's leased tasks, by the statements of the worker: history, ledger, runs and what they unlock.
 * No two of the outcomes may be of one timer. Resolves when it is committed, or stored in the transaction of `client`, with
 * the status of each task; one that is missing was not leased any more, and its outcome is void.
 */
export async function writeOutcomes(
  context: Pick<ApiContext, 'database' | 'workflowVersions'>,
  tenantId: string,
  outcomes: readonly Outcome[],
  client?: Transaction,
): Promise<Map<string, TaskStatus>> {
  const { workflowVersions } = context;
  const { hot } = asTenant(context.database, tenantId);
  const single: FinishedAttempt[] = [];
  const ofRuns: RunOutcome[] = [];
  const waiting: Outcome[] = [];
  const returning: ReturningTimer[] = [];
  const held: GatedTimer[] = [];
  for (const outcome of outcomes) {
    const { runId } = outcome;
    if (outcome.kind === 'finished') {
      if (runId === null) single.push(outcome.record);
      else ofRuns.push({ runId, record: outcome.record, output: outcome.output });
    } else if (outcome.kind === 'held') {
      held.push(outcome);
    } else if (runId === null) {
      waiting.push(outcome);
    } else {
      const { id, version, waitMs } = outcome.kind === 'retry' ? outcome.record : outcome;
      returning.push({ id, version, runId, waitMs, record: outcome.kind === 'retry' ? outcome.record : null });
    }
  }
  const statuses = new Map<string, TaskStatus>();
  const note = (ids: readonly { id: string }[], status: TaskStatus) => {
    for (const { id } of ids) statuses.set(id, status);
  };
  const noteEnded = (ended: readonly { id: string; state: 'succeeded' | 'dead' | 'skipped' | 'excluded' }[]) => {
    // What is left out was given to nobody, so nobody asks.
    for (const { id, state } of ended) if (state === 'succeeded' || state === 'dead') statuses.set(id, state);
  };
  const noteReturned = ({ waiting: waits, cancelled }: { waiting: string[]; cancelled: string[] }) => {
    for (const id of waits) statuses.set(id, 'scheduled');
    for (const id of cancelled) statuses.set(id, 'cancelled');
  };
  const writeWaiting = async () => {
    const retries = waiting.flatMap((outcome) => (outcome.kind === 'retry' ? [outcome.record] : []));
    const unsent = waiting.flatMap((outcome) => (outcome.kind === 'postponed' ? [outcome] : []));
    if (retries.length > 0) note(await retryTimers(client ?? hot, retries), 'scheduled');
    if (unsent.length > 0) note(await postponeTimers(client ?? hot, unsent), 'scheduled');
  };
  const writeSingle = async () => {
    if (single.length > 0) noteEnded(await finishTimers(client ?? hot, single));
  };
  if (client) {
    // One after the other, runs before timers.
    const runs = await lockRuns(client, [...new Set([...ofRuns, ...returning].map(({ runId }) => runId))]);
    if (ofRuns.length > 0) {
      const ended = await endTasks(client, workflowVersions, runs, ofRuns);
      noteEnded(ended);
      const touched = new Set(ended.map((timer) => timer.run_id));
      await advanceRuns(
        client,
        workflowVersions,
        runs.filter(({ id }) => touched.has(id)),
        ended,
      );
    }
    if (returning.length > 0) noteReturned(await returnRunTimersWithin(client, workflowVersions, returning));
    await writeSingle();
    await writeWaiting();
    return statuses;
  }
  // The kinds touch different rows.
  const writeOfRuns = async () => {
    for (let from = 0; from < ofRuns.length; from += RUN_OUTCOMES_PER_TRANSACTION_MAX) {
      const items = ofRuns.slice(from, from + RUN_OUTCOMES_PER_TRANSACTION_MAX);
      const { ended } = await endRunTimers(
        hot,
        workflowVersions,
        items.map(({ runId }) => runId),
        (transaction, runs) => endTasks(transaction, workflowVersions, runs, items),
      );
      noteEnded(ended);
    }
  };
  const writeReturning = async () => {
    if (returning.length > 0) noteReturned(await returnRunTimers(hot, workflowVersions, returning));
  };
  // Only leases hold anything back, and they are in no transaction of a client's.
  const writeHeld = async () => {
    if (held.length === 0) return;
    const { waiting: waits, cancelled } = await holdTimers(hot, workflowVersions, held);
    noteReturned({ waiting: waits, cancelled });
  };
  await Promise.all([writeSingle(), writeWaiting(), writeOfRuns(), writeReturning(), writeHeld()]);
  return statuses;
}

/** Ends tasks of locked runs, with what of their outputs others need. */
async function endTasks(
  client: Transaction,
  versions: WorkflowVersions,
  runs: readonly LockedRun[],
  endings: readonly RunOutcome[],
) {
  const admitted = await admitOutputs(client, versions, runs, endings);
  const outputs = new Map(admitted.map(({ record, output }) => [record.id, output]));
  const ended = await finishTimers(
    client,
    admitted.map(({ record }) => record),
  );
  return ended.map((timer) => describeEnd(timer, outputs));
}
