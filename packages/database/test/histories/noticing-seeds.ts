import fc from 'fast-check';
import pg from 'pg';
import { BREAKAGES, type Breakage } from './breakages.ts';
import { goAsTheModelSays, type HistoryRunner } from './runner.ts';

/** Histories of its seed in which a broken statement must be noticed: few, since every test run goes through them. */
export const HISTORIES_TO_NOTICE_MAX = 40;
/** Seeds that a search tries: the least conspicuous breakage shows in one of some hundred histories. */
const SEEDS_TO_TRY_MAX = 250;
/** SQLSTATE class of statements that make no sense: such a breakage would be noticed for the wrong reason. */
const NONSENSE = /^42/;

/**
 * The seed 1 notices most breakages; these need another. They hold as long as histories and statements are what they were
 * when these were found, and `npm run histories -- --breakage=NAME` finds others.
 */
const SEEDS: ReadonlyMap<string, number> = new Map([
  ['an outcome of a lease that was lost', 4],
  ['a restart of another version', 4],
  ['a cancel that takes no lock', 9],
  ['a retry of a lease that was lost', 55],
  ['a fire that wakes what is parked', 3],
  ['a lone cancel that takes no lock', 7],
  ['a read that begins too late', 6],
  ['a dead letter that nobody keeps', 2],
  ['an edit of what has started', 2],
  ['an edit that wakes what is parked', 2],
  ['an edit that passes over what is parked', 2],
  ['a fire of what has started', 2],
  ['a pause of what has started', 3],
  ['a redrive that is not in the ledger', 2],
  ['a redrive that keeps the version', 2],
  ['a fold that forgets', 2],
]);

/** The seed whose histories are to notice it. */
export function chooseSeed({ name }: Breakage): number {
  return SEEDS.get(name) ?? 1;
}

/** In which history of a seed, counted from 1, a breakage is noticed; undefined when in none of the first. */
export async function noticeBreakage(
  runner: HistoryRunner,
  breakage: Breakage,
  seed: number,
): Promise<number | undefined> {
  await runner.restart();
  const { failed, numRuns, errorInstance } = await fc.check(goAsTheModelSays(runner, breakage), {
    seed,
    numRuns: HISTORIES_TO_NOTICE_MAX,
    endOnFailure: true,
  });
  if (!failed) return undefined;
  const error = errorInstance as Error;
  const isNonsense = error.cause instanceof pg.DatabaseError && NONSENSE.test(error.cause.code ?? '');
  if (isNonsense || error.message.includes('mend the breakage')) throw error;
  return numRuns;
}

/** What to tell of a breakage that its seed does not notice. */
export function explainMissed(breakage: Breakage): string {
  return (
    `${HISTORIES_TO_NOTICE_MAX} histories of the seed ${chooseSeed(breakage)} do not notice ${breakage.name}. After a change ` +
    `of the histories or of ${breakage.statement} another seed may: npm run histories -- --breakage='${breakage.name}' ` +
    'looks for it. If none does, the histories have gone blind.'
  );
}

/** A seed that notices it; undefined when none of many does. */
export async function findNoticingSeed(runner: HistoryRunner, breakage: Breakage): Promise<number | undefined> {
  for (let seed = 1; seed <= SEEDS_TO_TRY_MAX; seed += 1) {
    if ((await noticeBreakage(runner, breakage, seed)) !== undefined) return seed;
  }
  return undefined;
}

/** Names of SEEDS without a breakage. */
export function findStaleSeeds(): string[] {
  return [...SEEDS.keys()].filter((name) => !BREAKAGES.some((breakage) => breakage.name === name));
}
