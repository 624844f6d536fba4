import { describe, expect, test } from 'vitest';
import type { DelayRule } from './delay-rule.ts';
import { LAST_INSTANT_MS, MAX_WAIT_MS_DEFAULT } from './delay-rule.ts';
import { checkWait, computeDueAt } from './due-time.ts';

// The examples of docs/delay-rules.md are checked by delay-rules-doc.test.ts; here is what a table does not show.

const anchorAt = Date.UTC(2026, 10, 21, 10, 0, 0, 123);

test('the zone that counted is answered in IANA spelling', () => {
  const rule: DelayRule = { type: 'weekday', days: ['monday'], timeZone: 'america/new_york' };
  expect(computeDueAt(rule, { anchorAt, timeZone: 'Europe/Paris' }).timeZone).toBe('America/New_York');
  expect(computeDueAt(undefined, { anchorAt, timeZone: 'europe/paris' }).timeZone).toBe('Europe/Paris');
  expect(computeDueAt({ type: 'duration', value: 1, unit: 'days' }, { anchorAt }).timeZone).toBe('UTC');
});

test.each([
  ['seconds', 1_000],
  ['minutes', 60_000],
  ['hours', 3_600_000],
  ['days', 86_400_000],
] as const)('a duration in %s is exact to the millisecond', (unit, unitMs) => {
  const due = { kind: 'due', dueAt: anchorAt + 7 * unitMs, timeZone: 'UTC', notes: [] };
  expect(computeDueAt({ type: 'duration', value: 7, unit }, { anchorAt })).toEqual(due);
});

test('a past date answers the instant that was missed', () => {
  const rule = { type: 'date', month: 12, day: 25, at: '09:00', year: 2025 } as const;
  const missed = { missedAt: Date.UTC(2025, 11, 25, 8), timeZone: 'Europe/Paris', notes: ['past'] };
  const anchor = { anchorAt, timeZone: 'Europe/Paris' };
  expect(computeDueAt({ ...rule, onPast: 'skip' }, anchor)).toEqual({ kind: 'skip', ...missed });
  expect(computeDueAt({ ...rule, onPast: 'reject' }, anchor)).toEqual({ kind: 'reject', ...missed });
});

test('a past day without a time was missed at its beginning', () => {
  const rule = { type: 'date', month: 12, day: 25, year: 2025, onPast: 'skip' } as const;
  expect(computeDueAt(rule, { anchorAt, timeZone: 'Europe/Paris' })).toMatchObject({
    missedAt: Date.UTC(2025, 11, 24, 23),
  });
});

test('a skipped leap day misses no instant, even when past dates are refused', () => {
  const rule = { type: 'date', month: 2, day: 29, year: 2025, leapDay: 'skip', onPast: 'reject' } as const;
  expect(computeDueAt(rule, { anchorAt })).toEqual({
    kind: 'skip',
    missedAt: null,
    timeZone: 'UTC',
    notes: ['leapDay'],
  });
});

test('a weekday whose time has passed and whose next week is left out by the zone waits two weeks', () => {
  // Friday 23 December 2011 in Apia, after 09:00; there was no Friday the 30th.
  const rule: DelayRule = { type: 'weekday', days: ['friday'], at: '09:00', timeZone: 'Pacific/Apia' };
  expect(computeDueAt(rule, { anchorAt: Date.parse('2011-12-23T10:00:00-10:00') })).toMatchObject({
    dueAt: Date.parse('2012-01-06T09:00:00+14:00'),
  });
});

test.each([
  ['a fraction', 0.5],
  ['not a number', Number.NaN],
])('an anchor that is %s is a defect of the caller', (_, at) => {
  expect(() => computeDueAt(undefined, { anchorAt: at })).toThrow(RangeError);
});

test('an unknown zone, a bad instant and an empty list of days are defects of the caller', () => {
  expect(() => computeDueAt(undefined, { anchorAt, timeZone: '+02:00' })).toThrow(RangeError);
  expect(() => computeDueAt({ type: 'until', at: 'tomorrow' }, { anchorAt })).toThrow(RangeError);
  expect(() => computeDueAt({ type: 'weekday', days: [] }, { anchorAt })).toThrow(RangeError);
});

describe('the longest wait', () => {
  const dueAt = anchorAt + MAX_WAIT_MS_DEFAULT;

  test('is accepted, and one millisecond more is not', () => {
    expect(checkWait(undefined, { anchorAt, dueAt })).toBeUndefined();
    expect(checkWait(undefined, { anchorAt, dueAt: dueAt + 1 })).toEqual({
      pointer: '',
      detail: 'The wait must not be longer than 3653 days.',
    });
  });

  test('always holds the same date in ten years, also with three leap days between', () => {
    const rule: DelayRule = { type: 'date', month: 11, day: 21, at: '10:00:01', year: 2037 };
    const from = Date.UTC(2027, 10, 21, 10, 0, 1);
    const due = computeDueAt(rule, { anchorAt: from });
    expect(due.kind === 'due' && due.dueAt - from).toBe(MAX_WAIT_MS_DEFAULT);
    expect(due.kind === 'due' && checkWait(rule, { anchorAt: from, dueAt: due.dueAt })).toBeUndefined();
  });

  test.each<[DelayRule, string]>([
    [{ type: 'duration', value: 4_000, unit: 'days' }, '/value'],
    [{ type: 'until', at: '2040-01-01T00:00:00Z' }, '/at'],
    [{ type: 'date', month: 1, day: 1, year: 2040 }, '/year'],
    [{ type: 'date', month: 11, day: 20 }, '/month'],
    [{ type: 'weekday', days: ['friday'] }, '/days'],
  ])('points at the field of %j that decides it', (rule, pointer) => {
    const due = computeDueAt(rule, { anchorAt });
    expect(due.kind === 'due' && checkWait(rule, { anchorAt, dueAt: due.dueAt }, 1_000)?.pointer).toBe(pointer);
  });

  test('however it is configured, ends before the year 10000', () => {
    const wait = { anchorAt, dueAt: LAST_INSTANT_MS };
    expect(checkWait(undefined, wait, Number.POSITIVE_INFINITY)).toBeUndefined();
    expect(checkWait(undefined, { ...wait, dueAt: LAST_INSTANT_MS + 1 }, Number.POSITIVE_INFINITY)?.detail).toContain(
      'year 10000',
    );
  });
});
