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

/** An instance that has not been heard of for this long counts as gone (ms). Several heartbeats fit into it. */
export const INSTANCE_TTL_MS = 3_000;
/** Between two heartbeats of an instance (ms). */
export const HEARTBEAT_INTERVAL_MS = 1_000;

const upsertInstance = nameStatement<{ peers: number }>(
  'beat_service_instance',
  `WITH beat AS (
     INSERT INTO service_instances (id, role, host, pid, version, started_at, heartbeat_at, details)
     VALUES ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp(), $6)
     ON CONFLICT (id) DO UPDATE SET heartbeat_at = clock_timestamp(), details = excluded.details
   ), gone AS (
     DELETE FROM service_instances WHERE heartbeat_at < clock_timestamp() - $7::float8 * 20 * interval '1 millisecond'
   )
   SELECT count(*)::int AS peers FROM service_instances
   WHERE role = $2 AND id <> $1 AND heartbeat_at > clock_timestamp() - $7::float8 * interval '1 millisecond'`,
);

/** Says that this instance is alive. Returns how many others of its role are; forgets those gone for a minute. */
export async function beatServiceInstance(database: Queryable, instance: ServiceInstance): Promise<number> {
  const [row] = await upsertInstance(database, [
    instance.id,
    instance.role,
    instance.host,
    instance.pid,
    instance.version,
    JSON.stringify(instance.details),
    INSTANCE_TTL_MS,
  ]);
  return row!.peers;
}

const deleteInstance = nameStatement('remove_service_instance', 'DELETE FROM service_instances WHERE id = $1');

/** Says goodbye, so that the others need not wait for the heartbeat to age. */
export async function removeServiceInstance(database: Queryable, id: string): Promise<void> {
  await deleteInstance(database, [id]);
}
