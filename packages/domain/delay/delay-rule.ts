/**
 * The words of a delay rule, as they appear in requests and as they are stored.
 *
 * The lists are the single source of the allowed values: schemas and validation read them, the types derive from them.
 */

/** Monday first, so that the index plus one is the ISO day of the week. */
export const WEEKDAYS = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'] as const;
export const DURATION_UNITS = ['seconds', 'minutes', 'hours', 'days'] as const;
export const ON_PAST_CHOICES = ['run', 'skip', 'reject'] as const;
export const LEAP_DAY_CHOICES = ['feb28', 'mar1', 'skip'] as const;

export type Weekday = (typeof WEEKDAYS)[number];
export type DurationUnit = (typeof DURATION_UNITS)[number];
export type OnPast = (typeof ON_PAST_CHOICES)[number];
export type LeapDay = (typeof LEAP_DAY_CHOICES)[number];

/** Exact elapsed time: a day is always 24 hours, whatever the clocks of a zone do. */
export type DurationDelay = { type: 'duration'; value: number; unit: DurationUnit };

/** The first of the named days; `at` is a local time `HH:MM` or `HH:MM:SS`. */
export type WeekdayDelay = { type: 'weekday'; days: Weekday[]; at?: string; timeZone?: string };

/** A local date, of one `year` or of whichever year brings it next. `onPast` says something only beside `year`. */
export type DateDelay = {
  type: 'date';
  month: number;
  day: number;
  at?: string;
  year?: number;
  onPast?: OnPast;
  leapDay?: LeapDay;
  timeZone?: string;
};

/** An instant in RFC 3339 with `Z` or an offset. */
export type UntilDelay = { type: 'until'; at: string };

/** How long a task or timer waits, counted from its anchor: the instant at which it begins to wait. */
export type DelayRule = DurationDelay | WeekdayDelay | DateDelay | UntilDelay;

/**
 * What a person may not expect of a due time.
 * `gap`: the local time named does not exist on that day and was moved forward.
 * `overlap`: the local time named occurs twice on that day.
 * `leapDay`: 29 February was asked for in a year without one.
 * `past`: the instant named lies before the anchor.
 */
export type DelayNote = 'gap' | 'overlap' | 'leapDay' | 'past';

/** A local time: optional seconds, no fractions, 24:00 is not one. */
export const LOCAL_TIME_PATTERN = /^(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d)?$/;

/** Years that a `date` rule may name: from the epoch to the last year that RFC 3339 can write. */
export const YEAR_MIN = 1970;
export const YEAR_MAX = 9999;

const DAY_MS = 86_400_000;

/** Milliseconds in one unit of a `duration`. */
export const DURATION_UNIT_MS: Readonly<Record<DurationUnit, number>> = {
  seconds: 1_000,
  minutes: 60_000,
  hours: 3_600_000,
  days: DAY_MS,
};

/**
 * The longest wait unless configured otherwise: 3,653 days of 24 hours, the longest that ten calendar years can be
 * (they hold two or three leap days), so that "the same date in ten years" is always accepted.
 */
export const MAX_WAIT_MS_DEFAULT = 3_653 * DAY_MS;

/** 9999-12-31T23:59:59.999Z: no due time may lie after it, because RFC 3339 could not write it. */
export const LAST_INSTANT_MS = 253_402_300_799_999;
