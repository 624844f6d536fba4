import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

/** One run to insert. Instants in epoch ms, JSON as text, absent values as null. */
export interface NewRun {
  id: string;
  tenantId: string;
  workflowId: string;
  workflowVersion: number;
  partition: number;
  status: 'running' | 'paused' | 'succeeded' | 'failed' | 'cancelled';
  taskStates: string;
  input: string | null;
  externalId: string | null;
  labels: string | null;
  createdAt: number;
}

/** Rows a single insert may carry; more are a defect of the caller. Bounds statement size and lock time. */
export const RUNS_PER_INSERT_MAX = 1000;

// A run with nothing to wait for has ended when it begins.
const insertRuns = nameStatement(
  'create_runs',
  `INSERT INTO runs (id, tenant_id, workflow_id, workflow_version, partition, status, task_states, input, external_id,
     labels, created_at, finished_at, paused_at)
   SELECT id, tenant_id, workflow_id, workflow_version, partition, status, task_states, input::json, external_id,
     labels::jsonb, to_timestamp(created_at / 1000),
     CASE WHEN status NOT IN ('running', 'paused') THEN to_timestamp(created_at / 1000) END,
     CASE WHEN status = 'paused' THEN to_timestamp(created_at / 1000) END
   FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::smallint[], $6::text[], $7::text[], $8::text[],
     $9::text[], $10::text[], $11::float8[])
   AS i(id, tenant_id, workflow_id, workflow_version, partition, status, task_states, input, external_id, labels, created_at)`,
);

/** Stores new runs, all or none; their timers are stored beside them in the same transaction (`createTimers`). */
export async function createRuns(database: Queryable, runs: readonly NewRun[]): Promise<void> {
  if (runs.length === 0) return;
  if (runs.length > RUNS_PER_INSERT_MAX) {
    throw new RangeError(`${runs.length} runs in one insert; at most ${RUNS_PER_INSERT_MAX}`);
  }
  await insertRuns(database, [
    runs.map((run) => run.id),
    runs.map((run) => run.tenantId),
    runs.map((run) => run.workflowId),
    runs.map((run) => run.workflowVersion),
    runs.map((run) => run.partition),
    runs.map((run) => run.status),
    runs.map((run) => run.taskStates),
    runs.map((run) => run.input),
    runs.map((run) => run.externalId),
    runs.map((run) => run.labels),
    runs.map((run) => run.createdAt),
  ]);
}

/** What must be known of a workflow to begin a run of it. */
export interface WorkflowHead {
  id: string;
  tenant_id: string;
  status: 'active' | 'paused' | 'archived';
  version: number;
}

const selectHeads = nameStatement<WorkflowHead>(
  'read_workflow_heads',
  'SELECT id, tenant_id, status, version FROM workflows WHERE id = ANY ($1::uuid[])',
);

/** The present versions of workflows, of whatever tenant. Takes no lock; unknown ids are left out. */
export function readWorkflowHeads(database: Queryable, ids: readonly string[]): Promise<WorkflowHead[]> {
  return selectHeads(database, [ids]);
}
