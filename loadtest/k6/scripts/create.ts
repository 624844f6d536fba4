// One create after another at a fixed rate, whatever became of those before.
import type { Options } from 'k6/options';
import { LOAD_THRESHOLDS, plan, SUMMARY_TREND_STATS, sizeVus, writeSummary } from './load.ts';
import { createTimer } from './timers.ts';

export const options: Options = {
  scenarios: {
    create: {
      executor: 'constant-arrival-rate',
      rate: plan.rate,
      duration: `${plan.seconds}s`,
      ...sizeVus(plan.rate),
    },
  },
  thresholds: LOAD_THRESHOLDS,
  summaryTrendStats: SUMMARY_TREND_STATS,
};

export const handleSummary = writeSummary;

export default function create(): void {
  createTimer();
}
