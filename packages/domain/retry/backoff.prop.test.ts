import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BACKOFF_MAX_MS,
  completeRetryPolicy,
  computeBackoffMs,
  RETRIES_MAX,
  RETRY_AFTER_MAX_MS,
  RETRY_DEFAULT,
  type RetryPolicy,
} from './backoff.ts';

const policy: fc.Arbitrary<RetryPolicy> = fc.record({
  maxRetries: fc.integer({ min: 0, max: RETRIES_MAX }),
  backoff: fc.record({
    initialMs: fc.integer({ min: 0, max: BACKOFF_MAX_MS }),
    factor: fc.double({ min: 1, max: 100, noNaN: true }),
    maxMs: fc.integer({ min: 0, max: BACKOFF_MAX_MS }),
    jitter: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
});
const attempt = fc.integer({ min: 1, max: RETRIES_MAX + 1 });
const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('the backoff', () => {
  it('is a whole number of milliseconds within the jitter around the exact wait, and at most the maximum', () => {
    fc.assert(
      fc.property(policy, attempt, chance, (given, number, random) => {
        const { initialMs, factor, maxMs, jitter } = given.backoff;
        const exact = Math.min(maxMs, initialMs * factor ** (number - 1));
        const waitMs = computeBackoffMs(given, number, () => random);
        expect(Number.isInteger(waitMs)).toBe(true);
        expect(waitMs).toBeGreaterThanOrEqual(Math.floor(exact * (1 - jitter)));
        expect(waitMs).toBeLessThanOrEqual(Math.min(maxMs, Math.ceil(exact * (1 + jitter))));
      }),
      { numRuns: 1_000 },
    );
  });

  it('never gets shorter from one attempt to the next without jitter', () => {
    fc.assert(
      fc.property(policy, fc.integer({ min: 1, max: RETRIES_MAX }), (given, number) => {
        const exact = { ...given, backoff: { ...given.backoff, jitter: 0 } };
        const wait = (which: number) => computeBackoffMs(exact, which, () => 0.5);
        expect(wait(number + 1)).toBeGreaterThanOrEqual(wait(number));
      }),
    );
  });

  it('is lengthened by Retry-After, up to an hour, and never shortened', () => {
    fc.assert(
      fc.property(
        policy,
        attempt,
        chance,
        fc.nat({ max: 2 * RETRY_AFTER_MAX_MS }),
        (given, number, random, retryAfterMs) => {
          const without = computeBackoffMs(given, number, () => random);
          const asked = computeBackoffMs(given, number, () => random, retryAfterMs);
          expect(asked).toBe(Math.max(without, Math.min(retryAfterMs, RETRY_AFTER_MAX_MS)));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('is 1, 2, 4 seconds by default, within a fifth', () => {
    const waits = (random: number) => [1, 2, 3].map((number) => computeBackoffMs(RETRY_DEFAULT, number, () => random));
    expect(waits(0.5)).toEqual([1_000, 2_000, 4_000]);
    expect(waits(0)).toEqual([800, 1_600, 3_200]);
    expect(waits(1)).toEqual([1_200, 2_400, 4_800]);
    expect(RETRY_DEFAULT.maxRetries).toBe(3);
  });
});

describe('a partial policy', () => {
  it('takes what it leaves out from the default', () => {
    expect(completeRetryPolicy(undefined)).toEqual(RETRY_DEFAULT);
    expect(completeRetryPolicy({ maxRetries: 0 })).toEqual({ ...RETRY_DEFAULT, maxRetries: 0 });
    expect(completeRetryPolicy({ backoff: { initialMs: 5 } }).backoff).toEqual({
      ...RETRY_DEFAULT.backoff,
      initialMs: 5,
    });
  });
});
