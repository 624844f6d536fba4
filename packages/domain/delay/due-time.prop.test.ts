import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import type { DateDelay, DelayRule, WeekdayDelay } from './delay-rule.ts';
import { LEAP_DAY_CHOICES, ON_PAST_CHOICES, WEEKDAYS } from './delay-rule.ts';
import { expectDueTime, readStretches, type Stretch } from './due-time.oracle.ts';
import { computeDueAt } from './due-time.ts';

/** Repeat a failed run with PROPERTY_SEED=<the number printed>. */
const seed = Number(process.env.PROPERTY_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`due-time.prop.test.ts: PROPERTY_SEED=${seed}`);

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const FIRST_ANCHOR_AT = Date.UTC(2000, 0, 1);
const LAST_ANCHOR_AT = Date.UTC(2041, 0, 1);
/** The table reaches further than the anchors: the oracle looks back days, and ahead to the next leap year. */
const TABLE_FROM_AT = Date.UTC(1998, 0, 1);
const TABLE_UNTIL_AT = Date.UTC(2046, 0, 1);

/**
 * Passes over each zone's clock changes, each with its own days, times and choices. Many zones share their rules, so
 * one pass over all of them is already hundreds of different ones.
 */
const RUNS_PER_ZONE = Number(process.env.PROPERTY_RUNS ?? 1);

/** A shared machine may be ten times slower than the second or so that the longest of these tests needs. */
vi.setConfig({ testTimeout: 60_000 });

const zones = Intl.supportedValuesOf('timeZone');

type Change = { at: number; before: Stretch; after: Stretch };

function listChanges(stretches: readonly Stretch[]): Change[] {
  return stretches
    .slice(1)
    .map((after, index) => ({ at: after.fromAt, before: stretches[index]!, after }))
    .filter(({ at }) => FIRST_ANCHOR_AT <= at && at < LAST_ANCHOR_AT);
}

function formatTime(local: number): string {
  return new Date(((local % DAY_MS) + DAY_MS) % DAY_MS).toISOString().slice(11, 19);
}

const variation = fc.record({
  dayMask: fc.integer({ min: 1, max: 127 }),
  second: fc.nat(86_399),
  shift: fc.nat(5),
  dayShift: fc.integer({ min: -1, max: 1 }),
  hasYear: fc.boolean(),
  onPast: fc.constantFrom(...ON_PAST_CHOICES, undefined),
  leapDay: fc.constantFrom(...LEAP_DAY_CHOICES, undefined),
  anchorShiftMs: fc.integer({ min: -2 * DAY_MS, max: 2 * DAY_MS }),
});
type Variation = (typeof variation extends fc.Arbitrary<infer T> ? T : never) & {};

/** Rules whose days and times lie on or beside the clock change, or beside `at` when there is no change. */
function listRules(local: readonly [number, number], turn: number, one: Variation): (WeekdayDelay | DateDelay)[] {
  const [from, until] = local;
  const middle = (from + until) / 2;
  const times = [from, middle, until - 1_000, until, 0, one.second * 1_000].map(formatTime);
  const date = new Date(from + one.dayShift * DAY_MS);
  const changeDay = WEEKDAYS[(new Date(from).getUTCDay() + 6) % 7]!;
  const masked = WEEKDAYS.filter((_, index) => (one.dayMask >> index) & 1);
  const days = turn % 2 === 0 ? [changeDay] : masked;
  const calendar = {
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    onPast: one.onPast,
    leapDay: one.leapDay,
    year: (turn % 2 === 0) === one.hasYear ? date.getUTCFullYear() : undefined,
  };
  const at = times[(turn + one.shift) % times.length];
  return [
    { type: 'weekday', days, at },
    { type: 'weekday', days },
    { type: 'date', ...calendar, at },
    { type: 'date', ...calendar },
  ];
}

function checkAgainstOracle(rule: WeekdayDelay | DateDelay, anchorAt: number, zone: string, table: Stretch[]): void {
  const actual = computeDueAt(rule, { anchorAt, timeZone: zone });
  const wanted = expectDueTime(rule, anchorAt, zone, table);
  if (isDeepStrictEqual(actual, wanted)) return;
  const anchor = new Date(anchorAt).toISOString();
  throw new Error(`${zone}, anchor ${anchor}: ${JSON.stringify({ rule, actual, wanted })}`);
}

describe('the engine and an implementation without Temporal agree around every clock change of the zone', () => {
  const seen = new Set<string>();
  test.each([...zones.entries()])('%i %s', (index, zone) => {
    const table = readStretches(zone, TABLE_FROM_AT, TABLE_UNTIL_AT);
    const changes = listChanges(table);
    // An oracle that overlooked a clock change would prove little.
    expect(changes.map(({ at }) => at)).toEqual(listChangesByTemporal(zone));
    // Many zones are others under another name.
    const name = JSON.stringify(table);
    if (seen.has(name)) return;
    seen.add(name);
    const check = (one: Variation) => {
      for (const [round, { at, before, after }] of changes.entries()) {
        const offsets = [before.offsetMs, after.offsetMs];
        const local = [at + Math.min(...offsets), at + Math.max(...offsets)] as const;
        const steps = [0, -1, 1, -HOUR_MS, HOUR_MS, -DAY_MS, DAY_MS, one.anchorShiftMs];
        for (const [turn, step] of steps.entries()) {
          for (const rule of listRules(local, round + turn, one)) checkAgainstOracle(rule, at + step, zone, table);
        }
      }
    };
    fc.assert(fc.property(variation, check), { seed: seed + index, numRuns: RUNS_PER_ZONE });
  });
});

