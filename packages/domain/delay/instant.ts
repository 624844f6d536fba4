/** RFC 3339 text to epoch milliseconds and back, by plain arithmetic: this runs several times for each timer. */

/** Nanoseconds are the finest clock readings in use; more digits than that are a mistake of the sender. */
const INSTANT_PATTERN =
  /^(\d{4})-(\d{2})-(\d{2})[Tt]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

const MONTH_DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** Days that `month` (1–12) can have, 29 for February; undefined when there is no such month. */
export function countMonthDays(month: number): number | undefined {
  return MONTH_DAYS[month - 1];
}

/** Whether the Gregorian `year` has a 29 February. */
export function isLeapYear(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

/**
 * Epoch milliseconds of an RFC 3339 date-time with `Z` or an offset; undefined when the text is not one or names a
 * date that does not exist. A fraction finer than a millisecond is rounded up, so that nothing becomes due early.
 * Leap seconds (`:60`) are refused: neither Postgres nor the runtime can keep them.
 */
export function parseInstant(text: string): number | undefined {
  const match = INSTANT_PATTERN.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, , , , fraction = ''] = match;
  const monthDays = countMonthDays(Number(month));
  const dayNumber = Number(day);
  if (monthDays === undefined || dayNumber < 1 || dayNumber > monthDays) return undefined;
  if (month === '02' && dayNumber === 29 && !isLeapYear(Number(year))) return undefined;
  // Date.parse would cut the digits after the third, which would make the instant early.
  const isFiner = /[1-9]/.test(fraction.slice(3));
  return Date.parse(text.toUpperCase()) + (isFiner ? 1 : 0);
}

/** Milliseconds of a minute: what differs between instants that share the start of their text. */
const MINUTE_MS = 60_000;

const SECONDS = Array.from({ length: 60 }, (_, second) => `${String(second).padStart(2, '0')}.`);
const MILLISECONDS = Array.from({ length: 1_000 }, (_, ms) => `${String(ms).padStart(3, '0')}Z`);

/** Of the minute that was asked for last, in minutes since 1970: its text up to the seconds. */
let lastMinute = Number.NaN;
let lastStart = '';

/**
 * ISO 8601 in UTC with milliseconds, as `Date.prototype.toISOString` writes it, for an eighth of its time: what is due together
 * shares a minute. `atMs`: milliseconds since 1970, rounded towards it. Throws RangeError beyond what a Date can hold.
 */
export function formatInstant(atMs: number): string {
  const at = Math.trunc(atMs);
  const minute = Math.floor(at / MINUTE_MS);
  if (minute !== lastMinute) {
    lastStart = new Date(at).toISOString().slice(0, -'00.000Z'.length);
    lastMinute = minute;
  }
  const ms = at - minute * MINUTE_MS;
  return lastStart + SECONDS[Math.floor(ms / 1_000)] + MILLISECONDS[ms % 1_000];
}
