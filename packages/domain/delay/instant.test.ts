import fc from 'fast-check';
import { DateTime } from 'luxon';
import { expect, test } from 'vitest';
import { formatInstant, parseInstant } from './instant.ts';

const seed = Number(process.env.PROPERTY_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`instant.test.ts: PROPERTY_SEED=${seed}`);

test.each([
  ['2027-01-01T00:00:00Z', '2027-01-01T00:00:00.000Z'],
  ['2027-01-01t00:00:00z', '2027-01-01T00:00:00.000Z'],
  ['2027-01-01T00:00:00-00:00', '2027-01-01T00:00:00.000Z'],
  ['2027-01-01T00:00:00.5+05:45', '2026-12-31T18:15:00.500Z'],
  ['2028-02-29T23:59:59.999Z', '2028-02-29T23:59:59.999Z'],
  ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
])('%s is %s', (text, iso) => {
  expect(new Date(parseInstant(text)!).toISOString()).toBe(iso);
});

test.each([
  ['2027-01-01T00:00:00.0001Z', '2027-01-01T00:00:00.001Z'],
  ['2026-12-31T23:59:59.999000001Z', '2027-01-01T00:00:00.000Z'],
  ['2027-01-01T00:00:00.123000000Z', '2027-01-01T00:00:00.123Z'],
  ['1969-12-31T23:59:59.9985Z', '1969-12-31T23:59:59.999Z'],
])('%s is never early: it is %s', (text, iso) => {
  expect(new Date(parseInstant(text)!).toISOString()).toBe(iso);
});

test.each([
  ['2027-01-01'],
  ['2027-01-01T00:00Z'],
  ['2027-01-01T00:00:00'],
  ['2027-01-01 00:00:00Z'],
  ['2027-13-01T00:00:00Z'],
  ['2027-00-01T00:00:00Z'],
  ['2027-01-00T00:00:00Z'],
  ['2027-06-31T00:00:00Z'],
  ['2027-02-29T00:00:00Z'],
  ['2100-02-29T00:00:00Z'],
  ['2027-01-01T24:00:00Z'],
  ['2026-12-31T23:59:60Z'],
  ['2027-01-01T00:00:00.Z'],
  ['2027-01-01T00:00:00.1234567890Z'],
  ['2027-01-01T00:00:00+24:00'],
  ['2027-01-01T00:00:00+0100'],
  ['2027-01-01T00:00:00Z\n'],
  ['2027-01-01T00:00:00+01:00[Europe/Paris]'],
  ['+002027-01-01T00:00:00Z'],
  [''],
])('%j is not an instant', (text) => {
  expect(parseInstant(text)).toBeUndefined();
});

test('any date, existing or not, is read as luxon reads it', () => {
  const pad = (value: number, width = 2) => String(value).padStart(width, '0');
  const part = (min: number, max: number) => fc.integer({ min, max });
  const text = fc
    .tuple(part(0, 9_999), part(1, 12), part(1, 31), part(0, 23), part(0, 59), part(0, 999), part(-23, 23))
    .map(([year, month, day, hour, minute, ms, offset]) => {
      const sign = offset < 0 ? '-' : '+';
      const date = `${pad(year, 4)}-${pad(month)}-${pad(day)}`;
      return `${date}T${pad(hour)}:${pad(minute)}:00.${pad(ms, 3)}${sign}${pad(Math.abs(offset))}:30`;
    });
  fc.assert(
    fc.property(text, (value) => {
      const wanted = DateTime.fromISO(value);
      expect(parseInstant(value)).toBe(wanted.isValid ? wanted.toMillis() : undefined);
    }),
    { seed, numRuns: 5_000 },
  );
});

const MAX_DATE_MS = 8.64e15;

test('formatInstant writes any instants, in any order, as a Date does', () => {
  const near = fc.integer({ min: -200_000, max: 200_000 });
  const anywhere = fc.double({ min: -MAX_DATE_MS, max: MAX_DATE_MS, noNaN: true });
  fc.assert(
    fc.property(fc.array(fc.oneof(near, anywhere), { minLength: 1 }), (instants) => {
      for (const at of instants) expect(formatInstant(at)).toBe(new Date(at).toISOString());
    }),
    { numRuns: 1_000, seed },
  );
});

test('formatInstant refuses what no Date can hold, and the next is right', () => {
  for (const at of [Number.NaN, Number.POSITIVE_INFINITY, 2 * MAX_DATE_MS]) {
    expect(() => formatInstant(at)).toThrow(RangeError);
    expect(formatInstant(1.9)).toBe('1970-01-01T00:00:00.001Z');
  }
});
