import { ConfigError } from './config.ts';
import { stopOnSignals } from './lifecycle.ts';
import { createLogger, type Logger, type LogLevel } from './logger.ts';
import { VERSION } from './version.ts';

/**
 * The whole of a service's `main.ts`: reads the settings, starts, and drains at SIGTERM or SIGINT. Settings that do
 * not do, and a start that fails, are told in plain sentences on standard error, with exit code 1.
 */
export async function runService<Config extends { LOG_LEVEL: LogLevel }>(options: {
  name: string;
  readConfig: () => Config;
  start: (config: Config, logger: Logger) => Promise<{ stop(): Promise<void> }>;
}): Promise<void> {
  let config: Config;
  try {
    config = options.readConfig();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const fault of error.faults) console.error(fault);
    console.error('Every setting is described in docs/configuration.md.');
    process.exit(1);
  }
  const logger = createLogger({ serviceName: options.name, serviceVersion: VERSION, level: config.LOG_LEVEL });
  try {
    const service = await options.start(config, logger);
    stopOnSignals({ logger, stop: () => service.stop() });
  } catch (error) {
    console.error(`${options.name} could not start: ${explainStart(error)}`);
    process.exit(1);
  }
}

function explainStart(error: unknown): string {
  const { code, port } = error as { code?: string; port?: number };
  if (code === 'EADDRINUSE') return `port ${port} is in use by another program. Choose another one with PORT.`;
  return error instanceof Error ? error.message : String(error);
}
