import { ChunkQueue } from '@punctual/queue';
import { runService } from '@punctual/runtime';
import { readApiConfig } from './config.ts';
import { startApi } from './start.ts';

await runService({
  name: 'punctual-api',
  readConfig: () => readApiConfig(process.env),
  start: async (config, logger) => {
    // Only looked at: the api neither sends to the queue nor needs it.
    const queue = new ChunkQueue(
      {
        databaseUrl: config.DATABASE_URL,
        redisUrl: config.REDIS_URL,
        redisPrefix: config.REDIS_PREFIX,
        queueCount: config.QUEUE_COUNT,
      },
      (error) => logger.debug({ err: error }, 'the queue can not be reached'),
    );
    try {
      const api = await startApi({ config, logger, readQueues: () => queue.listFigures() });
      return {
        stop: async () => {
          await api.stop();
          await queue.close();
        },
      };
    } catch (error) {
      await queue.close();
      throw error;
    }
  },
});
