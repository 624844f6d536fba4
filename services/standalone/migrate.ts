import { parseArgs } from 'node:util';
import { growPartitions, migrateDown, migrateUp, PARTITIONS_MAX } from '@punctual/database';
import { migrateQueue } from '@punctual/queue';
import { waitForMigrations } from './wait-for-migrations.ts';

const USAGE = `Applies the migrations that the database has not had yet. Services refuse to start until they are applied.

  npm run migrate            apply all that are missing
  npm run migrate -- --down     take the newest one back (deletes what it made!)
  npm run migrate -- --wait     change nothing; wait until somebody else has applied all, 10 minutes at most
  npm run migrate -- --partitions N   raise the number of partitions, beside running services; restart apis and workers then

Settings (environment): DATABASE_URL; REDIS_URL, which tells that the queue needs no tables in Postgres;
PARTITION_COUNT, 1 to 1024, which counts at the very first migration only (64 when absent).`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      down: { type: 'boolean' },
      wait: { type: 'boolean' },
      partitions: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const databaseUrl = process.env.DATABASE_URL;
  if (!databaseUrl) {
    console.error(
      'DATABASE_URL is not set. It names the Postgres database to migrate, as postgres://user:password@host:port/name.',
    );
    return 1;
  }
  const partitionCount = readCount('PARTITION_COUNT', process.env.PARTITION_COUNT || undefined);
  const wanted = readCount('--partitions', values.partitions);
  if (values.wait) {
    await waitForMigrations(databaseUrl, (line) => console.log(line));
    console.log('Every migration has been applied.');
    return 0;
  }
  if (wanted !== undefined) {
    const before = await growPartitions(databaseUrl, wanted);
    console.log(
      before === wanted
        ? `There are ${wanted} partitions already.`
        : `${before} partitions are ${wanted} now. Schedulers share them; restart apis and workers, which choose among ${before} until then.`,
    );
    return 0;
  }
  if (values.down) {
    const name = await migrateDown(databaseUrl);
    console.log(name ? `Took back ${name}.` : 'There is no migration to take back.');
    return 0;
  }
  const applied = await migrateUp(databaseUrl, partitionCount === undefined ? {} : { partitionCount });
  await migrateQueue({ databaseUrl, redisUrl: process.env.REDIS_URL || undefined });
  console.log(
    applied.length === 0 ? 'Nothing to do: every migration has been applied.' : `Applied ${applied.join(', ')}.`,
  );
  return 0;
}

/** Throws RangeError when `text` is given and names no number of partitions. */
function readCount(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= PARTITIONS_MAX) return count;
  throw new RangeError(`${name}=${text} is not a whole number from 1 to ${PARTITIONS_MAX}.`);
}

process.exitCode = await main().catch((error: Error) => {
  console.error(`Nothing was changed. ${error.message}`);
  return 1;
});
