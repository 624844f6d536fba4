/**
 * Local dates and times to instants, where clocks jump.
 *
 * A gap is a stretch of local time that a zone leaves out, an overlap one that it goes through twice. Gaps can be a
 * whole day long: Pacific/Apia had no 30 December 2011.
 */

export type LocalMoment = {
  /** Epoch milliseconds. */
  at: number;
  /** Whether the local time named was missing or ambiguous there. */
  note?: 'gap' | 'overlap';
};

/** The calendar date that people in `timeZone` see at the instant `at`. */
export function readLocalDate(at: number, timeZone: string): Temporal.PlainDate {
  return Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(timeZone).toPlainDate();
}

/** The local time that `text`, matching `LOCAL_TIME_PATTERN`, names. */
export function parseLocalTime(text: string): Temporal.PlainTime {
  return new Temporal.PlainTime(Number(text.slice(0, 2)), Number(text.slice(3, 5)), Number(text.slice(6, 8)));
}

/** A missing local time moves forward by the length of the gap; of a repeated one the first is taken. */
export function resolveLocalTime(date: Temporal.PlainDate, time: Temporal.PlainTime, timeZone: string): LocalMoment {
  const wanted = date.toPlainDateTime(time);
  const earlier = wanted.toZonedDateTime(timeZone, { disambiguation: 'earlier' });
  const later = wanted.toZonedDateTime(timeZone, { disambiguation: 'later' });
  if (earlier.epochMilliseconds === later.epochMilliseconds) return { at: earlier.epochMilliseconds };
  // In an overlap both readings show the local time that was wanted; in a gap neither does.
  return earlier.toPlainDateTime().equals(wanted)
    ? { at: earlier.epochMilliseconds, note: 'overlap' }
    : { at: later.epochMilliseconds, note: 'gap' };
}

/** `date` itself, or the day after the gap when `timeZone` leaves the whole of it out. */
export function findRealDate(date: Temporal.PlainDate, timeZone: string): Temporal.PlainDate {
  // A zoned date without a time is the first instant of the day, or of what follows when the day has none.
  return date.toZonedDateTime(timeZone).toPlainDate();
}

/**
 * The first instant of `date` that is not before `notBeforeAt`, for a date that exists and has not begun for somebody
 * who reads the calendar at `notBeforeAt`; undefined when the day is over.
 *
 * Where clocks go back across midnight, a day begins twice, and the second beginning may be the only one left.
 */
export function findDayStart(date: Temporal.PlainDate, timeZone: string, notBeforeAt: number): LocalMoment | undefined {
  const first = date.toZonedDateTime(timeZone);
  const firstAt = first.epochMilliseconds;
  const midnight = date.toPlainDateTime();
  if (!first.toPlainDateTime().equals(midnight)) {
    return firstAt >= notBeforeAt ? { at: firstAt, note: 'gap' } : undefined;
  }
  const secondAt = midnight.toZonedDateTime(timeZone, { disambiguation: 'later' }).epochMilliseconds;
  if (secondAt === firstAt) return firstAt >= notBeforeAt ? { at: firstAt } : undefined;
  if (firstAt >= notBeforeAt) return { at: firstAt, note: 'overlap' };
  return secondAt >= notBeforeAt ? { at: secondAt, note: 'overlap' } : undefined;
}
