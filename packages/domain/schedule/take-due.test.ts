import { expect, test } from 'vitest';
import { createOccurrences } from './occurrences.ts';
import type { MissedPolicy } from './schedule-rule.ts';
import { MISSED_AFTER_MS, OCCURRENCES_PER_TURN_MAX, OCCURRENCES_WAITING_MAX, takeDue } from './take-due.ts';

const occurrences = createOccurrences({
  rule: { type: 'interval', value: 10, unit: 'minutes' },
  timeZone: 'UTC',
  startAt: null,
  endAt: null,
  jitterMs: 0,
  anchorAt: 0,
  seed: 'a',
});
const EVERY = 600_000;
const take = (policy: MissedPolicy, now: number, waiting: readonly number[] = []) =>
  takeDue(occurrences, { handledAt: 0, waiting }, policy, now);

test('before anything is due nothing is taken', () => {
  expect(take({ policy: 'last' }, EVERY - 1)).toEqual({ handledAt: 0, waiting: [] });
});

test('what is on time begins, whatever the policy', () => {
  for (const missed of [
    { policy: 'skip' },
    { policy: 'last' },
    { policy: 'all', windowMs: 60_000 },
  ] as MissedPolicy[]) {
    expect(take(missed, EVERY + MISSED_AFTER_MS)).toEqual({ handledAt: EVERY, waiting: [EVERY] });
  }
});

test('of what was missed nothing, the last, or all within the window begins', () => {
  const now = 5 * EVERY + MISSED_AFTER_MS + 1;
  expect(take({ policy: 'skip' }, now)).toEqual({ handledAt: 5 * EVERY, waiting: [] });
  expect(take({ policy: 'last' }, now)).toEqual({ handledAt: 5 * EVERY, waiting: [5 * EVERY] });
  const windowMs = now - 3 * EVERY;
  expect(take({ policy: 'all', windowMs }, now)).toEqual({
    handledAt: 5 * EVERY,
    waiting: [3 * EVERY, 4 * EVERY, 5 * EVERY],
  });
});

test('of those missed before one that is on time only that one begins, unless all are wanted', () => {
  for (const policy of ['skip', 'last'] as const) {
    expect(take({ policy }, 5 * EVERY)).toEqual({ handledAt: 5 * EVERY, waiting: [5 * EVERY] });
  }
});

test('many are taken in portions, and no more than may wait', () => {
  const all = { policy: 'all' as const, windowMs: 10_000 * EVERY };
  const first = take(all, 1_000 * EVERY);
  expect(first.handledAt).toBe(OCCURRENCES_PER_TURN_MAX * EVERY);
  expect(first.waiting).toHaveLength(OCCURRENCES_PER_TURN_MAX);
  const full = Array.from({ length: OCCURRENCES_WAITING_MAX - 1 }, (_, index) => index);
  expect(take(all, 1_000 * EVERY, full)).toMatchObject({ handledAt: EVERY });
  const over = [...full, 0];
  expect(take(all, 1_000 * EVERY, over)).toEqual({ handledAt: 0, waiting: over });
  // In time it is missed.
  expect(take({ policy: 'last' }, EVERY, over)).toEqual({ handledAt: 0, waiting: over });
  expect(take({ policy: 'last' }, EVERY + MISSED_AFTER_MS + 1, over)).toEqual({ handledAt: EVERY, waiting: over });
});
