/**
 * When a timer becomes due: the arithmetic behind every delay, with no clock of its own.
 *
 * A rule with a local time `at` stands for a row of instants, one on each matching day, moved out of gaps and taken
 * first in overlaps; the due time is the first of them that is not before the anchor. So it is never before the
 * anchor, and a later anchor never has an earlier due time.
 */
import type { Fault } from '../fault.ts';
import type { DateDelay, DelayNote, DelayRule, WeekdayDelay } from './delay-rule.ts';
import { DURATION_UNIT_MS, LAST_INSTANT_MS, MAX_WAIT_MS_DEFAULT, WEEKDAYS } from './delay-rule.ts';
import { isLeapYear, parseInstant } from './instant.ts';
import { findDayStart, findRealDate, parseLocalTime, readLocalDate, resolveLocalTime } from './local-time.ts';
import { canonicalTimeZone } from './time-zone.ts';

export type Anchor = {
  /** Epoch milliseconds, a whole number: when the task or timer begins to wait. */
  anchorAt: number;
  /** The zone of the workflow or timer, for rules that name none; UTC when absent. */
  timeZone?: string;
};

/**
 * `due`: becomes due at `dueAt`, never before the anchor.
 * `skip`: never becomes due and ends as skipped. `reject`: must be refused when it is created.
 * `missedAt` is the instant that lay in the past, or null when the date does not occur at all.
 * `timeZone` is the zone that counted, in IANA spelling. Instants are epoch milliseconds.
 */
export type DueTime =
  | { kind: 'due'; dueAt: number; timeZone: string; notes: DelayNote[] }
  | { kind: 'skip'; missedAt: number | null; timeZone: string; notes: DelayNote[] }
  | { kind: 'reject'; missedAt: number; timeZone: string; notes: DelayNote[] };

/**
 * Days looked at, counted from the anchor's own local date: today's time may have passed, so the same weekday a week
 * on is wanted; and a zone may leave that very day out, so another week on.
 */
const DAYS_AHEAD_MAX = 14;

/** The longest stretch of years without a 29 February is eight: 2096 to 2104. */
const YEARS_AHEAD_MAX = 8;

/**
 * The due time of a rule that `validateDelay` accepted; an absent rule is due at the anchor.
 * Throws a RangeError when the zone is unknown, the anchor is no whole number, or the rule was not validated.
 */
export function computeDueAt(rule: DelayRule | undefined, { anchorAt, timeZone }: Anchor): DueTime {
  if (!Number.isSafeInteger(anchorAt)) throw new RangeError('The anchor must be a whole number of milliseconds.');
  if (rule === undefined) return due(anchorAt, pickTimeZone(timeZone));
  switch (rule.type) {
    // These two are most timers of a busy install: plain arithmetic, without Temporal.
    case 'duration':
      return due(anchorAt + rule.value * DURATION_UNIT_MS[rule.unit], pickTimeZone(timeZone));
    case 'until':
      return computeUntil(rule.at, anchorAt, pickTimeZone(timeZone));
    case 'weekday':
      return computeWeekday(rule, anchorAt, pickTimeZone(rule.timeZone ?? timeZone));
    case 'date':
      return computeDate(rule, anchorAt, pickTimeZone(rule.timeZone ?? timeZone));
  }
}

/**
 * A fault when the wait from `anchorAt` to `dueAt` is longer than `maxWaitMs`, or ends after the year 9999; its pointer
 * names the field that decides the wait. Instants are epoch milliseconds.
 */
export function checkWait(
  rule: DelayRule | undefined,
  { anchorAt, dueAt }: { anchorAt: number; dueAt: number },
  maxWaitMs: number = MAX_WAIT_MS_DEFAULT,
): Fault | undefined {
  if (dueAt - anchorAt > maxWaitMs) return { pointer: findDecidingField(rule), detail: describeWaitLimit(maxWaitMs) };
  if (dueAt <= LAST_INSTANT_MS) return undefined;
  return { pointer: findDecidingField(rule), detail: 'The wait must end before the year 10000.' };
}

/** The sentence for a wait that is longer than `maxWaitMs`. */
export function describeWaitLimit(maxWaitMs: number): string {
  const days = maxWaitMs / DURATION_UNIT_MS.days;
  const limit = Number.isInteger(days) ? `${days} days` : `${maxWaitMs / DURATION_UNIT_MS.seconds} seconds`;
  return `The wait must not be longer than ${limit}.`;
}

function findDecidingField(rule: DelayRule | undefined): string {
  switch (rule?.type) {
    case 'duration':
      return '/value';
    case 'until':
      return '/at';
    case 'weekday':
      return '/days';
    case 'date':
      return rule.year === undefined ? '/month' : '/year';
    default:
      return '';
  }
}

function due(dueAt: number, timeZone: string, notes: DelayNote[] = []): DueTime {
  return { kind: 'due', dueAt, timeZone, notes };
}

function pickTimeZone(name: string | undefined): string {
  if (name === undefined) return 'UTC';
  const timeZone = canonicalTimeZone(name);
  if (timeZone === undefined) throw new RangeError('The time zone is not a known IANA name.');
  return timeZone;
}

