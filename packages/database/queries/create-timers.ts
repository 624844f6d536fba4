import type { Queryable } from '../connect.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import { type ChangeOrigin, enterAll, originInput, toEntryColumns } from './record-changes.ts';

/** One timer to insert. Instants in epoch ms, JSON as text, absent values as null. */
export interface NewTimer {
  id: string;
  tenantId: string;
  partition: number;
  dueAt: number;
  /** When it begins to wait: the anchor of its delay. */
  createdAt: number;
  runId: string | null;
  workflowId: string | null;
  workflowVersion: number | null;
  taskKey: string | null;
  timeZone: string | null;
  delay: string | null;
  action: string | null;
  payload: string | null;
  retry: string | null;
  timeoutMs: number | null;
  externalId: string | null;
  labels: string | null;
  /** Of a mapped task: which element it is for (domain: `formatPath`). */
  path?: string | null;
  /** The queue from which workers of the customer lease it; null or absent: ours call or do it. */
  pullQueue?: string | null;
  /** JSON text: its key and rule (domain: `Concurrency`), the key rendered; null or absent: nothing keeps it from running beside others. */
  concurrency?: string | null;
}

/** One that somebody asks for through the api. */
export interface RequestedTimer extends NewTimer {
  origin: ChangeOrigin;
}

/** Rows a single insert may carry; more are a defect of the caller. Bounds statement size and lock time. */
export const TIMERS_PER_INSERT_MAX = 1000;

const COLUMN_INPUT = `$1::uuid[], $2::uuid[], $3::smallint[], $4::float8[], $5::float8[], $6::uuid[], $7::uuid[],
       $8::int[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::int[], $16::text[], $17::text[],
       $18::text[], $19::text[], $20::text[]`;
const COLUMN_NAMES = `id, tenant_id, partition, due_at, created_at, run_id, workflow_id, workflow_version, task_key, time_zone,
       delay, action, payload, retry, timeout_ms, external_id, labels, path, pull_queue, concurrency`;
/** The parameter that follows those of `toColumns`. */
export const PARAMETER_AFTER_COLUMNS = 21;

/** The parameters that `toColumns` makes, as rows. */
export const INPUT_OF_NEW_TIMERS = `unnest(${COLUMN_INPUT}) AS i(${COLUMN_NAMES})`;
/** The same for those that somebody asks for, with the entry of the audit log in which each stands. */
export const INPUT_OF_REQUESTED_TIMERS = `unnest(${COLUMN_INPUT}, ${originInput(PARAMETER_AFTER_COLUMNS)})
     AS i(${COLUMN_NAMES}, entry, request_id)`;

// `wake_at` is never before the moment of the insert: a scheduler's cursor has then not gone far past it.
/** SQL: stores the rows of `source` as timers that wait. */
export const storeTimers = (
  source: string,
) => `INSERT INTO timers (id, tenant_id, partition, due_at, wake_at, created_at, run_id,
       workflow_id, workflow_version, task_key, time_zone, delay, action, payload, retry, timeout_ms, external_id, labels, path,
       pull_queue, concurrency, lane)
     SELECT id, tenant_id, partition, to_timestamp(due_at / 1000), greatest(to_timestamp(due_at / 1000), clock_timestamp()),
       to_timestamp(created_at / 1000), run_id, workflow_id, workflow_version, task_key, time_zone, delay::json,
       action::json, payload::json, retry::json, timeout_ms, external_id, labels::jsonb, path, pull_queue,
       concurrency::json, concurrency::json ->> 'key'
     FROM ${source}`;
/** SQL: books the rows of `source` as created. */
export const bookCreated = (source: string) => `INSERT INTO ledger_entries (tenant_id, partition, created)
   SELECT tenant_id, partition, count(*) FROM ${source} GROUP BY tenant_id, partition`;

const insertTimers = nameStatement(
  'create_timers',
  `WITH input AS (SELECT * FROM ${INPUT_OF_NEW_TIMERS}), stored AS (${storeTimers('input')}) ${bookCreated('input')}`,
);

