import { sql } from 'kysely';
import type { Queryable, Transaction } from '../connect.ts';
import { queryBuilder } from '../query-builder.ts';
import { runQuery } from '../run-query.ts';
import { nameStatement } from '../statement.ts';
import type { WorkflowRow, WorkflowVersionRow } from '../tables.ts';
import { type CreatedAfter, type StoredPage, toInstant } from './keyset.ts';

/** A workflow with what its present version says. `tasks` is JSON text. */
export interface StoredWorkflow extends WorkflowRow {
  time_zone: string;
  tasks: string;
  /** Of tasks that have none of their own; null: none. */
  priority: number | null;
}

/** A workflow to store. `tasks` and `labels` are JSON text, `createdAt` is in epoch ms. */
export interface NewWorkflow {
  id: string;
  tenantId: string;
  name: string;
  timeZone: string;
  tasks: string;
  labels: string | null;
  createdAt: number;
  /** Days; null, or absent: what its tenant keeps. */
  retentionDays?: number | null;
  /** Of tasks that have none of their own; null, or absent: none. */
  priority?: number | null;
}

/**
 * Bytes of tasks that one page carries, and the page ends after the item that reaches them: a workflow may have a
 * thousand tasks with large bodies, and two hundred such would not fit into memory many times over.
 */
const PAGE_TASK_BYTES_MAX = 4_194_304;

const COLUMNS =
  'w.id, w.tenant_id, w.name, w.status, w.version, w.labels, w.created_at, w.updated_at, w.retention_days, v.time_zone, v.tasks, v.priority';

const insertWorkflow = nameStatement(
  'create_workflow',
  `INSERT INTO workflows (id, tenant_id, name, labels, created_at, updated_at, retention_days)
   VALUES ($1, $2, $3, $4::jsonb, to_timestamp($5::float8 / 1000), to_timestamp($5::float8 / 1000), $6)`,
);

// A statement of its own: row-level security lets a version in when its workflow is the tenant's, and looks for that one
// among the rows that were there when the statement began.
const insertFirstVersion = nameStatement(
  'create_first_workflow_version',
  `INSERT INTO workflow_versions (workflow_id, version, name, time_zone, tasks, created_at, priority)
   VALUES ($1, 1, $2, $3, $4::json, to_timestamp($5::float8 / 1000), $6)`,
);

/** Stores a workflow and its version 1. */
export async function createWorkflow(client: Transaction, workflow: NewWorkflow): Promise<void> {
  const { id, tenantId, name, labels, createdAt, timeZone, tasks, retentionDays, priority } = workflow;
  await insertWorkflow(client, [id, tenantId, name, labels, createdAt, retentionDays ?? null]);
  await insertFirstVersion(client, [id, name, timeZone, tasks, createdAt, priority ?? null]);
}

const selectWorkflow = nameStatement<StoredWorkflow>(
  'read_workflow',
  `SELECT ${COLUMNS} FROM workflows AS w
   JOIN workflow_versions AS v ON v.workflow_id = w.id AND v.version = w.version
   WHERE w.id = $1 AND w.tenant_id = $2`,
);

/** A tenant's workflow in its present version; undefined when there is none. */
export async function readWorkflow(
  database: Queryable,
  tenantId: string,
  id: string,
): Promise<StoredWorkflow | undefined> {
  const [row] = await selectWorkflow(database, [id, tenantId]);
  return row;
}

// The row alone: joined with its version, a row that changed while this waited for the lock would not match any more.
const lockRow = nameStatement<WorkflowRow>(
  'lock_workflow',
  `SELECT id, tenant_id, name, status, version, labels, created_at, updated_at, retention_days
   FROM workflows WHERE id = $1 AND tenant_id = $2 FOR UPDATE`,
);

/** Locks a tenant's workflow until the transaction of `client` ends, so that its versions come one after the other. */
export async function lockWorkflow(client: Queryable, tenantId: string, id: string): Promise<WorkflowRow | undefined> {
  const [row] = await lockRow(client, [id, tenantId]);
  return row;
}

// The caller holds the lock of the workflow's row. The number of the version is the row's, plus one.
const insertVersion = nameStatement<{ version: number; updated_at: number }>(
  'add_workflow_version',
  `WITH changed AS (
     UPDATE workflows SET version = version + 1, name = $2, labels = $3::jsonb, retention_days = $7,
       updated_at = greatest(updated_at, to_timestamp($4::float8 / 1000))
     WHERE id = $1 RETURNING version, updated_at
   ), stored AS (
     INSERT INTO workflow_versions (workflow_id, version, name, time_zone, tasks, created_at, priority)
     SELECT $1, version, $2, $5, $6::json, updated_at, $8::smallint FROM changed
   )
   SELECT version, updated_at FROM changed`,
);

/** Adds the next version of a locked workflow and makes it the present one. */
export async function addWorkflowVersion(
  client: Queryable,
  change: Omit<NewWorkflow, 'tenantId' | 'createdAt'> & { updatedAt: number },
): Promise<{ version: number; updated_at: number }> {
  const { id, name, labels, updatedAt, timeZone, tasks, retentionDays, priority } = change;
  const values = [id, name, labels, updatedAt, timeZone, tasks, retentionDays ?? null, priority ?? null];
  const [row] = await insertVersion(client, values);
  if (!row) throw new Error(`workflow ${id} is gone although its row was locked`);
  return row;
}

