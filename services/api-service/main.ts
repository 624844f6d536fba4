import { ConfigError, createLogger, stopOnSignals, VERSION } from '@punctual/runtime';
import { readApiConfig } from './config.ts';
import { startApi } from './start.ts';

try {
  const config = readApiConfig(process.env);
  const logger = createLogger({
    serviceName: 'punctual-api',
    serviceVersion: VERSION,
    level: config.LOG_LEVEL as never,
  });
  const api = await startApi({ config, logger });
  stopOnSignals({ logger, stop: api.stop });
} catch (error) {
  process.stderr.write(`${error instanceof ConfigError || error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
