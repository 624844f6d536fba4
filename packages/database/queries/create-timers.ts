import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import {
  COLUMN_INPUT,
  COLUMN_NAMES,
  ENDED_NAMES,
  ENDED_VALUES,
  type NewTimer,
  PARAMETER_AFTER_COLUMNS,
  STORED_NAMES,
  STORED_VALUES,
  toColumns,
} from './new-timer-columns.ts';
import { type ChangeOrigin, enterAll, originInput, toEntryColumns } from './record-changes.ts';
import { recordTraces } from './trace-contexts.ts';

/** One that somebody asks for through the api. */
export interface RequestedTimer extends NewTimer {
  origin: ChangeOrigin;
}

/** Rows a single insert may carry; more are a defect of the caller. Bounds statement size and lock time. */
export const TIMERS_PER_INSERT_MAX = 1000;

/** The parameters that `toColumns` makes, as rows. */
export const INPUT_OF_NEW_TIMERS = `unnest(${COLUMN_INPUT}) AS i(${COLUMN_NAMES})`;
/** The same for those that somebody asks for, with the entry of the audit log in which each stands. */
export const INPUT_OF_REQUESTED_TIMERS = `unnest(${COLUMN_INPUT}, ${originInput(PARAMETER_AFTER_COLUMNS)})
     AS i(${COLUMN_NAMES}, entry, request_id)`;

// `wake_at` is never before the moment of the insert: a scheduler's cursor has then not gone far past it.
/** SQL: stores the rows of `source` as timers that wait. */
export const storeTimers = (source: string) => `INSERT INTO timers (${STORED_NAMES}, wake_at)
     SELECT ${STORED_VALUES}, greatest(to_timestamp(due_at / 1000), clock_timestamp()) FROM ${source}`;
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
  await recordTraces(database, changes);
  await insertRequested(database, [...toColumns(timers), ...toEntryColumns(changes)]);
}

const insertSkipped = nameStatement(
  'create_skipped_timers',
  `WITH input AS (
     SELECT * FROM ${INPUT_OF_NEW_TIMERS}
   ), stored AS (
     INSERT INTO finished_timers (${ENDED_NAMES}, finished_at, version, attempt, state)
     SELECT ${ENDED_VALUES}, clock_timestamp(), 1, 0, 'skipped'
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
