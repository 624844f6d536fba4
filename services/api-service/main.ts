import { ChunkQueue } from '@punctual/queue';
import { createLogger, stopOnSignals, VERSION } from '@punctual/runtime';
import { readApiConfig } from './config.ts';
import { startApi } from './start.ts';

try {
  const config = readApiConfig(process.env);
  const logger = createLogger({ serviceName: 'punctual-api', serviceVersion: VERSION, level: config.LOG_LEVEL });
  // Only looked at: the api neither sends to the queue nor needs it.
  const queue = new ChunkQueue(
    { databaseUrl: config.DATABASE_URL, redisUrl: config.REDIS_URL, redisPrefix: config.REDIS_PREFIX },
    (error) => logger.debug({ err: error }, 'the queue can not be reached'),
  );
  const api = await startApi({ config, logger, readQueues: async () => [await queue.readFigures()] });
  stopOnSignals({
    logger,
    stop: async () => {
      await api.stop();
      await queue.close();
    },
  });
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
