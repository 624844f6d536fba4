import { setTimeout as sleep } from 'node:timers/promises';
import { checkDatabaseReady, connectDatabase, parsePooler } from '@punctual/database';

/** Between two looks (ms): what waits for the migration is a pod whose predecessor still works. */
const LOOK_INTERVAL_MS = 1_000;
/** As long as Kubernetes gives a roll-out by default to get on, and the migration job of manifests/ to end (ms). */
export const WAIT_MAX_MS = 600_000;

/**
 * Resolves when the database has every migration that this code needs, whoever applies them; says in `log` what it waits
 * for, each reason once. Rejects with the last reason after WAIT_MAX_MS. It changes nothing.
 */
export async function waitForMigrations(databaseUrl: string, log: (line: string) => void): Promise<void> {
  const database = connectDatabase({
    connectionString: databaseUrl,
    pooler: parsePooler(process.env.DATABASE_POOLER),
    applicationName: 'punctual-migrate-wait',
    poolSizeMax: 2,
    onIdleError: () => {},
  });
  const deadline = performance.now() + WAIT_MAX_MS;
  let told: string | undefined;
  try {
    for (;;) {
      try {
        await checkDatabaseReady(database);
        return;
      } catch (error) {
        if ((error as { code?: string }).code !== 'database_not_ready' || performance.now() > deadline) throw error;
        const { message } = error as Error;
        if (message !== told) log(`Waiting: ${message}`);
        told = message;
      }
      await sleep(LOOK_INTERVAL_MS);
    }
  } finally {
    await database.close();
  }
}
