// The mix at a moderate rate for as long as is asked for. What it adds is in the proof: the last timers must not be later
// than the first.
import type { Options } from 'k6/options';
import { LOAD_THRESHOLDS, plan, SUMMARY_TREND_STATS, sizeVus, writeSummary } from './load.ts';
import { doOneOfTheMix } from './mix.ts';

export const options: Options = {
  scenarios: {
    soak: {
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

export default function soak(): void {
  doOneOfTheMix();
}
