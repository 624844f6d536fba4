import type { Queryable } from '../connect.ts';
import { nameStatement } from '../statement.ts';

export interface ServiceInstance {
  id: string;
  role: 'api' | 'scheduler' | 'worker';
  host: string;
  pid: number;
  version: string;
  /** What the operators' lists show beside it. */
  details: Record<string, unknown>;
}

/** What an instance hears when it says that it is alive. */
export interface Beat {
  /** Since when it is asked to take no more (epoch ms, database's clock); null: it is to work. */
  drainRequestedAt: number | null;
  /** Others of its role that are alive and are to work. */
  peers: number;
  /** Those of them whose id is smaller. */
  peersBefore: number;
  /** Of the installation; it may have grown. */
  partitionCount: number;
}

/** An instance that has not been heard of for this long counts as gone (ms). Several heartbeats fit into it. */
export const INSTANCE_TTL_MS = 3_000;
/** Between two heartbeats of an instance (ms). */
export const HEARTBEAT_INTERVAL_MS = 1_000;

const upsertInstance = nameStatement<Beat>(
  'beat_service_instance',
  `WITH beat AS (
     INSERT INTO service_instances (id, role, host, pid, version, started_at, heartbeat_at, details, drain_requested_at)
     VALUES ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp(), $6, to_timestamp($8::float8 / 1000))
     ON CONFLICT (id) DO UPDATE SET heartbeat_at = clock_timestamp(), details = excluded.details
     RETURNING drain_requested_at
   ), gone AS (
     DELETE FROM service_instances WHERE heartbeat_at < clock_timestamp() - $7::float8 * 20 * interval '1 millisecond'
   )
   SELECT (SELECT drain_requested_at FROM beat) AS "drainRequestedAt",
     (SELECT partition_count FROM installation) AS "partitionCount",
     count(*)::int AS peers, (count(*) FILTER (WHERE id < $1))::int AS "peersBefore"
   FROM service_instances
   WHERE role = $2 AND id <> $1 AND drain_requested_at IS NULL
     AND heartbeat_at > clock_timestamp() - $7::float8 * interval '1 millisecond'`,
);

/**
 * Says that this instance is alive; forgets those gone for a minute. `drainRequestedAt` is what the instance heard last: it
 * counts when the instance itself was taken for gone meanwhile.
 */
export async function beatServiceInstance(
  database: Queryable,
  instance: ServiceInstance,
  drainRequestedAt: number | null = null,
): Promise<Beat> {
  const [row] = await upsertInstance(database, [
    instance.id,
    instance.role,
    instance.host,
    instance.pid,
    instance.version,
    JSON.stringify(instance.details),
    INSTANCE_TTL_MS,
    drainRequestedAt,
  ]);
  return row!;
}

const deleteInstance = nameStatement('remove_service_instance', 'DELETE FROM service_instances WHERE id = $1');

/** Says goodbye, so that the others need not wait for the heartbeat to age. */
export async function removeServiceInstance(database: Queryable, id: string): Promise<void> {
  await deleteInstance(database, [id]);
}
