import { sql } from 'kysely';
import type { Database } from '../connect.ts';
import { INSTANCE_TTL_MS } from '../queries/service-instances.ts';
import type { ServiceInstanceRow } from '../tables.ts';

/** Instances that one list shows. Far more than an install runs; those started first come first. */
const INSTANCES_LISTED_MAX = 1000;

/** An instance and the partitions whose unexpired lease it holds (none for other roles than schedulers). */
export type LiveInstance = ServiceInstanceRow & { partitions: number[] };

/** The instances of a role that were heard of within INSTANCE_TTL_MS, in the order in which they started. */
export async function listInstances(
  database: Pick<Database, 'kysely'>,
  role: ServiceInstanceRow['role'],
): Promise<LiveInstance[]> {
  return database.kysely
    .selectFrom('service_instances as i')
    .selectAll('i')
    .select(
      sql<number[]>`ARRAY(
        SELECT l.partition FROM partition_leases AS l
        WHERE l.owner_id = i.id AND l.expires_at > statement_timestamp() ORDER BY l.partition
      )`.as('partitions'),
    )
    .where('i.role', '=', role)
    .where(
      'i.heartbeat_at',
      '>',
      sql<number>`statement_timestamp() - ${INSTANCE_TTL_MS}::float8 * interval '1 millisecond'`,
    )
    .orderBy('i.started_at')
    .orderBy('i.id')
    .limit(INSTANCES_LISTED_MAX)
    .execute();
}