test('the engine and an implementation without Temporal agree at any instant in a zone, leap days included', () => {
  const tables = new Map<string, Stretch[]>();
  const readTable = (zone: string) => {
    const table = tables.get(zone) ?? readStretches(zone, TABLE_FROM_AT, TABLE_UNTIL_AT);
    tables.set(zone, table);
    return table;
  };
  const someZones = fc.sample(fc.constantFrom(...zones), { seed, numRuns: 20 });
  const instant = fc.integer({ min: FIRST_ANCHOR_AT, max: Date.UTC(2036, 11, 31) });
  const leap = fc.constantFrom(...LEAP_DAY_CHOICES, undefined);
  fc.assert(
    fc.property(fc.constantFrom(...someZones), instant, variation, leap, (zone, anchorAt, one, leapDay) => {
      const table = readTable(zone);
      for (const rule of listRules([anchorAt, anchorAt], one.shift, one)) {
        checkAgainstOracle(rule, anchorAt, zone, table);
        const year = new Date(anchorAt).getUTCFullYear() + one.dayShift;
        const leapRule = { type: 'date', month: 2, day: 29, leapDay, at: rule.at, onPast: one.onPast } as const;
        checkAgainstOracle(leapRule, anchorAt, zone, table);
        checkAgainstOracle({ ...leapRule, year }, anchorAt, zone, table);
        // The days around the end of February are where a leap day rule can go wrong.
        const februaryAt = Date.UTC(year, 1, 28) + one.second * 1_000 + one.dayShift * DAY_MS;
        checkAgainstOracle(leapRule, februaryAt, zone, table);
      }
    }),
    { seed, numRuns: 1_000 },
  );
});

describe('whatever the rule, zone and anchor', () => {
  const time = fc.nat(86_399).map((second) => formatTime(second * 1_000));
  const zone = fc.constantFrom(...zones);
  const days = fc.uniqueArray(fc.constantFrom(...WEEKDAYS), { minLength: 1 });
  const calendar = { month: fc.integer({ min: 1, max: 12 }), day: fc.integer({ min: 1, max: 28 }) };
  const repeating: fc.Arbitrary<DelayRule> = fc.oneof(
    fc.record({ type: fc.constant('weekday' as const), days, at: time, timeZone: zone }),
    fc.record({ type: fc.constant('date' as const), ...calendar, at: time, timeZone: zone }),
  );
  const single: fc.Arbitrary<DelayRule> = fc.oneof(
    fc.record({
      type: fc.constant('duration' as const),
      value: fc.nat(1e6),
      unit: fc.constantFrom('seconds' as const, 'days' as const),
    }),
    fc.record({ type: fc.constant('until' as const), at: fc.date({ noInvalidDate: true }).map(formatInstant) }),
    fc.record({ type: fc.constant('weekday' as const), days, timeZone: zone }),
    fc.record(
      { type: fc.constant('date' as const), ...calendar, year: fc.integer({ min: 1970, max: 9999 }), timeZone: zone },
      { requiredKeys: ['type', 'month', 'day'] },
    ),
  );
  const anchor = fc.integer({ min: 0, max: Date.UTC(2100, 0, 1) });

  test('no due time is before its anchor', () => {
    fc.assert(
      fc.property(fc.oneof(repeating, single), anchor, (rule, anchorAt) => {
        const due = computeDueAt(rule, { anchorAt });
        expect(due.kind === 'due' && due.dueAt >= anchorAt).toBe(true);
      }),
      { seed, numRuns: 5_000 },
    );
  });

  test('every anchor up to a due time that a local time gives leads to that due time, and the next one to a later', () => {
    fc.assert(
      fc.property(repeating, anchor, fc.double({ min: 0, max: 1, noNaN: true }), (rule, anchorAt, part) => {
        const dueAt = readDueAt(rule, anchorAt);
        const betweenAt = anchorAt + Math.floor((dueAt - anchorAt) * part);
        expect(readDueAt(rule, betweenAt)).toBe(dueAt);
        expect(readDueAt(rule, dueAt)).toBe(dueAt);
        expect(readDueAt(rule, dueAt + 1)).toBeGreaterThan(dueAt);
      }),
      { seed, numRuns: 5_000 },
    );
  });
});

function readDueAt(rule: DelayRule, anchorAt: number): number {
  const due = computeDueAt(rule, { anchorAt });
  return due.kind === 'due' ? due.dueAt : Number.NaN;
}

/** Years outside 0000–9999 have no RFC 3339 form, so they are folded into it. */
function formatInstant(date: Date): string {
  const year = String(Math.abs(date.getUTCFullYear()) % 10_000).padStart(4, '0');
  return `${year}-01-${date.toISOString().slice(-16)}`;
}

function listChangesByTemporal(zone: string): number[] {
  const changes: number[] = [];
  let moment = Temporal.Instant.fromEpochMilliseconds(FIRST_ANCHOR_AT - 1).toZonedDateTimeISO(zone);
  for (;;) {
    const next = moment.getTimeZoneTransition('next');
    if (next === null || next.epochMilliseconds >= LAST_ANCHOR_AT) return changes;
    // Temporal also lists changes of a zone's rules that leave its offset as it was.
    const hasNewOffset = next.offsetNanoseconds !== next.subtract({ nanoseconds: 1 }).offsetNanoseconds;
    if (hasNewOffset) changes.push(next.epochMilliseconds);
    moment = next;
  }
}
