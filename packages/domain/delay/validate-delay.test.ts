import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DelayRule } from './delay-rule.ts';
import { MAX_WAIT_MS_DEFAULT, WEEKDAYS } from './delay-rule.ts';
import { computeDueAt } from './due-time.ts';
import { previewDelay } from './preview-delay.ts';
import { FAULTS_MAX, validateDelay } from './validate-delay.ts';

const seed = Number(process.env.PROPERTY_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`validate-delay.test.ts: PROPERTY_SEED=${seed}`);

const listPointers = (rule: unknown, maxWaitMs?: number) =>
  validateDelay(rule, { maxWaitMs }).map(({ pointer }) => pointer);

test('a rule that is left out is sound', () => {
  expect(validateDelay(undefined)).toEqual([]);
});

test.each([[null], [[]], ['5 minutes'], [5], [true]])('%j is no rule', (rule) => {
  expect(listPointers(rule)).toEqual(['']);
});

test.each([[{}], [{ type: 'constructor' }], [{ type: null }], [{ type: ['duration'] }]])(
  '%j has no known type',
  (rule) => {
    expect(listPointers(rule)).toEqual(['/type']);
  },
);

describe('a duration is a whole number of known units within the longest wait', () => {
  test.each([
    [Number.NaN],
    [Number.POSITIVE_INFINITY],
    [-1],
    [0.5],
    [1e300],
    [2 ** 53],
    ['5'],
    [null],
    [undefined],
    [[5]],
    [5n],
  ])('value %s is refused', (value) => {
    expect(listPointers({ type: 'duration', value, unit: 'seconds' })).toEqual(['/value']);
  });

  test.each([['weeks'], ['Seconds'], ['constructor'], [''], [null], [undefined]])('unit %s is refused', (unit) => {
    expect(listPointers({ type: 'duration', value: 5, unit })).toEqual(['/unit']);
  });

  test('the longest wait is accepted and one unit more is not', () => {
    expect(listPointers({ type: 'duration', value: 3_653, unit: 'days' })).toEqual([]);
    expect(listPointers({ type: 'duration', value: 3_654, unit: 'days' })).toEqual(['/value']);
    expect(listPointers({ type: 'duration', value: MAX_WAIT_MS_DEFAULT / 1_000, unit: 'seconds' })).toEqual([]);
    expect(listPointers({ type: 'duration', value: MAX_WAIT_MS_DEFAULT / 1_000 + 1, unit: 'seconds' })).toEqual([
      '/value',
    ]);
  });

  test('a configured longest wait takes the place of the default', () => {
    expect(listPointers({ type: 'duration', value: 2, unit: 'hours' }, 7_200_000)).toEqual([]);
    expect(validateDelay({ type: 'duration', value: 2, unit: 'hours' }, { maxWaitMs: 7_199_999 })).toEqual([
      { pointer: '/value', detail: 'The wait must not be longer than 7199.999 seconds.' },
    ]);
  });
});

describe('a weekday rule names each of its days once', () => {
  test.each([
    ['monday', '/days'],
    [undefined, '/days'],
    [[], '/days'],
    [['monday', 'monday'], '/days/1'],
    [['mon'], '/days/0'],
    [['monday', 1], '/days/1'],
    [['__proto__'], '/days/0'],
    [[...WEEKDAYS, 'monday'], '/days'],
  ])('days %j is refused at %s', (days, pointer) => {
    expect(listPointers({ type: 'weekday', days })).toEqual([pointer]);
  });

  test('all seven are accepted', () => {
    expect(listPointers({ type: 'weekday', days: [...WEEKDAYS] })).toEqual([]);
  });
});

describe('a local time is HH:MM or HH:MM:SS', () => {
  test.each(['00:00', '23:59', '23:59:59', '09:05:00'])('%s is accepted', (at) => {
    expect(listPointers({ type: 'weekday', days: ['monday'], at })).toEqual([]);
  });

  test.each([
    ['24:00'],
    ['9:00'],
    ['09:60'],
    ['09:00:60'],
    ['09:00:00.5'],
    ['09:00Z'],
    [' 09:00'],
    ['09:00\n'],
    [''],
    [900],
    [null],
  ])('%j is refused', (at) => {
    expect(listPointers({ type: 'weekday', days: ['monday'], at })).toEqual(['/at']);
    expect(listPointers({ type: 'date', month: 1, day: 1, at })).toEqual(['/at']);
  });
});

