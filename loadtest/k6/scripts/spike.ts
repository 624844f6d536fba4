// Ten times the rate, at once, for the middle half of the time.
import type { Options } from 'k6/options';
import { LOAD_THRESHOLDS, plan, SUMMARY_TREND_STATS, sizeVus, writeSummary } from './load.ts';
import { SPIKE_FACTOR } from './plan.ts';
import { createTimer } from './timers.ts';

const peakRate = plan.rate * SPIKE_FACTOR;
const quarter = `${plan.seconds / 4}s`;

export const options: Options = {
  scenarios: {
    spike: {
      executor: 'ramping-arrival-rate',
      startRate: plan.rate,
      stages: [
        { target: plan.rate, duration: quarter },
        { target: peakRate, duration: '0s' },
        { target: peakRate, duration: `${plan.seconds / 2}s` },
        { target: plan.rate, duration: '0s' },
        { target: plan.rate, duration: quarter },
      ],
      ...sizeVus(peakRate),
    },
  },
  thresholds: LOAD_THRESHOLDS,
  summaryTrendStats: SUMMARY_TREND_STATS,
};

export const handleSummary = writeSummary;

export default function spike(): void {
  createTimer();
}
