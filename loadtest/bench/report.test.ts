import { expect, test } from 'vitest';
import { formatReport, type RunResult } from './report.ts';

const origin = { command: 'npm run bench', commit: 'abc', machine: '2 × core', measuredAt: '2026-01-01T00:00:00.000Z' };
const drained = (engine: 'punctual' | 'pg-boss' | 'bullmq-redis', round: number, rate: number): RunResult => ({
  scenario: 'drain',
  engine,
  round,
  result: {
    timers: 10,
    timersPerSecond: rate,
    createdPerSecondInBatches: 1,
    cpuMicrosecondsPerTimer: { total: 1_000_000 / rate },
    stolenShare: 0.1,
    bytesPerTimer: { waiting: 1, delivered: 2, redisWaiting: 0, walOfCreate: 3, walOfDelivery: 4 },
    memoryMegabytes: {},
    faults: [],
  },
});

test('a report gives medians of the rounds and the ratio to the best peer of each column', () => {
  const text = formatReport(origin, [
    drained('punctual', 1, 100),
    drained('punctual', 2, 300),
    drained('punctual', 3, 200),
    drained('pg-boss', 1, 100),
    drained('bullmq-redis', 1, 50),
  ]);
  expect(text).toContain('| punctual | 200 | 5000.0 |');
  expect(text).toMatch(/\*\*punctual to the best peer\*\* \| 2\.00× \| 0\.50× \|/);
  expect(text).toContain('Every timer arrived');
});

test('a report of Punctual alone has no ratio, and names every fault', () => {
  const run = drained('punctual', 1, 100);
  run.result.faults.push('3 requests came early');
  const text = formatReport(origin, [run]);
  expect(text).not.toContain('best peer');
  expect(text).toContain('- punctual, drain: 3 requests came early');
});