describe('a date is one that some year has', () => {
  const lastDays = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  test.each(lastDays.map((day, index) => [index + 1, day]))('month %i ends on day %i', (month, day) => {
    expect(listPointers({ type: 'date', month, day })).toEqual([]);
    expect(listPointers({ type: 'date', month, day: day + 1 })).toEqual(['/day']);
  });

  test('29 February of a year without one is left to leapDay', () => {
    expect(listPointers({ type: 'date', month: 2, day: 29, year: 2027, leapDay: 'mar1' })).toEqual([]);
    expect(listPointers({ type: 'date', month: 2, day: 29, year: 2027 })).toEqual([]);
  });

  test.each([
    [{ month: 0, day: 1 }, '/month'],
    [{ month: 13, day: 31 }, '/month'],
    [{ month: 1.5, day: 1 }, '/month'],
    [{ month: '1', day: 1 }, '/month'],
    [{ day: 1 }, '/month'],
    [{ month: 1 }, '/day'],
    [{ month: 1, day: 0 }, '/day'],
    [{ month: 1, day: Number.NaN }, '/day'],
    [{ month: 1, day: 1, year: 1969 }, '/year'],
    [{ month: 1, day: 1, year: 10_000 }, '/year'],
    [{ month: 1, day: 1, year: 2027.5 }, '/year'],
    [{ month: 1, day: 1, year: null }, '/year'],
    [{ month: 1, day: 1, onPast: 'fail' }, '/onPast'],
    [{ month: 1, day: 1, leapDay: true }, '/leapDay'],
    [{ month: 1, day: 1, timeZone: 'Mars/Olympus' }, '/timeZone'],
    [{ month: 1, day: 1, timeZone: '' }, '/timeZone'],
    [{ month: 1, day: 1, timeZone: null }, '/timeZone'],
  ])('%j is refused at %s', (fields, pointer) => {
    expect(listPointers({ type: 'date', ...fields })).toEqual([pointer]);
  });
});

test.each([
  ['2027-01-01'],
  ['2027-01-01T00:00:00'],
  ['2027-06-31T00:00:00Z'],
  ['tomorrow'],
  [1_800_000_000_000],
  [null],
  [undefined],
])('until %j is refused', (at) => {
  expect(listPointers({ type: 'until', at })).toEqual(['/at']);
});

describe('fields that a type does not have are refused', () => {
  test('each gets a pointer, escaped', () => {
    const rule = { type: 'until', at: '2027-01-01T00:00:00Z', timeZone: 'Europe/Paris', 'a/b~c': 1 };
    expect(listPointers(rule)).toEqual(['/timeZone', '/a~1b~0c']);
  });

  test('names that objects inherit are no exception', () => {
    expect(listPointers(JSON.parse('{"type":"until","at":"2027-01-01T00:00:00Z","__proto__":1}'))).toEqual([
      '/__proto__',
    ]);
    expect(listPointers(Object.create({ type: 'until', at: '2027-01-01T00:00:00Z' }))).toEqual(['/type']);
  });

  test('however many there are, the answer stays short', () => {
    const extra = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`field${index}`, index]));
    expect(listPointers({ type: 'until', at: '2027-01-01T00:00:00Z', ...extra })).toHaveLength(FAULTS_MAX);
  });
});

describe('validation and computation agree', () => {
  const anything = fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true });
  const time = fc.constantFrom('00:00', '02:30', '23:59:59', '24:00', undefined);
  const zone = fc.constantFrom('Europe/Paris', 'utc', 'Pacific/Apia', '+02:00', undefined);
  const oneOf = <T>(arbitrary: fc.Arbitrary<T>) =>
    fc.oneof({ weight: 9, arbitrary }, { weight: 1, arbitrary: anything });
  const nearlyRule = fc.oneof(
    fc.record({
      type: fc.constant('duration'),
      value: oneOf(fc.integer({ min: -2, max: 1e6 })),
      unit: oneOf(fc.constantFrom('seconds', 'days', 'weeks')),
    }),
    fc.record({
      type: fc.constant('weekday'),
      days: oneOf(fc.uniqueArray(fc.constantFrom(...WEEKDAYS), { maxLength: 7 })),
      at: oneOf(time),
      timeZone: oneOf(zone),
    }),
    fc.record({
      type: fc.constant('date'),
      month: oneOf(fc.integer({ min: 0, max: 13 })),
      day: oneOf(fc.integer({ min: 0, max: 32 })),
      at: oneOf(time),
      year: oneOf(fc.constantFrom(1970, 2026, 2027, 9999, undefined)),
      onPast: oneOf(fc.constantFrom('run', 'skip', 'reject', undefined)),
      leapDay: oneOf(fc.constantFrom('feb28', 'mar1', 'skip', undefined)),
      timeZone: oneOf(zone),
    }),
    fc.record({
      type: fc.constant('until'),
      at: oneOf(fc.constantFrom('2027-01-01T00:00:00Z', '2027-02-30T00:00:00Z')),
    }),
  );

  test('any rule that passes can be computed and previewed', () => {
    let passed = 0;
    fc.assert(
      fc.property(nearlyRule, fc.integer({ min: 0, max: Date.UTC(2100, 0, 1) }), (rule, fromAt) => {
        if (validateDelay(rule).length > 0) return;
        passed += 1;
        expect(computeDueAt(rule as DelayRule, { anchorAt: fromAt }).kind).toMatch(/^(due|skip|reject)$/);
        expect(previewDelay(rule as DelayRule, { fromAt }).next.length).toBeLessThanOrEqual(3);
      }),
      { seed, numRuns: 5_000 },
    );
    // A property that nothing reaches would prove nothing.
    expect(passed).toBeGreaterThan(500);
  });

  test('no input makes validation throw', () => {
    fc.assert(
      fc.property(fc.oneof(anything, nearlyRule), (rule) => Array.isArray(validateDelay(rule))),
      { seed, numRuns: 5_000 },
    );
  });
});
