import type { Options } from 'k6/options';
import { PLAN_VARIABLE, type Plan } from './plan.ts';

export const plan = readPlan();

function readPlan(): Plan {
  const text = __ENV[PLAN_VARIABLE];
  if (text === undefined) throw new Error('This script is started by the runner: npm run loadtest');
  return JSON.parse(text) as Plan;
}

/** Headers for the api. */
export const AUTHORIZATION: Record<string, string> = plan.key === '' ? {} : { authorization: `Bearer ${plan.key}` };

const VUS_MIN = 50;
/** Some 2 MB each, so a k6 whose answers do not come stays under 2 GB. */
const VUS_MAX = 1_000;

/** A shared machine now and then stands still for a second, in which requests go on being due. */
const PAUSE_FACTOR = 4;

/**
 * VUs for executors that begin iterations at a rate, whatever became of those before: as many as there are requests on
 * their way when all answers take a few times as long as they may. All are made before the load begins, because k6 is
 * too slow at making them in a spike.
 */
export function sizeVus(peakRate: number) {
  const vus = Math.ceil(((peakRate * plan.limits.answerP95Ms) / 1000) * PAUSE_FACTOR);
  return { preAllocatedVUs: Math.min(VUS_MAX, Math.max(VUS_MIN, vus)) };
}

/**
 * What every load must keep. An answer is part of the guarantees: what is refused, or hangs, was not stored for sure.
 * `dropped_iterations` are those that k6 could not begin in time, so that the load was not the one asked for.
 */
export const LOAD_THRESHOLDS = {
  http_req_failed: ['rate==0'],
  checks: ['rate==1'],
  dropped_iterations: ['count==0'],
  timers_created: ['count>0'],
  'http_req_duration{name:create}': [`p(95)<${plan.limits.answerP95Ms}`],
} satisfies Options['thresholds'];

export const SUMMARY_TREND_STATS = ['med', 'p(95)', 'p(99)', 'max', 'count'];

/** Options of a load that begins so many iterations a second as the plan says, whatever became of those before. */
export function holdRate(thresholds: Options['thresholds'] = {}): Options {
  return {
    scenarios: {
      load: {
        executor: 'constant-arrival-rate',
        rate: plan.rate,
        duration: `${plan.seconds}s`,
        ...sizeVus(plan.rate),
      },
    },
    thresholds: { ...LOAD_THRESHOLDS, ...thresholds },
    summaryTrendStats: SUMMARY_TREND_STATS,
  };
}

/** k6 calls this at the end, with all metrics and what became of their thresholds. */
export function writeSummary(data: unknown): Record<string, string> {
  return { [plan.summary]: JSON.stringify(data) };
}
