import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BREAKAGES } from './histories/breakages.ts';
import { chooseSeed, explainMissed, findStaleSeeds, noticeBreakage } from './histories/noticing-seeds.ts';
import { goAsTheModelSays, HistoryRunner } from './histories/runner.ts';

/** Here; `npm run histories` runs as many as one likes. */
const HISTORIES = 300;
/** Ten times what they take alone: everything else runs beside them (ms). */
const LIMIT_MS = 300_000;

let runner: HistoryRunner;
beforeAll(async () => {
  runner = await HistoryRunner.open();
});
afterAll(() => runner?.close());

describe('random histories of timers', () => {
  it(
    'go as the model says, however their transactions interleave, and their hints are lost, doubled and late',
    async () => {
      await fc.assert(goAsTheModelSays(runner), { numRuns: HISTORIES });
    },
    LIMIT_MS,
  );

  it.each(BREAKAGES)('notice $name', { timeout: LIMIT_MS }, async (breakage) => {
    const noticedIn = await noticeBreakage(runner, breakage, chooseSeed(breakage));
    expect(noticedIn, explainMissed(breakage)).toBeDefined();
  });

  it('have a seed for no breakage that is none any more', () => {
    expect(findStaleSeeds()).toEqual([]);
  });
});
