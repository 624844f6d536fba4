import type { Origin } from '@punctual/loadtest-command';
import { CHECKS } from './judge/evidence.ts';
import type { CaseResult } from './run-case.ts';

const COLUMNS = [
  'case',
  'timers',
  'delivered',
  'dead',
  'cancelled',
  'edited',
  'repeats',
  'ends of processes',
  'fault s',
  'recovery s',
  'p95 ms after',
  'slowest answer ms',
  '503s',
  'offences',
];

/** The table of a run, with what was judged and what was not run. */
export function formatReport(origin: Origin, results: readonly CaseResult[], left: readonly string[]): string {
  const rows = results.map((result) => [
    result.name,
    result.acknowledged,
    result.delivered,
    result.dead,
    result.cancelled,
    result.edited,
    result.repeats,
    result.processEnds,
    (result.faultMs / 1_000).toFixed(1),
    (result.recoveryMs / 1_000).toFixed(1),
    Math.round(result.latenessP95Ms),
    result.slowestAnswerMs,
    result.refused,
    result.offences.length,
  ]);
  const offences = results.flatMap(({ name, seed, offences: found }) =>
    found.map(({ check, text }) => `- ${name} (seed ${seed}), ${check}: ${text}`),
  );
  return [
    `\`${origin.command}\`, commit ${origin.commit}, ${origin.machine}, ${origin.measuredAt}`,
    '',
    `| ${COLUMNS.join(' | ')} |`,
    `|${COLUMNS.map((_, index) => (index === 0 ? '---' : '--:')).join('|')}|`,
    ...rows.map((row) => `| ${row.join(' | ')} |`),
    '',
    'Recovery: from the heal to the last delivery of what was due by then. Judged in each case:',
    '',
    ...Object.entries(CHECKS).map(([check, text]) => `- ${check}: ${text}`),
    ...(offences.length > 0 ? ['', 'Offences:', '', ...offences] : []),
    ...(left.length > 0 ? ['', 'Not run:', '', ...left.map((line) => `- ${line}`)] : []),
  ].join('\n');
}
