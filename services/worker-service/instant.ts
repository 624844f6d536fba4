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
