import { type RunningStack, startStack } from '@punctual/local-servers';
import { createEmptyDatabase } from '@punctual/testkit';

/** Two api processes on a database of their own, and nothing else: what is created stays as it is. */
export async function startApis(): Promise<{ stack: RunningStack; stop(): Promise<void> }> {
  const database = await createEmptyDatabase();
  const stack = await startStack({
    api: 2,
    scheduler: 0,
    worker: 0,
    databaseUrl: database.url,
    redisUrl: null,
    ephemeral: true,
    env: { LOG_LEVEL: 'fatal' },
    log: () => {},
  });
  return {
    stack,
    async stop() {
      await stack.stop();
      await database.drop();
    },
  };
}
