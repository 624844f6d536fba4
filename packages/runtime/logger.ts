import { ecsFormat } from '@elastic/ecs-pino-format';
import { type Logger, pino } from 'pino';

export type { Logger };

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/**
 * A pino logger that writes one line of JSON an event, with the field names of the Elastic Common Schema, to
 * standard output, or to `destination`.
 */
export function createLogger(options: {
  serviceName: string;
  serviceVersion: string;
  level: LogLevel;
  destination?: { write(line: string): void };
}): Logger {
  const format = ecsFormat({ serviceName: options.serviceName, serviceVersion: options.serviceVersion });
  return options.destination
    ? pino({ ...format, level: options.level }, options.destination)
    : pino({ ...format, level: options.level });
}
