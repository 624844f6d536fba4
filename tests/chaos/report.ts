import type { Origin } from '@punctual/loadtest-command';
import type { Breakage } from './breakages.ts';
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
  'of them unasked',
  'failed starts',
  'fault s',
  'recovery s',
  'p95 ms after',
  'answers > 5 s',
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
    result.unaskedEnds,
    result.failedStarts,
    toSeconds(result.faultMs),
    toSeconds(result.recoveryMs),
    Math.round(result.latenessP95Ms),
    result.answersBeyondLimit,
    result.slowestAnswerMs,
    result.refused,
    result.offences.length,
  ]);
  const offences = results.flatMap(({ name, seed, offences: found }) =>
    found.map(({ check, text }) => `- ${name} (seed ${seed}), ${check}: ${text}`),
  );
  return [
    formatOrigin(origin),
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

/** A defect that was tried, and the line by which it was noticed, or what happened instead. */
export interface TriedBreakage {
  breakage: Breakage;
  isRed: boolean;
  seen: string;
}

/** The table of defects and of what noticed them. */
export function formatBreakages(origin: Origin, tried: readonly TriedBreakage[]): string {
  const rows = tried.map(({ breakage, isRed, seen }) => [
    breakage.name,
    breakage.summary,
    breakage.case,
    breakage.check,
    (isRed ? seen : `NOT NOTICED: ${seen}`).replaceAll('|', '\\|').replaceAll('\n', ' '),
  ]);
  return [
    formatOrigin(origin),
    '',
    '| Defect | What it does | Case | Check that must notice | Seen |',
    '|---|---|---|---|---|',
    ...rows.map((row) => `| ${row.join(' | ')} |`),
  ].join('\n');
}

function formatOrigin(origin: Origin): string {
  return `\`${origin.command}\`, commit ${origin.commit}, ${origin.machine}, ${origin.measuredAt}`;
}

// Where there was no fault there is no recovery either.
function toSeconds(ms: number | undefined): string {
  return ms === undefined ? '–' : (ms / 1_000).toFixed(1);
}
