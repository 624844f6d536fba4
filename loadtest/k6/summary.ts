import type { Origin } from '@punctual/loadtest-command';
import type { ScenarioPlan } from './options.ts';
import { SPIKE_FACTOR } from './scripts/plan.ts';

/** What k6 hands to `handleSummary`, as far as it is read here. */
export interface K6Summary {
  metrics: Record<
    string,
    { type: string; values: Record<string, number>; thresholds?: Record<string, { ok: boolean }> }
  >;
}

export interface ScenarioResult {
  plan: ScenarioPlan;
  load: K6Summary;
  /** Absent when the load could not be run to its end. */
  proof?: K6Summary;
}

/** Where, when and with what the figures were made. */
export interface LoadtestOrigin extends Origin {
  k6: string;
  note?: string;
}

/** One line for each threshold that failed: "create: timers_missing: count==0, but is 3". */
export function listFailures({ plan, load, proof }: ScenarioResult): string[] {
  const failures = [load, proof].flatMap((summary) =>
    Object.entries(summary?.metrics ?? {}).flatMap(([metric, { values, thresholds }]) =>
      Object.entries(thresholds ?? {})
        .filter(([, { ok }]) => !ok)
        .map(([threshold]) => `${plan.name}: ${metric}: ${threshold}, but is ${readJudged(threshold, values)}`),
    ),
  );
  return proof === undefined ? [...failures, `${plan.name}: there is no proof`] : failures;
}

/** The value that a threshold like `p(95)<250` speaks of. */
function readJudged(threshold: string, values: Record<string, number>): string {
  const name = /^(\w+(?:\([\d.]+\))?)\s*[<>=!]/.exec(threshold)?.[1] ?? '';
  return String(values[name] ?? 'unknown');
}

function countThresholds({ load, proof }: ScenarioResult): number {
  const all = [load, proof].flatMap((summary) => Object.values(summary?.metrics ?? {}));
  return all.reduce((sum, { thresholds }) => sum + Object.keys(thresholds ?? {}).length, 0);
}

interface Row {
  title: string;
  of: 'load' | 'proof';
  metric: string;
  value: string;
  digits?: number;
}

const ROWS: readonly Row[] = [
  { title: 'created', of: 'proof', metric: 'timers_created', value: 'count' },
  { title: '= delivered', of: 'proof', metric: 'timers_delivered', value: 'count' },
  { title: '+ cancelled', of: 'proof', metric: 'timers_cancelled', value: 'count' },
  { title: '+ missing', of: 'proof', metric: 'timers_missing', value: 'count' },
  { title: 'changes', of: 'proof', metric: 'timers_changed', value: 'count' },
  { title: 'reads', of: 'load', metric: 'timers_read', value: 'count' },
  {
    title: 'changes and cancels that were too late (409)',
    of: 'load',
    metric: 'timers_refused_too_late',
    value: 'count',
  },
  { title: 'early', of: 'proof', metric: 'timers_early', value: 'count' },
  { title: 'repeated', of: 'proof', metric: 'timers_repeated', value: 'count' },
  {
    title: 'delivered after an acknowledged cancel',
    of: 'proof',
    metric: 'timers_delivered_after_cancel',
    value: 'count',
  },
  { title: 'ledger: created minus live and finished', of: 'proof', metric: 'ledger_imbalance', value: 'value' },
  {
    title: 'answer to a create, p95 ms',
    of: 'load',
    metric: 'http_req_duration{name:create}',
    value: 'p(95)',
    digits: 1,
  },
  { title: 'p99', of: 'load', metric: 'http_req_duration{name:create}', value: 'p(99)', digits: 1 },
  { title: 'lateness p50 ms', of: 'proof', metric: 'timer_lateness_ms', value: 'med' },
  { title: 'p95', of: 'proof', metric: 'timer_lateness_ms', value: 'p(95)' },
  { title: 'p99', of: 'proof', metric: 'timer_lateness_ms', value: 'p(99)' },
  { title: 'max', of: 'proof', metric: 'timer_lateness_ms', value: 'max' },
  {
    title: 'p95 of the last quarter minus that of the first',
    of: 'proof',
    metric: 'timer_lateness_drift_ms',
    value: 'value',
  },
];

/** A Markdown table with a column for each scenario, and the thresholds that failed. */
export function formatReport(origin: LoadtestOrigin, results: readonly ScenarioResult[]): string {
  const cells = ({ of, metric, value, digits = 0 }: Row) =>
    results.map((result) => result[of]?.metrics[metric]?.values[value]?.toFixed(digits) ?? '–');
  const failures = results.flatMap(listFailures);
  const thresholds = results.reduce((sum, result) => sum + countThresholds(result), 0);
  return [
    `\`${origin.command}\` at \`${origin.commit}\`, ${origin.measuredAt.slice(0, 10)}`,
    '',
    `${origin.machine}, k6 ${origin.k6}. ${origin.note ?? ''}`.trimEnd(),
    '',
    `| | ${results.map(({ plan }) => plan.name).join(' | ')} |`,
    `|---|${results.map(() => '--:').join('|')}|`,
    `| iterations a second | ${results.map(({ plan }) => describeRate(plan)).join(' | ')} |`,
    `| seconds | ${results.map(({ plan }) => plan.seconds).join(' | ')} |`,
    ...ROWS.map((row) => `| ${row.title} | ${cells(row).join(' | ')} |`),
    '',
    failures.length === 0
      ? `All ${thresholds} thresholds held.`
      : `${failures.length} of ${thresholds} thresholds failed:`,
    ...(failures.length === 0 ? [] : ['', ...failures.map((failure) => `- ${failure}`)]),
  ].join('\n');
}

function describeRate({ name, rate }: ScenarioPlan): string {
  return name === 'spike' ? `${rate}, then ${rate * SPIKE_FACTOR}` : String(rate);
}
