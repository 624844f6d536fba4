import type { Queryable, Transaction } from '../connect.ts';
import { nameStatement } from '../statement.ts';
import { INSTANCE_TTL_MS } from './service-instances.ts';

/** Roles of which instances may be drained: apis are taken out by the load balancer. */
export type DrainableRole = 'scheduler' | 'worker';

interface LockedInstance {
  id: string;
  isDraining: boolean;
}

// Locks the instances of a role that are alive, in the order of their ids: of two that drain the last two, one waits and then
// sees what the other did. Heartbeats wait for it as well, for as long as the transaction takes.
const lockRows = nameStatement<LockedInstance>(
  'lock_service_instances',
  `SELECT id, drain_requested_at IS NOT NULL AS "isDraining" FROM service_instances
   WHERE role = $1 AND heartbeat_at > clock_timestamp() - $2::float8 * interval '1 millisecond'
   ORDER BY id FOR UPDATE`,
);

const setDrain = nameStatement(
  'drain_service_instance',
  'UPDATE service_instances SET drain_requested_at = CASE WHEN $2 THEN clock_timestamp() END WHERE id = $1',
);

/** What became of a wish to drain an instance, or to let it work again. */
export type SteerOutcome = 'changed' | 'unchanged' | 'unknown' | 'last';

/**
 * Asks an instance to take no more, or to work again; it hears of it with its next heartbeat. Refuses to drain the last of its
 * role that works (`last`), unless it is forced to.
 */
export async function steerInstance(
  client: Transaction,
  { role, id, isDraining, isForced }: { role: DrainableRole; id: string; isDraining: boolean; isForced: boolean },
): Promise<SteerOutcome> {
  const instances = await lockRows(client, [role, INSTANCE_TTL_MS]);
  const instance = instances.find((other) => other.id === id);
  if (!instance) return 'unknown';
  if (instance.isDraining === isDraining) return 'unchanged';
  const isLast = !instances.some((other) => other.id !== id && !other.isDraining);
  if (isDraining && isLast && !isForced) return 'last';
  await setDrain(client, [id, isDraining]);
  return 'changed';
}

// Locks the leases that it ends. A lease that somebody is renewing or taking at this moment is waited for, and looked at again.
const endSurplus = nameStatement<{ partition: number; ownerId: string }>(
  'end_surplus_leases',
  `WITH live AS (
     SELECT id, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS live_count FROM service_instances
     WHERE role = 'scheduler' AND drain_requested_at IS NULL
       AND heartbeat_at > clock_timestamp() - $1::float8 * interval '1 millisecond'
   ), shares AS (
     SELECT live.id, p.partition_count / live_count + (place < p.partition_count % live_count)::int AS share
     FROM live CROSS JOIN (SELECT count(*) AS partition_count FROM partition_leases) AS p
   ), held AS (
     SELECT partition, owner_id, row_number() OVER (PARTITION BY owner_id ORDER BY partition) AS place
     FROM partition_leases WHERE owner_id IS NOT NULL
   )
   UPDATE partition_leases AS l SET owner_id = NULL, expires_at = '-infinity'
   FROM held LEFT JOIN shares ON shares.id = held.owner_id
   WHERE l.partition = held.partition AND l.owner_id = held.owner_id AND held.place > coalesce(shares.share, 0)
     AND EXISTS (SELECT FROM live)
   RETURNING l.partition, held.owner_id AS "ownerId"`,
);

/**
 * Ends the leases of partitions that schedulers hold above their share (`countShare`), and those of schedulers that are gone
 * or drained: whoever has room takes them with its next turn. Without a scheduler that works it ends none.
 */
export function endSurplusLeases(database: Queryable): Promise<{ partition: number; ownerId: string }[]> {
  return endSurplus(database, [INSTANCE_TTL_MS]);
}
