import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import { INPUT_OF_NEW_TIMERS, type NewTimer, TIMERS_PER_INSERT_MAX, toColumns } from './create-timers.ts';

// External ids are taken in their own order, so that two statements wait for each other in one direction only. A
// statement that waited for another's commit then finds the id taken; so does the second of two rows with one id.
const insertNamed = nameStatement<{ id: string }>(
  'create_named_timers',
  `WITH input AS MATERIALIZED (
     SELECT * FROM ${INPUT_OF_NEW_TIMERS}
   ), claimed AS (
     INSERT INTO external_ids (tenant_id, kind, external_id, target_id)
     SELECT tenant_id, 'timer', external_id, id FROM input WHERE external_id IS NOT NULL ORDER BY tenant_id, external_id, id
     ON CONFLICT DO NOTHING
     RETURNING target_id
   ), chosen AS MATERIALIZED (
     SELECT * FROM input WHERE external_id IS NULL OR id IN (SELECT target_id FROM claimed)
   ), stored AS (
     INSERT INTO timers (id, tenant_id, partition, due_at, wake_at, created_at, run_id, workflow_id, workflow_version,
       task_key, time_zone, delay, action, payload, retry, timeout_ms, external_id, labels)
     SELECT id, tenant_id, partition, to_timestamp(due_at / 1000), greatest(to_timestamp(due_at / 1000), clock_timestamp()),
       to_timestamp(created_at / 1000), run_id, workflow_id, workflow_version, task_key, time_zone, delay::json,
       action::json, payload::json, retry::json, timeout_ms, external_id, labels::jsonb
     FROM chosen
   ), ledger AS (
     INSERT INTO ledger_entries (tenant_id, partition, created)
     SELECT tenant_id, partition, count(*) FROM chosen GROUP BY tenant_id, partition
   )
   SELECT id FROM chosen`,
);

/**
 * Stores new timers some of which have external ids, and enters them in the ledger. Returns the ids of those that were
 * stored; the others' external ids were taken. All that can be stored are, or none.
 */
export async function createNamedTimers(database: Queryable, timers: readonly NewTimer[]): Promise<Set<string>> {
  if (timers.length > TIMERS_PER_INSERT_MAX) {
    throw new RangeError(`${timers.length} timers in one insert; at most ${TIMERS_PER_INSERT_MAX}`);
  }
  const rows = await insertNamed(database, toColumns(timers));
  return new Set(rows.map((row) => row.id));
}
