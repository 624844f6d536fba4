import type { Actor, AuditAction } from '@punctual/domain';
import type { AttemptOutcome } from './queries/finish-timers.ts';

// What each table's rows look like from here: instants are epoch milliseconds, `json` is its text, `jsonb` is parsed.
// Kysely derives its types from these; the schema itself is `schema.sql`.

type Labels = Record<string, string>;

export interface TenantRow {
  id: string;
  name: string;
  /** In plain text, from versions before 0004; the api moves them to `signing_secrets`. */
  signing_secrets: string[];
  created_at: number;
  /** Null: what the api's settings say. */
  requests_per_second_max: number | null;
  live_timers_max: number | null;
  /** Days; null: what the schedulers' setting says. */
  retention_days: number | null;
}

export interface SigningSecretRow {
  id: string;
  tenant_id: string;
  key_id: string;
  ciphertext: Buffer;
  created_at: number;
  expires_at: number | null;
}

export interface ApiKeyRow {
  id: string;
  tenant_id: string;
  name: string;
  scope: 'read' | 'write' | 'admin';
  prefix: string;
  key_hash: Buffer;
  created_at: number;
  revoked_at: number | null;
}

export interface WorkflowRow {
  id: string;
  tenant_id: string;
  name: string;
  status: 'active' | 'paused' | 'archived';
  version: number;
  labels: Labels | null;
  created_at: number;
  updated_at: number;
  /** Days; null: what its tenant keeps. */
  retention_days: number | null;
}

export interface WorkflowVersionRow {
  workflow_id: string;
  version: number;
  name: string;
  time_zone: string;
  tasks: string;
  created_at: number;
  priority: number | null;
}

export interface RunRow {
  id: string;
  tenant_id: string;
  workflow_id: string;
  workflow_version: number;
  partition: number;
  status: 'running' | 'paused' | 'succeeded' | 'failed' | 'cancelled';
  task_states: string;
  input: string | null;
  external_id: string | null;
  labels: Labels | null;
  created_at: number;
  finished_at: number | null;
  paused_at: number | null;
}

/** What timers have, live or ended. */
export interface TimerColumns {
  id: string;
  tenant_id: string;
  run_id: string | null;
  workflow_id: string | null;
  due_at: number;
  created_at: number;
  version: number;
  workflow_version: number | null;
  timeout_ms: number | null;
  partition: number;
  attempt: number;
  task_key: string | null;
  time_zone: string | null;
  delay: string | null;
  action: string | null;
  payload: string | null;
  retry: string | null;
  external_id: string | null;
  labels: Labels | null;
  path: string | null;
  /** JSON text: its key and rule. */
  concurrency: string | null;
  /** 1 to 9; null: none. */
  priority: number | null;
  /** The signal that it waits for, or waited for in vain; the number of the one that it got. */
  waits_for: string | null;
  signal: number | null;
}

export interface TimerRow extends TimerColumns {
  state: 'scheduled' | 'running' | 'paused';
  wake_at: number;
  lease_ends_at: number | null;
  lost: number;
  parked_for: string | null;
  /** Its key. */
  lane: string | null;
  paused_at: number | null;
  /** Of one that workers of the customer lease: the queue, and who leased it last, and when. */
  pull_queue: string | null;
  lease_holder: string | null;
  lease_began_at: number | null;
}

export interface FinishedTimerRow extends TimerColumns {
  state: 'succeeded' | 'dead' | 'cancelled' | 'skipped';
  finished_at: number;
  started_at: number | null;
  lateness_ms: number | null;
  duration_ms: number | null;
  outcome: AttemptOutcome | null;
  http_status: number | null;
  error: string | null;
  response_body: string | null;
}

export interface AttemptRow {
  timer_id: string;
  tenant_id: string;
  started_at: number;
  finished_at: number;
  lateness_ms: number | null;
  duration_ms: number | null;
  outcome: AttemptOutcome;
  attempt: number;
  http_status: number | null;
  error: string | null;
  response_body: string | null;
}

export interface TaskOutputRow {
  run_id: string;
  tenant_id: string;
  task_key: string;
  path: string;
  output: string;
  created_at: number;
}

export interface RunSignalRow {
  run_id: string;
  number: number;
  tenant_id: string;
  name: string;
  payload: string;
  created_at: number;
  delivered_at: number | null;
}

export interface ExternalIdRow {
  tenant_id: string;
  kind: 'timer' | 'run';
  external_id: string;
  target_id: string;
  created_at: number;
}

export interface IdempotencyKeyRow {
  tenant_id: string;
  key: string;
  request_hash: Buffer;
  status: number;
  headers: string;
  body: string;
  created_at: number;
}

