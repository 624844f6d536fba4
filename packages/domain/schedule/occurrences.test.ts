import { describe, expect, test } from 'vitest';
import { createOccurrences } from './occurrences.ts';
import { type ScheduleRule, validateScheduleRule } from './schedule-rule.ts';

const at = (text: string) => Date.parse(text);

function list(rule: ScheduleRule, from: string, count: number, more: object = {}): string[] {
  const times = {
    rule,
    timeZone: 'UTC',
    startAt: null,
    endAt: null,
    jitterMs: 0,
    anchorAt: at(from),
    seed: 'a',
    ...more,
  };
  const occurrences = createOccurrences(times);
  const found: string[] = [];
  let next = occurrences.next(at(from));
  while (next && found.length < count) {
    found.push(new Date(next.at).toISOString());
    next = occurrences.next(next.at);
  }
  return found;
}

const cron = (expression: string): ScheduleRule => ({ type: 'cron', expression });

describe('a local time fires once a day', () => {
  test('that is missing in spring: later by the gap', () => {
    const found = list(cron('30 2 * * *'), '2027-03-26T12:00:00Z', 3, { timeZone: 'Europe/Paris' });
    expect(found).toEqual(['2027-03-27T01:30:00.000Z', '2027-03-28T01:30:00.000Z', '2027-03-29T00:30:00.000Z']);
  });

  test('that is repeated in autumn: the first time', () => {
    const found = list(cron('30 2 * * *'), '2027-10-30T12:00:00Z', 2, { timeZone: 'Europe/Paris' });
    expect(found).toEqual(['2027-10-31T00:30:00.000Z', '2027-11-01T01:30:00.000Z']);
  });

  test('midnight where clocks went forward at midnight', () => {
    const found = list(cron('0 0 * * *'), '2018-11-03T12:00:00Z', 2, { timeZone: 'America/Sao_Paulo' });
    expect(found).toEqual(['2018-11-04T03:00:00.000Z', '2018-11-05T02:00:00.000Z']);
    const days = { type: 'weekday' as const, days: ['sunday' as const, 'monday' as const] };
    expect(list(days, '2018-11-03T12:00:00Z', 2, { timeZone: 'America/Sao_Paulo' })).toEqual(found);
  });

  test('a day that the zone left out has none', () => {
    const found = list(cron('0 9 * * 5,6'), '2011-12-29T20:00:00Z', 2, { timeZone: 'Pacific/Apia' });
    expect(found).toEqual(['2011-12-30T19:00:00.000Z', '2012-01-05T19:00:00.000Z']);
  });
});

test('what names all hours goes on through a repeated hour and does not stand in for a missing one', () => {
  const every = { timeZone: 'Australia/Lord_Howe' };
  // From UTC+11 back to UTC+10:30 at 02:00, and forward at 02:00.
  expect(list(cron('45 * * * *'), '2027-04-03T13:50:00Z', 3, every)).toEqual([
    '2027-04-03T14:45:00.000Z',
    '2027-04-03T15:15:00.000Z',
    '2027-04-03T16:15:00.000Z',
  ]);
  expect(list(cron('15 * * * *'), '2027-10-02T14:30:00Z', 2, every)).toEqual([
    '2027-10-02T14:45:00.000Z',
    '2027-10-02T16:15:00.000Z',
  ]);
});

test('29 February and 31 December', () => {
  const leap = { type: 'date' as const, month: 2, day: 29, at: '09:00' };
  expect(list(leap, '2027-01-01T00:00:00Z', 2)).toEqual(['2027-02-28T09:00:00.000Z', '2028-02-29T09:00:00.000Z']);
  expect(list({ ...leap, leapDay: 'skip' }, '2096-03-01T00:00:00Z', 1)).toEqual(['2104-02-29T09:00:00.000Z']);
  expect(list(cron('0 9 29 2 *'), '2027-01-01T00:00:00Z', 1)).toEqual(['2028-02-29T09:00:00.000Z']);
  expect(list({ type: 'date', month: 12, day: 31 }, '2027-12-31T00:00:00Z', 1)).toEqual(['2028-12-31T00:00:00.000Z']);
  expect(list(cron('59 59 23 31 12 *'), '2027-01-01T00:00:00Z', 1)).toEqual(['2027-12-31T23:59:59.000Z']);
});

test('an interval counts from its start, or from when it was made; start and end bound it, the end excluded', () => {
  const rule = { type: 'interval' as const, value: 90, unit: 'seconds' as const };
  expect(list(rule, '2027-01-01T00:00:00Z', 2)).toEqual(['2027-01-01T00:01:30.000Z', '2027-01-01T00:03:00.000Z']);
  const bounds = { startAt: at('2027-01-02T00:00:00Z'), endAt: at('2027-01-02T00:03:00Z') };
  expect(list(rule, '2027-01-01T00:00:00Z', 5, bounds)).toEqual([
    '2027-01-02T00:00:00.000Z',
    '2027-01-02T00:01:30.000Z',
  ]);
});

test.each([
  ['', '/expression'],
  ['* * * *', '/expression'],
  ['61 * * * *', '/expression'],
  ['@daily', '/expression'],
  ['? * * * *', '/expression'],
  ['0 0 31 2 *', '/expression'],
  ['5/3 * * * *', '/expression'],
  ['* * * * * * *', '/expression'],
])('%j is refused', (expression, pointer) => {
  expect(validateScheduleRule(cron(expression))).toMatchObject([{ pointer }]);
});

test('other rules are checked as delays are', () => {
  expect(validateScheduleRule({ type: 'date', month: 6, day: 31 })).toMatchObject([{ pointer: '/day' }]);
  expect(validateScheduleRule({ type: 'weekday', days: [] })).toMatchObject([{ pointer: '/days' }]);
  expect(validateScheduleRule({ type: 'interval', value: 3_654, unit: 'days' })).toMatchObject([{ pointer: '/value' }]);
  expect(validateScheduleRule({ type: 'interval', value: 3_653, unit: 'days' })).toEqual([]);
});
