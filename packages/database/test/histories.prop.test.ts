import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BREAKAGES } from './histories/breakages.ts';
import { goAsTheModelSays, HistoryRunner } from './histories/runner.ts';

/** Here; `npm run histories` runs as many as one likes. */
const HISTORIES = 300;
/** In which a broken statement is noticed: the least conspicuous takes some hundred. */
const HISTORIES_TO_NOTICE_MAX = 3_000;
/** So many take a minute when nothing else runs (ms). */
const NOTICE_LIMIT_MS = 300_000;
/** SQLSTATE class of statements that make no sense: such a breakage would be noticed for the wrong reason. */
const NONSENSE = /^42/;

let runner: HistoryRunner;
beforeAll(async () => {
  runner = await HistoryRunner.open();
});
afterAll(() => runner?.close());

describe('random histories of timers', () => {
  it('go as the model says, however their transactions interleave, and their hints are lost, doubled and late', async () => {
    await fc.assert(goAsTheModelSays(runner), { numRuns: HISTORIES });
  });

  it.each(BREAKAGES)('notice $name', { timeout: NOTICE_LIMIT_MS }, async (breakage) => {
    const { failed, errorInstance } = await fc.check(goAsTheModelSays(runner, breakage), {
      numRuns: HISTORIES_TO_NOTICE_MAX,
      endOnFailure: true,
    });
    expect(failed).toBe(true);
    const { message, cause } = errorInstance as Error;
    expect(message).not.toContain('mend the breakage');
    if (cause instanceof pg.DatabaseError) expect(cause.code, message).not.toMatch(NONSENSE);
  });
});
