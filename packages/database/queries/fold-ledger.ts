import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

/** Entries that one fold may move. Bounds how long its totals stay locked against another fold. */
const ENTRIES_PER_FOLD_MAX = 50_000;

// Takes entries that no other fold is taking, and leaves those of transactions still open, which it can not see.
// Totals are locked in the order (tenant, partition), so two folds can not deadlock. One statement: at every
// instant an entry counts exactly once, in the entries or in the totals.
const foldEntries = nameStatement<{ folded: number }>(
  'fold_ledger',
  `WITH taken AS (
     DELETE FROM ledger_entries
     WHERE ctid = ANY (ARRAY(SELECT ctid FROM ledger_entries LIMIT $1 FOR UPDATE SKIP LOCKED))
     RETURNING tenant_id, partition, created, succeeded, dead, cancelled, skipped, dismissed
   ), kept AS (
     INSERT INTO ledger_totals AS t (tenant_id, partition, created, succeeded, dead, cancelled, skipped, dismissed)
     SELECT tenant_id, partition, sum(created), sum(succeeded), sum(dead), sum(cancelled), sum(skipped), sum(dismissed)
     FROM taken GROUP BY tenant_id, partition ORDER BY tenant_id, partition
     ON CONFLICT (tenant_id, partition) DO UPDATE SET
       created = t.created + excluded.created, succeeded = t.succeeded + excluded.succeeded, dead = t.dead + excluded.dead,
       cancelled = t.cancelled + excluded.cancelled, skipped = t.skipped + excluded.skipped,
       dismissed = t.dismissed + excluded.dismissed
   )
   SELECT count(*)::int AS folded FROM taken`,
);

/**
 * Moves up to `limit` entries of the ledger into its totals. Returns how many it moved: fewer than `limit` means that
 * there were no more. Safe beside appends and beside other folds.
 */
export async function foldLedger(database: Queryable, limit: number = ENTRIES_PER_FOLD_MAX): Promise<number> {
  if (limit > ENTRIES_PER_FOLD_MAX)
    throw new RangeError(`${limit} entries in one fold; at most ${ENTRIES_PER_FOLD_MAX}`);
  const [row] = await foldEntries(database, [limit]);
  return row!.folded;
}
