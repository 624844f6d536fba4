import { sql } from 'kysely';
import type { Queryable, Transaction } from '../connect.ts';
import {
  PARKED_FOR_RUN,
  parkTimers,
  type ResumeManner,
  releaseTimers,
  TIMERS_PER_PAUSE_MAX,
} from '../queries/pause-timers.ts';
import { queryBuilder } from '../query-builder.ts';
import { nameStatement } from '../statement.ts';
import type { RunRow } from '../tables.ts';
import { type CreatedAfter, readCreatedPage, type StoredPage, toInstant } from './keyset.ts';

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
  let query = queryBuilder.selectFrom('runs').selectAll().where('tenant_id', '=', filter.tenantId);
  if (filter.workflowId !== undefined) query = query.where('workflow_id', '=', filter.workflowId);
  if (filter.status) query = query.where('status', 'in', filter.status);
  if (filter.labels) query = query.where(sql<boolean>`labels @> ${JSON.stringify(filter.labels)}::jsonb`);
  if (filter.createdAfter !== undefined) query = query.where('created_at', '>=', toInstant(filter.createdAfter));
  if (filter.createdBefore !== undefined) query = query.where('created_at', '<', toInstant(filter.createdBefore));
  return readCreatedPage(database, query, page);
}

const selectAge = nameStatement<{ created_at: number }>('read_run_age', 'SELECT created_at FROM runs WHERE id = $1');

/** When a run was created (epoch ms). */
export async function readRunAge(database: Queryable, runId: string): Promise<number> {
  const [row] = await selectAge(database, [runId]);
  if (!row) throw new Error(`run ${runId} is gone although a timer of it is live`);
  return row.created_at;
}

const selectExternalId = nameStatement<{ external_id: string | null }>(
  'read_external_id_of_run',
  'SELECT external_id FROM runs WHERE id = $1',
);

/** The client's own id for a run, if it has one. */
export async function readExternalIdOfRun(client: Queryable, runId: string): Promise<string | null> {
  const [row] = await selectExternalId(client, [runId]);
  return row?.external_id ?? null;
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

const pauseRow = nameStatement(
  'pause_run',
  `UPDATE runs SET status = 'paused', paused_at = clock_timestamp() WHERE id = $1 AND status = 'running'`,
);
const resumeRow = nameStatement(
  'resume_run',
  `UPDATE runs SET status = 'running', paused_at = NULL WHERE id = $1 AND status = 'paused'`,
);
const selectParked = nameStatement<{ id: string }>(
  'read_parked_timers_of_run',
  `SELECT id FROM timers WHERE run_id = $1 AND state = 'paused' AND parked_for = '${PARKED_FOR_RUN}'`,
);

/** Pauses a run whose lock the caller holds: what waits is parked, and so will be what begins to wait. */
export async function pauseLockedRun(client: Transaction, runId: string): Promise<void> {
  await pauseRow(client, [runId]);
  const rows = await selectWaiting(client, [runId]);
  await parkTimers(
    client,
    rows.map(({ id }) => id),
    PARKED_FOR_RUN,
  );
}

/** Lets a run whose lock the caller holds go on, with those of its timers that it parked. */
export async function resumeLockedRun(
  client: Transaction,
  { id, tenant_id: tenantId }: { id: string; tenant_id: string },
  manner: ResumeManner,
): Promise<void> {
  await resumeRow(client, [id]);
  const rows = await selectParked(client, [id]);
  for (let start = 0; start < rows.length; start += TIMERS_PER_PAUSE_MAX) {
    const ids = rows.slice(start, start + TIMERS_PER_PAUSE_MAX).map((row) => row.id);
    await releaseTimers(client, tenantId, ids, PARKED_FOR_RUN, manner);
  }
}

const selectDeadLetters = nameStatement<{ id: string }>(
  'read_dead_letters_of_run',
  'SELECT id FROM dead_letters WHERE run_id = $1 ORDER BY id',
);

/** The dead letters of a run: one of each of its tasks at most, and one of each element of those that run once per element. */
export async function readDeadLettersOfRun(client: Queryable, runId: string): Promise<string[]> {
  const rows = await selectDeadLetters(client, [runId]);
  return rows.map((row) => row.id);
}