function computeUntil(at: string, anchorAt: number, timeZone: string): DueTime {
  const untilAt = parseInstant(at);
  if (untilAt === undefined) throw new RangeError('The instant is not in RFC 3339.');
  return untilAt >= anchorAt ? due(untilAt, timeZone) : due(anchorAt, timeZone, ['past']);
}

function computeWeekday(rule: WeekdayDelay, anchorAt: number, timeZone: string): DueTime {
  const wanted = new Set(rule.days.map((day) => WEEKDAYS.indexOf(day) + 1));
  const today = readLocalDate(anchorAt, timeZone);
  const time = rule.at === undefined ? undefined : parseLocalTime(rule.at);
  if (time === undefined && wanted.has(today.dayOfWeek)) return due(anchorAt, timeZone);
  // Yesterday's `at` may still be ahead: a gap at the end of a day moves it past midnight (America/Nuuk, 23:30).
  for (let days = time === undefined ? 1 : -1; days <= DAYS_AHEAD_MAX; days += 1) {
    // Plain arithmetic spares a calendar addition for each day that does not match.
    if (!wanted.has(((today.dayOfWeek + days + 6) % 7) + 1)) continue;
    const date = today.add({ days });
    const moment = time === undefined ? findDayStart(date, timeZone, anchorAt) : resolveLocalTime(date, time, timeZone);
    if (moment === undefined || moment.at < anchorAt) continue;
    // A day that the zone leaves out is no such weekday there; the day after the gap must not stand in for it.
    if (moment.note === 'gap' && !findRealDate(date, timeZone).equals(date)) continue;
    return due(moment.at, timeZone, moment.note === undefined ? [] : [moment.note]);
  }
  throw new RangeError('No weekday matches: the rule was not validated.');
}

function computeDate(rule: DateDelay, anchorAt: number, timeZone: string): DueTime {
  const today = readLocalDate(anchorAt, timeZone);
  if (rule.year !== undefined) return computeDateOfYear(rule, rule.year, today, anchorAt, timeZone);
  // On 1 January, last year's 31 December may still be ahead, moved past midnight by a gap.
  const firstYear = today.dayOfYear === 1 ? today.year - 1 : today.year;
  for (let year = firstYear; year <= today.year + YEARS_AHEAD_MAX; year += 1) {
    const occurrence = findOccurrence(rule, year, today, anchorAt, timeZone);
    if (occurrence !== undefined && occurrence.at >= anchorAt) return due(occurrence.at, timeZone, occurrence.notes);
  }
  throw new RangeError('No date matches: the rule was not validated.');
}

function computeDateOfYear(
  rule: DateDelay,
  year: number,
  today: Temporal.PlainDate,
  anchorAt: number,
  timeZone: string,
): DueTime {
  const occurrence = findOccurrence(rule, year, today, anchorAt, timeZone);
  if (occurrence === undefined) return { kind: 'skip', missedAt: null, timeZone, notes: ['leapDay'] };
  if (occurrence.at >= anchorAt) return due(occurrence.at, timeZone, occurrence.notes);
  // Whether the missed local time was in a gap no longer matters; that the date was moved does.
  const notes: DelayNote[] = occurrence.notes.includes('leapDay') ? ['leapDay', 'past'] : ['past'];
  if (rule.onPast === 'skip') return { kind: 'skip', missedAt: occurrence.at, timeZone, notes };
  if (rule.onPast === 'reject') return { kind: 'reject', missedAt: occurrence.at, timeZone, notes };
  return due(anchorAt, timeZone, notes);
}

/**
 * The instant that the rule means in `year`, which may be before the anchor; without `at`, the anchor itself when the
 * day is today. Undefined when the year has no such day and the rule skips it.
 */
function findOccurrence(
  rule: DateDelay,
  year: number,
  today: Temporal.PlainDate,
  anchorAt: number,
  timeZone: string,
): { at: number; notes: DelayNote[] } | undefined {
  const notes: DelayNote[] = [];
  let { month, day } = rule;
  if (month === 2 && day === 29 && !isLeapYear(year)) {
    if (rule.leapDay === 'skip') return undefined;
    notes.push('leapDay');
    if (rule.leapDay === 'mar1') [month, day] = [3, 1];
    else day = 28;
  }
  const date = new Temporal.PlainDate(year, month, day);
  if (rule.at !== undefined) {
    const moment = resolveLocalTime(date, parseLocalTime(rule.at), timeZone);
    if (moment.note !== undefined) notes.push(moment.note);
    return { at: moment.at, notes };
  }
  // The day after the gap stands in for a date that the zone leaves out: a yearly date must not lose its year.
  const realDate = findRealDate(date, timeZone);
  if (!realDate.equals(date)) notes.push('gap');
  if (realDate.equals(today)) return { at: anchorAt, notes };
  const start = findDayStart(realDate, timeZone, anchorAt);
  if (start === undefined) return { at: realDate.toZonedDateTime(timeZone).epochMilliseconds, notes };
  if (start.note !== undefined && !notes.includes(start.note)) notes.push(start.note);
  return { at: start.at, notes };
}
