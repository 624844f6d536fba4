// Creates, changes, cancels and reads at a fixed rate, close to the due times, so that they race with the starts.
import type { Options } from 'k6/options';
import { LOAD_THRESHOLDS, plan, SUMMARY_TREND_STATS, sizeVus, writeSummary } from './load.ts';
import { doOneOfTheMix } from './mix.ts';

export const options: Options = {
  scenarios: {
    mixed: {
      executor: 'constant-arrival-rate',
      rate: plan.rate,
      duration: `${plan.seconds}s`,
      ...sizeVus(plan.rate),
    },
  },
  thresholds: {
    ...LOAD_THRESHOLDS,
    // A run in which none of these happened has shown nothing about them.
    timers_changed: ['count>0'],
    timers_cancelled: ['count>0'],
    timers_read: ['count>0'],
    timers_refused_too_late: ['count>0'],
  },
  summaryTrendStats: SUMMARY_TREND_STATS,
};

export const handleSummary = writeSummary;

export default function mixed(): void {
  doOneOfTheMix();
}
