import { expect, test } from 'vitest';
import { countSkipped, formatComparison, type Turn } from './report-comparison.ts';

const ORIGIN = { command: 'npm run compare -- ../other', commit: 'abc', machine: 'one', measuredAt: 'now' };
const makeTurn = (total: number, faults: string[] = []): Turn => ({
  cpuMicrosecondsPerTimer: { total, postgres: 1, 'api-1': 1, 'scheduler-1': 1, 'worker-1': 1, redis: 1 },
  stolenShare: 0,
  latenessMs: { min: 0, p50: 1, p95: 2, p99: 3, max: 4 },
  timersPerSecond: 100,
  faults,
});

test('the ratio is the median of the rounds, whatever the machine did from one to the next', () => {
  const before = [100, 200, 100, 400, 100].map((total) => makeTurn(total));
  const after = [110, 220, 110, 440, 130].map((total) => makeTurn(total));
  const report = formatComparison(ORIGIN, ['old', 'new'], before, after);
  expect(report).toContain('| CPU µs/timer | 100.0 | 130.0 | 1.100 (1.10 to 1.30) |');
  expect(report).not.toContain('Does not count');
});

test('a turn with a fault is told', () => {
  const report = formatComparison(ORIGIN, ['old', 'new'], [makeTurn(1)], [makeTurn(1, ['1 requests came early'])]);
  expect(report).toContain('**Does not count:** 1 requests came early.');
});

test('the interval leaves out as many values as the tables of the sign test say', () => {
  // Two-sided, 10%: the least and the largest count of five; one less at either end of eight, two of eleven, five of twenty.
  expect([5, 8, 11, 20].map(countSkipped)).toEqual([0, 1, 2, 5]);
});
