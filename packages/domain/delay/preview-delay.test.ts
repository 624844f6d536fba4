import { expect, test } from 'vitest';
import type { DelayRule } from './delay-rule.ts';
import { previewDelay } from './preview-delay.ts';

const fromAt = Date.UTC(2026, 10, 21, 10);
const timeZone = 'Europe/Paris';
const toIso = (at: number) => new Date(at).toISOString();

test('a preview tells the due time, its local form, the wait and the three that follow', () => {
  const rule: DelayRule = { type: 'weekday', days: ['monday', 'wednesday'], at: '09:00' };
  const preview = previewDelay(rule, { fromAt, timeZone });
  expect(preview).toEqual({
    kind: 'due',
    dueAt: Date.UTC(2026, 10, 23, 8),
    local: '2026-11-23T09:00:00.000+01:00',
    timeZone,
    waitMs: 46 * 3_600_000,
    notes: [],
    next: preview.next,
  });
  expect(preview.next.map(toIso)).toEqual([
    '2026-11-25T08:00:00.000Z',
    '2026-11-30T08:00:00.000Z',
    '2026-12-02T08:00:00.000Z',
  ]);
});

test('the next due times of a duration each begin to wait just after the one before', () => {
  const { dueAt, next } = previewDelay({ type: 'duration', value: 5, unit: 'minutes' }, { fromAt });
  expect([dueAt, ...next]).toEqual([300_000, 600_001, 900_002, 1_200_003].map((waitMs) => fromAt + waitMs));
});

test.each<[string, DelayRule | undefined]>([
  ['no rule', undefined],
  ['an instant in the past', { type: 'until', at: '2020-01-01T00:00:00Z' }],
  ['a past date that runs', { type: 'date', month: 1, day: 1, year: 2020 }],
  ['a weekday that is today', { type: 'weekday', days: ['saturday'] }],
])('%s is due at once, and again a millisecond later', (_, rule) => {
  const { dueAt, waitMs, next } = previewDelay(rule, { fromAt });
  expect([dueAt, waitMs, ...next]).toEqual([fromAt, 0, fromAt + 1, fromAt + 2, fromAt + 3]);
});

test('nothing follows a date of one year that is skipped once it is past', () => {
  const rule: DelayRule = { type: 'date', month: 12, day: 25, at: '09:00', year: 2026, onPast: 'skip' };
  expect(previewDelay(rule, { fromAt, timeZone })).toMatchObject({ dueAt: Date.UTC(2026, 11, 25, 8), next: [] });
});

test.each(['skip', 'reject'] as const)('a past date with onPast %s has no due time', (onPast) => {
  const rule: DelayRule = { type: 'date', month: 1, day: 1, year: 2020, onPast };
  expect(previewDelay(rule, { fromAt, timeZone })).toEqual({
    kind: onPast,
    dueAt: null,
    local: null,
    timeZone,
    waitMs: null,
    notes: ['past'],
    next: [],
  });
});
