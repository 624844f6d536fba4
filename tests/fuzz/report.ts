import type { Origin } from '@punctual/loadtest-command';
import type { FuzzResult } from './fuzz.ts';

export interface RunFigures {
  seed: number;
  seconds: number;
  /** Of the api's process, before and after (bytes); undefined where the system does not tell. */
  memory: readonly (number | undefined)[];
}

/** The result for people: what was sent, what came back, what is wrong. */
export function formatReport(origin: Origin & { note?: string }, result: FuzzResult, figures: RunFigures): string {
  const { cases, rounds, counts, failures, unseen } = result;
  const columns = ['2xx', '4xx', '5xx', 'none'];
  const rows = Object.entries(counts).map(
    ([actor, row]) => `| ${actor} | ${columns.map((column) => row[column] ?? 0).join(' | ')} |`,
  );
  const [before, after] = figures.memory.map((bytes) =>
    bytes === undefined ? '?' : String(Math.round(bytes / 1024 / 1024)),
  );
  return [
    `\`${origin.command}\` at \`${origin.commit}\`, ${origin.measuredAt.slice(0, 10)}`,
    '',
    `${origin.machine}.${origin.note === undefined ? '' : ` ${origin.note}`}`,
    '',
    `Seed ${figures.seed}: ${cases} requests in ${rounds} rounds and ${Math.round(figures.seconds)} s; memory of the api ${before} MiB before, ${after} MiB after.`,
    '',
    '| sent by | 2xx | 4xx | 5xx | no whole answer |',
    '|---|--:|--:|--:|--:|',
    ...rows,
    '',
    failures.length === 0
      ? 'Nothing was wrong: no 5xx, every answer as described, every door kept, the ledger balanced.'
      : `${failures.length} failures:\n\n${failures.map((failure) => `- ${failure}`).join('\n')}`,
    '',
    unseen.length === 0
      ? 'Every status of the document was seen.'
      : `Statuses of the document that no request happened to get (${unseen.length}): ${unseen.join(', ')}.`,
  ].join('\n');
}
