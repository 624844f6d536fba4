import type { Origin } from '@punctual/loadtest-command';
import { median } from './percentile.ts';
import type { Cost } from './scenarios/measure.ts';
import type { SinkStats } from './sink.ts';

/** What one checkout did with one turn's work. */
export interface Turn extends Cost {
  latenessMs: SinkStats['lateness'];
  timersPerSecond: number;
  faults: string[];
}

const ROWS: readonly (readonly [string, (turn: Turn) => number])[] = [
  ['CPU µs/timer', (turn) => turn.cpuMicrosecondsPerTimer.total],
  ['of Postgres', (turn) => turn.cpuMicrosecondsPerTimer.postgres!],
  ['of the api', (turn) => turn.cpuMicrosecondsPerTimer['api-1']!],
  ['of the scheduler', (turn) => turn.cpuMicrosecondsPerTimer['scheduler-1']!],
  ['of the worker', (turn) => turn.cpuMicrosecondsPerTimer['worker-1']!],
  ['of Redis', (turn) => turn.cpuMicrosecondsPerTimer.redis!],
  ['late p50 ms', (turn) => turn.latenessMs.p50],
  ['p95', (turn) => turn.latenessMs.p95],
  ['p99', (turn) => turn.latenessMs.p99],
  ['timers/s', (turn) => turn.timersPerSecond],
];
/** Of so many turns the interval below holds the true median with at least 90% (the sign test's interval). */
const INTERVAL_TURNS_MIN = 5;

/**
 * A Markdown table: the medians of both checkouts, and of the ratio of each turn to the other's of the same round, with the
 * interval in which it lies nine times of ten. Turn n of `before` and of `after` are of one round.
 */
export function formatComparison(
  origin: Origin,
  [nameBefore, nameAfter]: readonly [string, string],
  before: readonly Turn[],
  after: readonly Turn[],
): string {
  const rows = ROWS.map(([title, read]) => {
    const ratios = after.map((turn, index) => read(turn) / read(before[index]!));
    const cells = [median(before.map(read)).toFixed(1), median(after.map(read)).toFixed(1), formatRatio(ratios)];
    return `| ${[title, ...cells].join(' | ')} |`;
  });
  const faults = [...before, ...after].flatMap((turn) => turn.faults);
  return [
    `\`${origin.command}\`, commit ${origin.commit}, ${origin.machine}, ${origin.measuredAt}; medians of ${before.length} turns.`,
    '',
    `| | ${nameBefore} | ${nameAfter} | ratio |`,
    '|---|---|---|---|',
    ...rows,
    ...(faults.length > 0 ? ['', ...faults.map((fault) => `**Does not count:** ${fault}.`)] : []),
  ].join('\n');
}

function formatRatio(ratios: readonly number[]): string {
  const sorted = ratios.toSorted((a, b) => a - b);
  const middle = median(sorted).toFixed(3);
  if (sorted.length < INTERVAL_TURNS_MIN) return middle;
  const skipped = countSkipped(sorted.length);
  return `${middle} (${sorted[skipped]!.toFixed(2)} to ${sorted.at(-1 - skipped)!.toFixed(2)})`;
}

/**
 * How many values may be left out at either end so that the median of what they were drawn from lies between the others with
 * at least 90%: the chance that so few of `count` fall on one side is binomial (the sign test; Conover, Practical
 * Nonparametric Statistics, 3.2).
 */
export function countSkipped(count: number): number {
  let ways = 1;
  let below = 1 / 2 ** count;
  let skipped = 0;
  while (2 * below <= 0.1) {
    skipped += 1;
    ways = (ways * (count - skipped + 1)) / skipped;
    below += ways / 2 ** count;
  }
  return Math.max(0, skipped - 1);
}
