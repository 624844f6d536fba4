import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

/** A partition that this scheduler owns until `expires_at` (epoch ms, database's clock). */
export interface HeldLease {
  partition: number;
  /** Rises with each change of owner. */
  epoch: number;
  expires_at: number;
}

// Locks the owner's own rows only. A lease that has run out is not renewed: somebody else may have read on from it.
const renewRows = nameStatement<HeldLease>(
  'renew_partition_leases',
  `UPDATE partition_leases SET expires_at = clock_timestamp() + $2::float8 * interval '1 millisecond'
   WHERE owner_id = $1 AND expires_at > clock_timestamp()
   RETURNING partition, epoch, date_part('epoch', expires_at) * 1000 AS expires_at`,
);

/** Prolongs all leases that `ownerId` still holds. Returns these: what is missing is lost. */
export function renewPartitionLeases(database: Queryable, ownerId: string, ttlMs: number): Promise<HeldLease[]> {
  return renewRows(database, [ownerId, ttlMs]);
}

// Skips rows that another scheduler is taking at this moment, so two never wait for each other.
const acquireRows = nameStatement<HeldLease>(
  'acquire_partition_leases',
  `WITH free AS (
     SELECT partition FROM partition_leases
     WHERE expires_at <= clock_timestamp()
     ORDER BY random() LIMIT $2 FOR UPDATE SKIP LOCKED
   )
   UPDATE partition_leases AS l SET owner_id = $1, epoch = l.epoch + 1,
     expires_at = clock_timestamp() + $3::float8 * interval '1 millisecond'
   FROM free WHERE l.partition = free.partition
   RETURNING l.partition, l.epoch, date_part('epoch', l.expires_at) * 1000 AS expires_at`,
);

/** Takes up to `limit` partitions that nobody holds. */
export function acquirePartitionLeases(
  database: Queryable,
  ownerId: string,
  limit: number,
  ttlMs: number,
): Promise<HeldLease[]> {
  return acquireRows(database, [ownerId, limit, ttlMs]);
}

const releaseRows = nameStatement<{ partition: number }>(
  'release_partition_leases',
  `UPDATE partition_leases SET owner_id = NULL, expires_at = '-infinity'
   WHERE owner_id = $1 AND partition = ANY ($2::smallint[]) RETURNING partition`,
);

/** Gives partitions back, so that others may take them at once. Those that `ownerId` does not hold are left alone. */
export async function releasePartitionLeases(
  database: Queryable,
  ownerId: string,
  partitions: readonly number[],
): Promise<void> {
  await releaseRows(database, [ownerId, partitions]);
}

const countUnowned = nameStatement<{ count: number }>(
  'count_unowned_partitions',
  `SELECT count(*)::int AS count FROM partition_leases
   WHERE partition = ANY ($1::smallint[]) AND expires_at <= clock_timestamp()`,
);

/** Of these partitions, how many nobody holds. */
export async function countUnownedPartitions(database: Queryable, partitions: readonly number[]): Promise<number> {
  const [row] = await countUnowned(database, [partitions]);
  return row!.count;
}
