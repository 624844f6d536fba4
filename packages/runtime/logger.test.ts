import { expect, it } from 'vitest';
import { createLogger, type LogLevel } from './logger.ts';
import { describeTrace } from './tracing.ts';

function openLog(level: LogLevel = 'info') {
  const lines: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) };
  return {
    lines,
    logger: createLogger({ serviceName: 'punctual-worker', serviceVersion: '1.2.3', level, destination }),
  };
}

it('a log line has the fields of the Elastic Common Schema, in the shapes that it lays down', () => {
  const { lines, logger } = openLog();
  logger.info({ timerId: 'a' }, 'something happened');
  expect(lines).toEqual([
    {
      '@timestamp': expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      'log.level': 'info',
      'ecs.version': expect.stringMatching(/^\d+\.\d+\.\d+$/),
      'service.name': 'punctual-worker',
      'service.version': '1.2.3',
      'event.dataset': 'punctual-worker',
      'process.pid': process.pid,
      'host.hostname': expect.any(String),
      timerId: 'a',
      message: 'something happened',
    },
  ]);
});

it('an error has its type, message and stack where the schema wants them', () => {
  const { lines, logger } = openLog();
  logger.error({ err: new RangeError('too far') }, 'it failed');
  expect(lines[0]).toMatchObject({
    'log.level': 'error',
    error: { type: 'RangeError', message: 'too far', stack_trace: expect.stringContaining('RangeError: too far') },
    message: 'it failed',
  });
  expect(lines[0]).not.toHaveProperty('err');
});

it('a line about something that is traced names the trace and the span', () => {
  const { lines, logger } = openLog();
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
  logger.warn(describeTrace(`00-${traceId}-00f067aa0ba902b7-01`), 'it went wrong');
  expect(lines[0]).toMatchObject({ 'trace.id': traceId, 'span.id': '00f067aa0ba902b7' });
});

it('lines below the level are left out', () => {
  const { lines, logger } = openLog('warn');
  logger.info('unimportant');
  expect(lines).toEqual([]);
});
