// Delay rules whose due time can be told without the code under test.

/** Fields of a request that say when, and the due time they must lead to. */
export interface PlannedRule {
  name: string;
  fields: { delay?: object; dueAt?: string; timeZone?: string };
  /** Epoch ms, or counted from the timer's creation. */
  expected: { dueAt: number } | { afterCreationMs: number };
}

/** Zones whose clocks never change, so that every local time occurs exactly once, whatever day this runs on. */
const ZONES = ['UTC', 'Asia/Kolkata', 'Asia/Tokyo', 'America/Phoenix', 'Asia/Kathmandu', 'Pacific/Honolulu'] as const;
const WEEKDAYS = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'] as const;
const DAY_MS = 86_400_000;

/** The kinds of rules, each as often as it appears here. */
const LATER = [
  ...['duration', 'duration', 'duration', 'dueAt', 'dueAt', 'until'],
  ...['until', 'weekday', 'weekday', 'date', 'dateOfYear'],
] as const;
const AT_ONCE = ['none', 'pastUntil', 'pastDate'] as const;
const ALL = [...LATER, ...AT_ONCE];

/**
 * A rule, different for each `n`, that is due at about `dueAt` (a whole second that lies ahead; epoch ms), or, where
 * `mayBeAtOnce`, for some `n` at its creation.
 */
export function planRule(n: number, dueAt: number, mayBeAtOnce: boolean): PlannedRule {
  const kinds = mayBeAtOnce ? ALL : LATER;
  const name = kinds[n % kinds.length]!;
  const timeZone = ZONES[n % ZONES.length]!;
  const local = Temporal.Instant.fromEpochMilliseconds(dueAt).toZonedDateTimeISO(timeZone);
  const at = local.toPlainTime().toString({ smallestUnit: 'second' });
  const weekday = WEEKDAYS[local.dayOfWeek - 1]!;
  const { month, day, year } = local;
  const instant = new Date(dueAt).toISOString();
  switch (name) {
    case 'duration': {
      const value = Math.max(0, Math.ceil((dueAt - Date.now()) / 1000));
      return {
        name,
        fields: { delay: { type: 'duration', value, unit: 'seconds' } },
        expected: { afterCreationMs: value * 1000 },
      };
    }
    case 'dueAt':
      return { name, fields: { dueAt: instant }, expected: { dueAt } };
    case 'until':
      return { name, fields: { delay: { type: 'until', at: instant } }, expected: { dueAt } };
    case 'weekday':
      // The zone stands in the rule, or beside it.
      return n % 2 === 0
        ? { name, fields: { delay: { type: 'weekday', days: [weekday], at, timeZone } }, expected: { dueAt } }
        : { name, fields: { delay: { type: 'weekday', days: [weekday], at }, timeZone }, expected: { dueAt } };
    case 'date':
      return { name, fields: { delay: { type: 'date', month, day, at, timeZone } }, expected: { dueAt } };
    case 'dateOfYear':
      return { name, fields: { delay: { type: 'date', year, month, day, at, timeZone } }, expected: { dueAt } };
    case 'pastUntil':
      return {
        name,
        fields: { delay: { type: 'until', at: '2020-02-02T02:02:02Z' } },
        expected: { afterCreationMs: 0 },
      };
    case 'pastDate':
      return {
        name,
        fields: { delay: { type: 'date', year: 2020, month: 2, day: 29, onPast: 'run' } },
        expected: { afterCreationMs: 0 },
      };
    default:
      return { name: 'none', fields: {}, expected: { afterCreationMs: 0 } };
  }
}

/** Rules that are due in days or years, the zones with changing clocks among them. `now` in epoch ms. */
export function listFarRules(now: number): PlannedRule[] {
  const tokyo = Temporal.Instant.fromEpochMilliseconds(now).toZonedDateTimeISO('Asia/Tokyo').toPlainDate();
  const [inThree, inForty] = [tokyo.add({ days: 3 }), tokyo.add({ days: 40 })];
  const nextYear = tokyo.year + 1;
  const commonYear = tokyo.year + 1 + Number((tokyo.year + 1) % 4 === 0);
  const toMs = (date: Temporal.PlainDate, time: string) =>
    date.toZonedDateTime({ timeZone: 'Asia/Tokyo', plainTime: time }).epochMilliseconds;
  const days = [WEEKDAYS[inThree.dayOfWeek - 1]];
  const dueAt = now + 700 * DAY_MS;
  const instant = new Date(dueAt).toISOString();
  const name = 'far';
  return [
    {
      name,
      fields: { delay: { type: 'duration', value: 30, unit: 'days' } },
      expected: { afterCreationMs: 30 * DAY_MS },
    },
    {
      name,
      fields: { delay: { type: 'duration', value: 5, unit: 'hours' } },
      expected: { afterCreationMs: 5 * 3_600_000 },
    },
    {
      name,
      fields: { delay: { type: 'duration', value: 90, unit: 'minutes' } },
      expected: { afterCreationMs: 90 * 60_000 },
    },
    { name, fields: { dueAt: instant }, expected: { dueAt } },
    { name, fields: { delay: { type: 'until', at: instant } }, expected: { dueAt } },
    {
      name,
      fields: { delay: { type: 'weekday', days, timeZone: 'Asia/Tokyo' } },
      expected: { dueAt: toMs(inThree, '00:00') },
    },
    {
      name,
      fields: { delay: { type: 'weekday', days, at: '09:00' }, timeZone: 'Asia/Tokyo' },
      expected: { dueAt: toMs(inThree, '09:00') },
    },
    {
      name,
      fields: {
        delay: { type: 'date', month: inForty.month, day: inForty.day, at: '09:30:15', timeZone: 'Asia/Tokyo' },
      },
      expected: { dueAt: toMs(inForty, '09:30:15') },
    },
    // Paris is an hour ahead of UTC at Christmas, and New York four hours behind in July.
    {
      name,
      fields: { delay: { type: 'date', year: nextYear, month: 12, day: 25, at: '09:00', timeZone: 'Europe/Paris' } },
      expected: { dueAt: Date.UTC(nextYear, 11, 25, 8) },
    },
    {
      name,
      fields: { delay: { type: 'date', year: nextYear, month: 7, day: 4, at: '20:00' }, timeZone: 'America/New_York' },
      expected: { dueAt: Date.UTC(nextYear, 6, 5, 0) },
    },
    {
      name,
      fields: { delay: { type: 'date', year: commonYear, month: 2, day: 29, leapDay: 'mar1', at: '00:00' } },
      expected: { dueAt: Date.UTC(commonYear, 2, 1) },
    },
  ];
}
