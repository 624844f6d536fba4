import { describe, expect, it } from 'vitest';
import { hasHistory, openVersion, PREVIOUS_COMMIT } from './roll/other-version.ts';
import { roll } from './roll/roll.ts';

/** Here; `npm run roll` takes any rate. */
const LOAD = { rate: 50, seconds: 3, log: () => {} };
const TEST_LIMIT_MS = 240_000;
/** More than an owner who goes without a word leaves its partitions alone, less than any sweep or lease takes (ms). */
const GAP_MS = 5_000;

const isWhole = await hasHistory();

describe('while timers are created and delivered', () => {
  it(
    'every process is restarted, and no request is refused, no timer lost, repeated or left for a lease to end',
    async () => {
      const { faults, created, during, slowestAnswerMs, restarts } = await roll(LOAD);
      console.log(JSON.stringify({ created, during, slowestAnswerMs }));
      expect(faults).toEqual([]);
      expect(restarts).toBe(6);
      expect(during.timers).toBeGreaterThan(0);
      expect(during.max).toBeLessThan(GAP_MS);
    },
    TEST_LIMIT_MS,
  );

  // A shallow clone holds no other version than its own.
  it.runIf(isWhole)(
    'the version before this one is replaced: both work side by side on a database that is migrated beneath them',
    async () => {
      const previous = await openVersion(PREVIOUS_COMMIT);
      try {
        const { faults, created, during, slowestAnswerMs } = await roll({ ...LOAD, from: previous.folder });
        console.log(JSON.stringify({ created, during, slowestAnswerMs }));
        expect(faults).toEqual([]);
        expect(during.timers).toBeGreaterThan(0);
        expect(during.max).toBeLessThan(GAP_MS);
      } finally {
        await previous.remove();
      }
    },
    TEST_LIMIT_MS,
  );
});
