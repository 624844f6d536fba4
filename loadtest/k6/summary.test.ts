import { expect, test } from 'vitest';
import { formatReport, type K6Summary, listFailures, type ScenarioResult } from './summary.ts';

const ORIGIN = {
  command: 'npm run loadtest',
  commit: '0123456',
  machine: '2 × something',
  k6: 'v1.8.1',
  measuredAt: '2026-01-02T03:04:05.000Z',
  note: 'Other work ran on the machine.',
};

const summarize = (metric: string, values: Record<string, number>, threshold: string, ok: boolean): K6Summary => ({
  metrics: { [metric]: { type: 'counter', values, thresholds: { [threshold]: { ok } } } },
});

const result = (isMissing: boolean): ScenarioResult => ({
  plan: { name: 'create', rate: 10, seconds: 4, limits: { answerP95Ms: 1, latenessP95Ms: 1 } },
  load: summarize('http_req_duration{name:create}', { 'p(95)': 12.34 }, 'p(95)<250', true),
  proof: summarize('timers_missing', { count: isMissing ? 3 : 0 }, 'count==0', !isMissing),
});

test('a run whose thresholds all held says so', () => {
  expect(listFailures(result(false))).toEqual([]);
  const report = formatReport(ORIGIN, [result(false)]);
  expect(report).toContain('| answer to a create, p95 ms | 12.3 |');
  expect(report).toContain('Other work ran on the machine.');
  expect(report).toContain('All 2 thresholds held.');
});

test('a failed threshold is named with the value that broke it', () => {
  expect(listFailures(result(true))).toEqual(['create: timers_missing: count==0, but is 3']);
  expect(formatReport(ORIGIN, [result(true)])).toContain('1 of 2 thresholds failed:');
});

test('a load without a proof is a failure', () => {
  const { proof: _, ...unproved } = result(false);
  expect(listFailures(unproved)).toEqual(['create: there is no proof']);
});
