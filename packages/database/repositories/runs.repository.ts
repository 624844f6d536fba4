import { sql } from 'kysely';
import type { Queryable } from '../connect.ts';
import { queryBuilder } from '../query-builder.ts';
import { runQuery } from '../run-query.ts';
import { nameStatement } from '../statement.ts';
import type { RunRow } from '../tables.ts';
import { type CreatedAfter, createdBehind, cutRows, type StoredPage, toInstant } from './keyset.ts';

/** Which runs of a tenant a list shows. Instants in epoch ms; `createdAfter` is included, `createdBefore` is not. */
export interface RunFilter {
  tenantId: string;
  workflowId: string | undefined;
  status: readonly RunRow['status'][] | undefined;
  labels: Record<string, string> | undefined;
  createdAfter: number | undefined;
  createdBefore: number | undefined;
}

/** A tenant's runs in the order `(createdAt, id)`, without their tasks. */
export async function listRuns(
  database: Queryable,
  filter: RunFilter,
  page: { after: CreatedAfter | undefined; limit: number },
): Promise<StoredPage<RunRow>> {
  let query = queryBuilder
    .selectFrom('runs')
    .selectAll()
    .where('tenant_id', '=', filter.tenantId)
    .orderBy('created_at')
    .orderBy('id')
    .limit(page.limit + 1);
  if (filter.workflowId !== undefined) query = query.where('workflow_id', '=', filter.workflowId);
  if (filter.status) query = query.where('status', 'in', filter.status);
  if (filter.labels) query = query.where(sql<boolean>`labels @> ${JSON.stringify(filter.labels)}::jsonb`);
  if (filter.createdAfter !== undefined) query = query.where('created_at', '>=', toInstant(filter.createdAfter));
  if (filter.createdBefore !== undefined) query = query.where('created_at', '<', toInstant(filter.createdBefore));
  if (page.after) query = query.where(createdBehind(page.after));
  return cutRows(await runQuery(database, query), page.limit);
}

const selectWaiting = nameStatement<{ id: string }>(
  'read_waiting_timers_of_run',
  `SELECT id FROM timers WHERE run_id = $1 AND state IN ('scheduled', 'paused') ORDER BY id`,
);

/** Timers of a run that have not started. Whoever cancels them holds the run's lock, so no others begin meanwhile. */
export async function readWaitingTimersOfRun(client: Queryable, runId: string): Promise<string[]> {
  const rows = await selectWaiting(client, [runId]);
  return rows.map((row) => row.id);
}

const selectDeadLetters = nameStatement<{ id: string }>(
  'read_dead_letters_of_run',
  'SELECT id FROM dead_letters WHERE run_id = $1 ORDER BY id',
);

/** The dead letters of a run: at most as many as its workflow has tasks. */
export async function readDeadLettersOfRun(client: Queryable, runId: string): Promise<string[]> {
  const rows = await selectDeadLetters(client, [runId]);
  return rows.map((row) => row.id);
}
