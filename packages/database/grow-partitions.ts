import pg from 'pg';
import { LOCK_TIMEOUT_MS } from './migrate.ts';

/** As the table says. */
export const PARTITIONS_MAX = 1024;
const UNDEFINED_TABLE = '42P01';

/**
 * Raises the number of logical partitions, beside running services. Nothing is moved: what there is stays in its partition, and
 * is found by its id. Schedulers share the new partitions within a renewal of their leases; apis and workers choose among them
 * from their next start on. Returns how many there were; as many as there are is no change.
 * Rejects with RangeError when there are more already, and when `count` is no whole number from 1 to PARTITIONS_MAX; with Error
 * when the database has had no migration yet.
 */
export async function growPartitions(connectionString: string, count: number): Promise<number> {
  if (!(Number.isInteger(count) && count >= 1 && count <= PARTITIONS_MAX)) {
    throw new RangeError(`${count} is not a whole number from 1 to ${PARTITIONS_MAX}.`);
  }
  const client = new pg.Client({
    connectionString,
    application_name: 'punctual-migrate',
    options: `-c lock_timeout=${LOCK_TIMEOUT_MS}`,
  });
  await client.connect();
  try {
    await client.query('BEGIN');
    const before = await lockPartitionCount(client);
    if (count < before) {
      throw new RangeError(
        `There are ${before} partitions, and they can not become fewer: the timers in those that go would be read by nobody.`,
      );
    }
    await client.query('INSERT INTO partition_leases (partition) SELECT generate_series($1::int, $2::int - 1)', [
      before,
      count,
    ]);
    await client.query('UPDATE installation SET partition_count = $1', [count]);
    await client.query('COMMIT');
    return before;
  } finally {
    // Rolls back what was not committed.
    await client.end();
  }
}

async function lockPartitionCount(client: pg.Client): Promise<number> {
  const { rows } = await client
    .query<{ count: number }>('SELECT partition_count AS count FROM installation FOR UPDATE')
    .catch((error: pg.DatabaseError) => {
      if (error.code !== UNDEFINED_TABLE) throw error;
      throw new Error('The database has no partitions yet: run `npm run migrate` first.', { cause: error });
    });
  return rows[0]!.count;
}
