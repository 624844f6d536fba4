import { inTransaction, type TransactionPool } from '../connect.ts';
import { lockRemovableRuns, removeHistoryOfRuns, removeLettersOfRuns, removeRuns } from '../queries/remove-runs.ts';
import {
  type Keeper,
  type RunCursor,
  readPastRuns,
  removePastLetters,
  removePastTimers,
} from '../queries/retention.ts';

/** Tasks, of all their elements, of the runs that one transaction removes; one run may have more. */
const TASKS_PER_REMOVAL_MAX = 10_000;

/**
 * Removes the next runs of a workflow that are past its retention, with their outputs and dead letters, and with their timers
 * and attempts when `isHistoryKept`: the history's days are kept for longer than these may be. Each transaction is bounded,
 * and takes whole runs. Never one that is under way, of which an attempt is, or of which a dead letter may still be sent
 * again. Returns how many, and where to go on; undefined at the end.
 */
export async function removePastRuns(
  pool: TransactionPool,
  workflow: Keeper,
  cursor: RunCursor | undefined,
  isHistoryKept: boolean,
): Promise<{ removed: number; next: RunCursor | undefined }> {
  const { runs, next } = await readPastRuns(pool, workflow, cursor);
  let removed = 0;
  for (let from = 0, to = 0; from < runs.length; from = to) {
    let weight = 0;
    for (; to < runs.length && (to === from || weight + runs[to]!.weight <= TASKS_PER_REMOVAL_MAX); to += 1) {
      weight += runs[to]!.weight;
    }
    const ids = runs.slice(from, to).map(({ id }) => id);
    removed += await inTransaction(pool, async (client) => {
      const locked = await lockRemovableRuns(client, ids, workflow);
      if (locked.length === 0) return 0;
      if (isHistoryKept) await removeHistoryOfRuns(client, locked);
      else await removeLettersOfRuns(client, locked);
      return removeRuns(client, locked);
    });
  }
  return { removed, next };
}

/** Removes a tenant's finished timers without a run that are past its retention, a bounded number. Returns how many. */
export function removePastTimersOf(pool: TransactionPool, tenant: Keeper): Promise<number> {
  return inTransaction(pool, (client) => removePastTimers(client, tenant));
}

/** The same of its dead letters without a run. */
export function removePastLettersOf(pool: TransactionPool, tenant: Keeper): Promise<number> {
  return inTransaction(pool, (client) => removePastLetters(client, tenant));
}
