import type { Transaction } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import { pastRetention } from './past-retention.ts';

/** An ended run that is about to be removed. `created_at` in epoch ms. */
export interface EndedRun {
  id: string;
  tenant_id: string;
  external_id: string | null;
  created_at: number;
}

// Waits for nobody: a run that somebody has in hand is found at the next walk. What was retried since somebody saw that it was
// past its retention may have ended again by now, and has all its days before it.
const lockEnded = nameStatement<EndedRun>(
  'lock_ended_runs',
  `SELECT id, tenant_id, external_id, created_at FROM runs
   WHERE id = ANY ($1::uuid[]) AND status IN ('succeeded', 'failed', 'cancelled') AND finished_at < ${pastRetention('$2::int')}
   ORDER BY id FOR UPDATE SKIP LOCKED`,
);

/** SQL: books the dead letters that are `gone` as somebody's dismissal would: what ended dead and is kept for nobody. */
export const BOOK_DISMISSALS = `INSERT INTO ledger_entries (tenant_id, partition, dismissed)
     SELECT tenant_id, partition, count(*) FROM gone GROUP BY tenant_id, partition`;

// A statement of its own after the locks: its snapshot has what their last holders committed, and nobody adds to it.
const selectHeld = nameStatement<{ run_id: string }>(
  'read_runs_that_are_needed',
  `SELECT run_id FROM timers WHERE run_id = ANY ($1::uuid[])
   UNION SELECT run_id FROM dead_letters WHERE run_id = ANY ($1::uuid[]) AND finished_at >= ${pastRetention('$2::int')}`,
);

/**
 * Locks those of `ids` that are past their retention and that nothing needs any more: no attempt of them is under way, and
 * the days are over in which somebody may send a dead letter of theirs again.
 */
export async function lockRemovableRuns(
  client: Transaction,
  ids: readonly string[],
  { days, letterDays }: { days: number; letterDays: number },
): Promise<EndedRun[]> {
  const runs = await lockEnded(client, [ids, days]);
  if (runs.length === 0) return [];
  const held = new Set((await selectHeld(client, [runs.map(({ id }) => id), letterDays])).map((row) => row.run_id));
  return runs.filter(({ id }) => !held.has(id));
}

// No timer of a run finished before the run was created, which spares the history's older days.
const deleteTimers = nameStatement<{ id: string }>(
  'remove_timers_of_runs',
  `DELETE FROM finished_timers WHERE run_id = ANY ($1::uuid[]) AND finished_at >= to_timestamp($2::float8 / 1000) RETURNING id`,
);
const deleteAttempts = nameStatement(
  'remove_attempts_of_timers',
  `DELETE FROM attempts WHERE timer_id = ANY ($1::uuid[]) AND finished_at >= to_timestamp($2::float8 / 1000)`,
);
const deleteLetters = nameStatement<{ id: string }>(
  'remove_dead_letters_of_runs',
  `WITH gone AS (
     DELETE FROM dead_letters WHERE run_id = ANY ($1::uuid[]) RETURNING id, tenant_id, partition
   ), ledger AS (${BOOK_DISMISSALS})
   SELECT id FROM gone`,
);

/** Removes the dead letters of locked runs. Returns their ids. */
export async function removeLettersOfRuns(client: Transaction, runs: readonly EndedRun[]): Promise<string[]> {
  return (await deleteLetters(client, [runs.map(({ id }) => id)])).map(({ id }) => id);
}

/** Removes the ended timers and the dead letters of locked runs, and the attempts of both. */
export async function removeHistoryOfRuns(client: Transaction, runs: readonly EndedRun[]): Promise<void> {
  const runIds = runs.map(({ id }) => id);
  const oldest = Math.min(...runs.map((run) => run.created_at));
  const timers = (await deleteTimers(client, [runIds, oldest])).map(({ id }) => id);
  timers.push(...(await removeLettersOfRuns(client, runs)));
  if (timers.length > 0) await deleteAttempts(client, [toPlainArray(timers), oldest]);
}

const deleteOutputs = nameStatement(
  'remove_outputs_of_runs',
  'DELETE FROM task_outputs WHERE run_id = ANY ($1::uuid[])',
);
const deleteSignals = nameStatement(
  'remove_signals_of_runs',
  'DELETE FROM run_signals WHERE run_id = ANY ($1::uuid[])',
);
// An external id may name another run by now.
const deleteExternalIds = nameStatement(
  'remove_external_ids_of_runs',
  `DELETE FROM external_ids AS e USING unnest($1::uuid[], $2::text[], $3::uuid[]) AS r(tenant_id, external_id, id)
   WHERE e.tenant_id = r.tenant_id AND e.kind = 'run' AND e.external_id = r.external_id AND e.target_id = r.id`,
);
const deleteRuns = nameStatement<{ id: string }>(
  'remove_runs',
  `WITH traces AS (DELETE FROM trace_contexts WHERE target_id = ANY ($1::uuid[]))
   DELETE FROM runs WHERE id = ANY ($1::uuid[]) RETURNING id`,
);

/** Removes locked runs, their outputs, their signals, their traces and the external ids that name them. Returns how many. */
export async function removeRuns(client: Transaction, runs: readonly EndedRun[]): Promise<number> {
  const runIds = runs.map(({ id }) => id);
  const named = runs.filter(({ external_id: externalId }) => externalId !== null);
  if (named.length > 0) {
    await deleteExternalIds(client, [
      named.map((run) => run.tenant_id),
      named.map((run) => run.external_id),
      named.map((run) => run.id),
    ]);
  }
  await deleteOutputs(client, [runIds]);
  await deleteSignals(client, [runIds]);
  return (await deleteRuns(client, [runIds])).length;
}