const archiveRow = nameStatement<{ id: string }>(
  'archive_workflow',
  `UPDATE workflows SET status = 'archived', updated_at = greatest(updated_at, to_timestamp($3::float8 / 1000))
   WHERE id = $1 AND tenant_id = $2 AND status <> 'archived' RETURNING id`,
);

/** Archives a workflow. Its version stays. False when the tenant has no such workflow, or it is archived already. */
export async function archiveWorkflow(
  database: Queryable,
  tenantId: string,
  id: string,
  updatedAt: number,
): Promise<boolean> {
  const rows = await archiveRow(database, [id, tenantId, updatedAt]);
  return rows.length > 0;
}

const pauseRow = nameStatement<{ id: string }>(
  'pause_workflow',
  `UPDATE workflows SET status = 'paused', updated_at = greatest(updated_at, clock_timestamp())
   WHERE id = $1 AND tenant_id = $2 AND status = 'active' RETURNING id`,
);
const unpauseRow = nameStatement<{ id: string }>(
  'resume_workflow',
  `UPDATE workflows SET status = 'active', updated_at = greatest(updated_at, clock_timestamp())
   WHERE id = $1 AND tenant_id = $2 AND status = 'paused' RETURNING id`,
);

/** Lets a workflow begin no more runs until it is active again. False when it was not active. */
export async function setWorkflowPaused(client: Queryable, tenantId: string, id: string): Promise<boolean> {
  return (await pauseRow(client, [id, tenantId])).length > 0;
}

/** Lets a paused workflow begin runs again; nothing happens to any other. */
export async function setWorkflowActive(client: Queryable, tenantId: string, id: string): Promise<boolean> {
  return (await unpauseRow(client, [id, tenantId])).length > 0;
}

/** A tenant's workflows in the order `(createdAt, id)`, archived ones included. */
export async function listWorkflows(
  database: Queryable,
  page: {
    tenantId: string;
    status: readonly WorkflowRow['status'][] | undefined;
    labels: Record<string, string> | undefined;
    after: CreatedAfter | undefined;
    limit: number;
  },
): Promise<StoredPage<StoredWorkflow>> {
  let query = queryBuilder
    .selectFrom('workflows as w')
    .innerJoin('workflow_versions as v', (join) =>
      join.onRef('v.workflow_id', '=', 'w.id').onRef('v.version', '=', 'w.version'),
    )
    .select(['w.id', 'w.tenant_id', 'w.name', 'w.status', 'w.version', 'w.labels', 'w.created_at', 'w.updated_at'])
    .select('w.retention_days')
    .select(['v.time_zone', 'v.tasks', 'v.priority'])
    .where('w.tenant_id', '=', page.tenantId)
    .orderBy('w.created_at')
    .orderBy('w.id')
    .limit(page.limit + 1);
  if (page.status) query = query.where('w.status', 'in', page.status);
  if (page.labels) query = query.where(sql<boolean>`w.labels @> ${JSON.stringify(page.labels)}::jsonb`);
  if (page.after) {
    const { createdAt, id } = page.after;
    query = query.where(sql<boolean>`(w.created_at, w.id) > (${toInstant(createdAt)}, ${id}::uuid)`);
  }
  const measured = queryBuilder
    .selectFrom(query.as('page'))
    .selectAll()
    .select(sql<number>`count(*) OVER ()`.as('found'))
    .select(
      sql<number>`sum(octet_length(tasks::text)) OVER (ORDER BY created_at, id) - octet_length(tasks::text)`.as(
        'bytes_before',
      ),
    );
  const rows = await runQuery(
    database,
    queryBuilder
      .selectFrom(measured.as('measured'))
      .selectAll()
      .where('bytes_before', '<', PAGE_TASK_BYTES_MAX)
      .orderBy('created_at')
      .orderBy('id'),
  );
  return cutPage(rows, page.limit);
}

/** A workflow's versions in their order, behind version `after` (0: from the first on). */
export async function listWorkflowVersions(
  database: Queryable,
  page: { workflowId: string; after: number; limit: number },
): Promise<StoredPage<WorkflowVersionRow>> {
  const query = queryBuilder
    .selectFrom('workflow_versions')
    .selectAll()
    .where('workflow_id', '=', page.workflowId)
    .where('version', '>', page.after)
    .orderBy('version')
    .limit(page.limit + 1);
  const measured = queryBuilder
    .selectFrom(query.as('page'))
    .selectAll()
    .select(sql<number>`count(*) OVER ()`.as('found'))
    .select(
      sql<number>`sum(octet_length(tasks::text)) OVER (ORDER BY version) - octet_length(tasks::text)`.as(
        'bytes_before',
      ),
    );
  const rows = await runQuery(
    database,
    queryBuilder
      .selectFrom(measured.as('measured'))
      .selectAll()
      .where('bytes_before', '<', PAGE_TASK_BYTES_MAX)
      .orderBy('version'),
  );
  return cutPage(rows, page.limit);
}

/** `found` rows were there, at most one more than the page takes; of these the ones that fit were read. */
function cutPage<Row extends { found: number; bytes_before: number }>(fitting: Row[], limit: number) {
  const rows = fitting.slice(0, limit).map(({ found: _found, bytes_before: _before, ...row }) => row);
  return { rows, hasMore: (fitting[0]?.found ?? 0) > rows.length };
}
