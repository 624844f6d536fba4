import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { readStretches, type Stretch } from '../delay/due-time.oracle.ts';
import { createOccurrences, type ScheduleTimes } from './occurrences.ts';

/** Repeat a failed run with PROPERTY_SEED=<the number printed>. */
const seed = Number(process.env.PROPERTY_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`occurrences.prop.test.ts: PROPERTY_SEED=${seed}`);
vi.setConfig({ testTimeout: 120_000 });

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const TABLE_FROM_AT = Date.UTC(1999, 0, 1);
const TABLE_UNTIL_AT = Date.UTC(2031, 0, 1);
/** Days around a clock change that are compared minute by minute. */
const REACH_DAYS = 3;

/** Half an hour, at midnight, a whole day, into the past, and the usual ones. */
const ZONES = [
  'Australia/Lord_Howe',
  'America/Sao_Paulo',
  'Pacific/Apia',
  'Africa/Casablanca',
  'Europe/Paris',
  'America/St_Johns',
];
const tables = new Map(ZONES.map((zone) => [zone, readStretches(zone, TABLE_FROM_AT, TABLE_UNTIL_AT)]));

interface Fields {
  minutes: number[];
  /** Undefined: every hour. */
  hours: number[] | undefined;
  /** Of the week, Sunday is 0; undefined: every day. */
  days: number[] | undefined;
}

const some = (max: number, maxLength: number) => fc.uniqueArray(fc.nat(max), { minLength: 1, maxLength });
const fields: fc.Arbitrary<Fields> = fc.record({
  minutes: fc.oneof(fc.constant<number[]>([0]), fc.constant<number[]>([30]), some(59, 4)),
  hours: fc.option(fc.oneof(some(3, 3), some(23, 4)), { nil: undefined }),
  days: fc.option(some(6, 6), { nil: undefined }),
});

function writeCron({ minutes, hours, days }: Fields): string {
  return `${minutes.join(',')} ${hours?.join(',') ?? '*'} * * ${days?.join(',') ?? '*'}`;
}

/** What the fields mean between two instants, by looking at each local minute of the days around. */
function listNaively(
  { minutes, hours, days }: Fields,
  table: readonly Stretch[],
  from: number,
  until: number,
): number[] {
  const near = table.filter((stretch) => stretch.untilAt > from - 3 * DAY_MS && stretch.fromAt < until + 3 * DAY_MS);
  const found = new Set<number>();
  for (let local = from - 2 * DAY_MS; local < until + 2 * DAY_MS; local += MINUTE_MS) {
    const date = new Date(local);
    if (!minutes.includes(date.getUTCMinutes()) || (hours && !hours.includes(date.getUTCHours()))) continue;
    if (days && !days.includes(date.getUTCDay())) continue;
    const shown = near
      .filter(({ fromAt, untilAt, offsetMs }) => fromAt <= local - offsetMs && local - offsetMs < untilAt)
      .map(({ offsetMs }) => local - offsetMs);
    if (shown.length > 0) {
      for (const at of hours ? shown.slice(0, 1) : shown) found.add(at);
      continue;
    }
    for (const [index, before] of near.entries()) {
      const after = near[index + 1];
      if (!after || !hours) continue;
      const isMissing = before.untilAt + before.offsetMs <= local && local < after.fromAt + after.offsetMs;
      if (isMissing && after.offsetMs - before.offsetMs < DAY_MS) found.add(local - before.offsetMs);
    }
  }
  return [...found].filter((at) => from < at && at <= until).toSorted((a, b) => a - b);
}

function createTimes(expression: string, timeZone: string, more: Partial<ScheduleTimes> = {}): ScheduleTimes {
  const rule = { type: 'cron' as const, expression };
  return { rule, timeZone, startAt: null, endAt: null, jitterMs: 0, anchorAt: 0, seed: 'a', ...more };
}

test('around every clock change, expressions name what a look at each local minute finds, once each', () => {
  const changes = ZONES.flatMap((zone) =>
    tables
      .get(zone)!
      .slice(1)
      .map(({ fromAt }) => ({ zone, at: fromAt })),
  );
  expect(changes.length).toBeGreaterThan(200);
  fc.assert(
    fc.property(
      fields,
      fc.constantFrom(...changes),
      fc.integer({ min: -DAY_MS, max: DAY_MS }),
      (one, change, shift) => {
        const from = change.at - REACH_DAYS * DAY_MS + Math.floor(shift / MINUTE_MS) * MINUTE_MS;
        const until = from + 2 * REACH_DAYS * DAY_MS;
        const occurrences = createOccurrences(createTimes(writeCron(one), change.zone));
        const found: number[] = [];
        for (let next = occurrences.next(from); next && next.at <= until; next = occurrences.next(next.at))
          found.push(next.at);
        expect({ zone: change.zone, cron: writeCron(one), found }).toEqual({
          zone: change.zone,
          cron: writeCron(one),
          found: listNaively(one, tables.get(change.zone)!, from, until),
        });
      },
    ),
    { seed, numRuns: 80 },
  );
});

test('wherever one begins to look, the next occurrence is that of the row', () => {
  fc.assert(
    fc.property(
      fields,
      fc.constantFrom(...ZONES),
      fc.integer({ min: Date.UTC(2005, 0, 1), max: Date.UTC(2029, 0, 1) }),
      (one, zone, from) => {
        const occurrences = createOccurrences(createTimes(writeCron(one), zone));
        const next = occurrences.next(from)!;
        expect(next.at).toBeGreaterThan(from);
        expect(occurrences.next(next.at - 1)).toEqual(next);
        expect(occurrences.next(from + Math.floor((next.at - from) / 2))!.at).toBe(next.at);
        expect(occurrences.last(from, next.at)).toEqual(next);
        expect(occurrences.last(from, next.at - 1)).toBeUndefined();
      },
    ),
    { seed, numRuns: 200 },
  );
});

test('the last of many is found as by going through them, with jitter and without', () => {
  const rule = fc.oneof(
    fc.record({
      type: fc.constant('interval' as const),
      value: fc.integer({ min: 1, max: 90 }),
      unit: fc.constantFrom('seconds' as const, 'minutes' as const),
    }),
    fields.map((one) => ({ type: 'cron' as const, expression: writeCron(one) })),
  );
  const jitterMs = fc.oneof(fc.constant(0), fc.nat(2 * 3_600_000));
  fc.assert(
    fc.property(
      rule,
      jitterMs,
      fc.integer({ min: 0, max: 6 * 3_600_000 }),
      fc.constantFrom(...ZONES),
      (one, jitter, length, zone) => {
        const from = Date.UTC(2026, 9, 24, 22);
        const occurrences = createOccurrences({
          ...createTimes('', zone),
          rule: one,
          jitterMs: jitter,
          anchorAt: from,
        });
        let wanted = occurrences.next(from);
        let dueBefore = 0;
        if (wanted!.dueAt > from + length) wanted = undefined;
        for (let next = wanted; next && next.dueAt <= from + length; next = occurrences.next(next.at)) {
          expect(next.dueAt).toBeGreaterThanOrEqual(next.at);
          expect(next.dueAt - next.at).toBeLessThanOrEqual(jitter);
          expect(next.dueAt).toBeGreaterThan(dueBefore);
          dueBefore = next.dueAt;
          wanted = next;
        }
        expect(occurrences.last(from, from + length)).toEqual(wanted);
      },
    ),
    { seed, numRuns: 200 },
  );
});
