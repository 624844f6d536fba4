import fc from 'fast-check';
import { expect, it } from 'vitest';
import { formatInstant } from './instant.ts';

const MAX_DATE_MS = 8.64e15;

it('any instants in any order read as a Date writes them', () => {
  const near = fc.integer({ min: -200_000, max: 200_000 });
  const anywhere = fc.double({ min: -MAX_DATE_MS, max: MAX_DATE_MS, noNaN: true });
  fc.assert(
    fc.property(fc.array(fc.oneof(near, anywhere), { minLength: 1 }), (instants) => {
      for (const at of instants) expect(formatInstant(at)).toBe(new Date(at).toISOString());
    }),
    { numRuns: 1_000 },
  );
});

it('what no Date can hold is refused, and the next is right', () => {
  for (const at of [Number.NaN, Number.POSITIVE_INFINITY, 2 * MAX_DATE_MS]) {
    expect(() => formatInstant(at)).toThrow(RangeError);
    expect(formatInstant(1.9)).toBe('1970-01-01T00:00:00.001Z');
  }
});
