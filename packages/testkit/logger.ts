import { createLogger, type Logger } from '@punctual/runtime';

/** A logger that keeps its lines, parsed, for the test to look at. */
export function createTestLogger(): { logger: Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger({
    serviceName: 'test',
    serviceVersion: '0',
    level: 'debug',
    destination: { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  });
  return { logger, lines };
}