/**
 * Stores new timers, all or none, and enters them in the ledger. Locks nothing that others hold.
 * Rejects with SQLSTATE 23505 when an id exists.
 */
export async function createTimers(database: Queryable, timers: readonly NewTimer[]): Promise<void> {
  if (timers.length === 0) return;
  if (timers.length > TIMERS_PER_INSERT_MAX) {
    throw new RangeError(`${timers.length} timers in one insert; at most ${TIMERS_PER_INSERT_MAX}`);
  }
  await insertTimers(database, toColumns(timers));
}

const insertRequested = nameStatement(
  'create_requested_timers',
  `WITH input AS (
     SELECT * FROM ${INPUT_OF_NEW_TIMERS}
   ), stored AS (
     ${storeTimers('input')}
   ), audit AS (
     ${enterAll(PARAMETER_AFTER_COLUMNS)}
   )
   ${bookCreated('input')}`,
);

/** As `createTimers`, and the audit log tells by whom they are. */
export async function createRequestedTimers(database: Queryable, timers: readonly RequestedTimer[]): Promise<void> {
  if (timers.length === 0) return;
  if (timers.length > TIMERS_PER_INSERT_MAX) {
    throw new RangeError(`${timers.length} timers in one insert; at most ${TIMERS_PER_INSERT_MAX}`);
  }
  const changes = timers.map(({ id, tenantId, origin }) => ({ targetId: id, tenantId, origin }));
  await insertRequested(database, [...toColumns(timers), ...toEntryColumns(changes)]);
}

const insertSkipped = nameStatement(
  'create_skipped_timers',
  `WITH input AS (
     SELECT * FROM ${INPUT_OF_NEW_TIMERS}
   ), stored AS (
     INSERT INTO finished_timers (id, tenant_id, partition, due_at, created_at, finished_at, version, attempt, state,
       run_id, workflow_id, workflow_version, task_key, time_zone, delay, action, payload, retry, timeout_ms, external_id, labels, path, concurrency)
     SELECT id, tenant_id, partition, to_timestamp(due_at / 1000), to_timestamp(created_at / 1000), clock_timestamp(), 1, 0,
       'skipped', run_id, workflow_id, workflow_version, task_key, time_zone, delay::json, action::json, payload::json,
       retry::json, timeout_ms, external_id, labels::jsonb, path, concurrency::json
     FROM input
   )
   INSERT INTO ledger_entries (tenant_id, partition, created, skipped)
   SELECT tenant_id, partition, count(*), count(*) FROM input GROUP BY tenant_id, partition`,
);

/** Stores timers whose date is past and whose rule says `skip`: they end as `skipped` at once. */
export async function createSkippedTimers(database: Queryable, timers: readonly NewTimer[]): Promise<void> {
  if (timers.length === 0) return;
  await insertSkipped(database, toColumns(timers));
}

/** One array a column, in the order of the statements' parameters. */
export function toColumns(timers: readonly NewTimer[]): unknown[] {
  return [
    toPlainArray(timers.map((t) => t.id)),
    toPlainArray(timers.map((t) => t.tenantId)),
    toPlainArray(timers.map((t) => t.partition)),
    toPlainArray(timers.map((t) => t.dueAt)),
    toPlainArray(timers.map((t) => t.createdAt)),
    toPlainArray(timers.map((t) => t.runId)),
    toPlainArray(timers.map((t) => t.workflowId)),
    toPlainArray(timers.map((t) => t.workflowVersion)),
    timers.map((t) => t.taskKey),
    timers.map((t) => t.timeZone),
    timers.map((t) => t.delay),
    timers.map((t) => t.action),
    timers.map((t) => t.payload),
    timers.map((t) => t.retry),
    toPlainArray(timers.map((t) => t.timeoutMs)),
    timers.map((t) => t.externalId),
    timers.map((t) => t.labels),
    toPlainArray(timers.map((t) => t.path ?? null)),
    toPlainArray(timers.map((t) => t.pullQueue ?? null)),
    timers.map((t) => t.concurrency ?? null),
  ];
}
