import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import {
  bookCreated,
  INPUT_OF_REQUESTED_TIMERS,
  type RequestedTimer,
  storeTimers,
  TIMERS_PER_INSERT_MAX,
} from './create-timers.ts';
import { PARAMETER_AFTER_COLUMNS, toColumns } from './new-timer-columns.ts';
import { enterChanged, toOriginColumns } from './record-changes.ts';
import { recordTraces } from './trace-contexts.ts';

// External ids are taken in their own order, so that two statements wait for each other in one direction only. A
// statement that waited for another's commit then finds the id taken; so does the second of two rows with one id.
const insertNamed = nameStatement<{ id: string }>(
  'create_named_timers',
  `WITH input AS MATERIALIZED (
     SELECT * FROM ${INPUT_OF_REQUESTED_TIMERS}
   ), claimed AS (
     INSERT INTO external_ids (tenant_id, kind, external_id, target_id)
     SELECT tenant_id, 'timer', external_id, id FROM input WHERE external_id IS NOT NULL ORDER BY tenant_id, external_id, id
     ON CONFLICT DO NOTHING
     RETURNING target_id
   ), chosen AS MATERIALIZED (
     SELECT * FROM input WHERE external_id IS NULL OR id IN (SELECT target_id FROM claimed)
   ), stored AS (
     ${storeTimers('chosen')}
   ), ledger AS (
     ${bookCreated('chosen')}
   ), audit AS (
     ${enterChanged('chosen', PARAMETER_AFTER_COLUMNS)}
   )
   SELECT id FROM chosen`,
);

/**
 * Stores new timers some of which have external ids, and enters them in the ledger and in the audit log. Returns the ids of those that were
 * stored; the others' external ids were taken. All that can be stored are, or none.
 */
export async function createNamedTimers(database: Queryable, timers: readonly RequestedTimer[]): Promise<Set<string>> {
  if (timers.length > TIMERS_PER_INSERT_MAX) {
    throw new RangeError(`${timers.length} timers in one insert; at most ${TIMERS_PER_INSERT_MAX}`);
  }
  await recordTraces(
    database,
    timers.map(({ id, tenantId, origin }) => ({ targetId: id, tenantId, origin })),
  );
  const rows = await insertNamed(database, [...toColumns(timers), ...toOriginColumns(timers)]);
  return new Set(rows.map((row) => row.id));
}
