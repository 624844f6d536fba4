import { expect, test } from 'vitest';
import { canonicalTimeZone, isKnownTimeZone } from './time-zone.ts';

test('every zone that the runtime lists is known under its own name', () => {
  for (const name of Intl.supportedValuesOf('timeZone')) expect(canonicalTimeZone(name)).toBe(name);
});

test.each([
  ['europe/paris', 'Europe/Paris'],
  ['EUROPE/PARIS', 'Europe/Paris'],
  ['america/port-au-prince', 'America/Port-au-Prince'],
  ['utc', 'UTC'],
  ['etc/gmt+5', 'Etc/GMT+5'],
])('%s is spelled %s, however often it is asked for', (name, canonical) => {
  expect(canonicalTimeZone(name)).toBe(canonical);
  expect(canonicalTimeZone(name)).toBe(canonical);
});

test.each([['Asia/Calcutta'], ['Asia/Kolkata'], ['Europe/Kiev'], ['Europe/Kyiv'], ['US/Eastern']])(
  'the alias %s stays what it is',
  (name) => {
    expect(canonicalTimeZone(name)).toBe(name);
  },
);

test.each([
  [''],
  ['+02:00'],
  ['-0500'],
  ['Z'],
  ['PST'],
  ['Europe'],
  ['Mars/Olympus'],
  [' Europe/Paris'],
  ['Europe/Paris\n'],
  ['2026-01-01T00:00[Europe/Paris]'],
  ['constructor'],
  ['x'.repeat(1_000_000)],
])('%.20s is not a zone', (name) => {
  expect(isKnownTimeZone(name)).toBe(false);
  expect(isKnownTimeZone(name)).toBe(false);
});