export interface AuditLogRow {
  id: string;
  tenant_id: string;
  key_id: string | null;
  created_at: number;
  actor: Actor;
  action: AuditAction;
  target_ids: string[];
  /** With spaces between. */
  request_ids: string;
  details: string | null;
}

export interface RunReviewRow {
  only_row: boolean;
  ended_at: number | null;
  reviewed: number;
  unmendable: number;
  mended: number;
  tasks_lost: number;
}

interface LedgerCounts {
  created: number;
  succeeded: number;
  dead: number;
  cancelled: number;
  skipped: number;
  dismissed: number;
}

export interface LedgerRow extends LedgerCounts {
  tenant_id: string;
  partition: number;
}

export interface ServiceInstanceRow {
  id: string;
  role: 'api' | 'scheduler' | 'worker';
  host: string;
  pid: number;
  version: string;
  started_at: number;
  heartbeat_at: number;
  details: Record<string, unknown>;
  gates_epoch: number | null;
  /** Since when it is asked to take no more; null: it is to work. */
  drain_requested_at: number | null;
}

export interface PullWorkerRow {
  id: string;
  tenant_id: string;
  queue: string;
  worker_id: string;
  first_seen_at: number;
  last_seen_at: number;
}

export interface GateRow {
  tenant_id: string;
  kind: 'workflow' | 'queue' | 'origin';
  name: string;
  paused_at: number | null;
  cancelled_before: number | null;
}

export interface LaneRow {
  tenant_id: string;
  name: string;
  limit_max: number | null;
  rate_per_second: number | null;
  used_until: number | null;
  is_waiting: boolean;
  is_limit: boolean;
  looked_at: number;
}

export interface BulkOperationRow {
  id: string;
  tenant_id: string;
  action: string;
  status: 'running' | 'paused' | 'succeeded' | 'failed' | 'aborted';
  target: 'timer' | 'deadLetter' | 'run';
  request: string;
  plan: string;
  is_listed: boolean;
  matched: number;
  done: number;
  failed: number;
  samples: string | null;
  rate_per_second: number | null;
  next_at: number;
  actor: Actor;
  key_id: string | null;
  request_id: string;
  created_at: number;
  finished_at: number | null;
}

export interface BulkPortionRow {
  operation_id: string;
  tenant_id: string;
  number: number;
  target_ids: string[];
}

export interface BulkFailureRow {
  operation_id: string;
  tenant_id: string;
  target_id: string;
  code: string;
  detail: string;
}

export interface ScheduleRow {
  id: string;
  tenant_id: string;
  name: string | null;
  status: 'active' | 'paused' | 'ended';
  version: number;
  spec: string;
  workflow_id: string | null;
  input: string | null;
  action: string | null;
  payload: string | null;
  retry: string | null;
  timeout_ms: number | null;
  labels: Labels | null;
  priority: number | null;
  anchor_at: number;
  handled_at: number;
  waiting: number[];
  next_at: number | null;
  next_due_at: number | null;
  timer_id: string | null;
  last_target_id: string | null;
  last_begun_at: number | null;
  last_occurrence_at: number | null;
  failure: string | null;
  live_timers_max: number | null;
  created_at: number;
  updated_at: number;
}

export interface PartitionLeaseRow {
  partition: number;
  owner_id: string | null;
  epoch: number;
  expires_at: number;
}

export interface Tables {
  installation: { only_row: boolean; partition_count: number; created_at: number; lease_key: Buffer };
  tenants: TenantRow;
  api_keys: ApiKeyRow;
  signing_secrets: SigningSecretRow;
  workflows: WorkflowRow;
  workflow_versions: WorkflowVersionRow;
  runs: RunRow;
  timers: TimerRow;
  finished_timers: FinishedTimerRow;
  dead_letters: FinishedTimerRow;
  attempts: AttemptRow;
  task_outputs: TaskOutputRow;
  run_signals: RunSignalRow;
  trace_contexts: { target_id: string; tenant_id: string; created_at: number; traceparent: string };
  external_ids: ExternalIdRow;
  idempotency_keys: IdempotencyKeyRow;
  erasures: { tenant_id: string; target_id: string; erased_at: number };
  audit_log: AuditLogRow;
  ledger_entries: LedgerRow;
  ledger_totals: LedgerRow;
  service_instances: ServiceInstanceRow;
  pull_workers: PullWorkerRow;
  partition_leases: PartitionLeaseRow;
  lanes: LaneRow;
  lane_places: { tenant_id: string; lane: string; timer_id: string };
  gates: GateRow;
  run_review: RunReviewRow;
  gates_epoch: { only_row: boolean; epoch: number };
  bulk_operations: BulkOperationRow;
  bulk_portions: BulkPortionRow;
  bulk_failures: BulkFailureRow;
  schedules: ScheduleRow;
}
