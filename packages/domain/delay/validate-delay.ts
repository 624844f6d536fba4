/**
 * What a delay rule must be, complete in itself: whatever passes here, `computeDueAt` can compute, whether or not a
 * schema looked at it first.
 */
import type { Fault } from '../fault.ts';
import {
  DURATION_UNIT_MS,
  DURATION_UNITS,
  LEAP_DAY_CHOICES,
  LOCAL_TIME_PATTERN,
  MAX_WAIT_MS_DEFAULT,
  ON_PAST_CHOICES,
  WEEKDAYS,
  YEAR_MAX,
  YEAR_MIN,
} from './delay-rule.ts';
import { describeWaitLimit } from './due-time.ts';
import { countMonthDays, parseInstant } from './instant.ts';
import { isKnownTimeZone } from './time-zone.ts';

/** Enough to mend a rule in one go; a hostile body of a thousand unknown fields gets no thousand lines back. */
export const FAULTS_MAX = 20;

/** Each weekday once: a longer list repeats itself, and is not read further than this. */
const DAYS_MAX = WEEKDAYS.length;

type Fields = Record<string, unknown>;
type Report = (pointer: string, detail: string) => void;

/** The fields that each type may have, besides `type`. */
const FIELDS_OF_TYPE: ReadonlyMap<unknown, readonly string[]> = new Map([
  ['duration', ['value', 'unit']],
  ['weekday', ['days', 'at', 'timeZone']],
  ['date', ['month', 'day', 'at', 'year', 'onPast', 'leapDay', 'timeZone']],
  ['until', ['at']],
]);

/**
 * Every fault of a rule, none when it is sound; an absent rule (`undefined`) is sound, `null` is not.
 * `maxWaitMs` bounds a `duration` here; `checkWait` bounds the others, whose wait depends on the anchor.
 * At most `FAULTS_MAX` faults are given. Details never quote text from the input.
 */
export function validateDelay(
  rule: unknown,
  { maxWaitMs = MAX_WAIT_MS_DEFAULT }: { maxWaitMs?: number } = {},
): Fault[] {
  const faults: Fault[] = [];
  const report: Report = (pointer, detail) => {
    if (faults.length < FAULTS_MAX) faults.push({ pointer, detail });
  };
  if (rule === undefined) return faults;
  if (!isFields(rule)) {
    report('', 'A delay must be an object.');
    return faults;
  }
  const type = readField(rule, 'type');
  const allowed = FIELDS_OF_TYPE.get(type);
  if (allowed === undefined) {
    report('/type', `The type must be one of ${[...FIELDS_OF_TYPE.keys()].join(', ')}.`);
    return faults;
  }
  if (type === 'duration') checkDuration(rule, maxWaitMs, report);
  if (type === 'weekday') checkWeekday(rule, report);
  if (type === 'date') checkDate(rule, report);
  if (type === 'until') checkUntil(rule, report);
  for (const name of Object.keys(rule)) {
    if (name === 'type' || allowed.includes(name)) continue;
    report(`/${escapePointer(name)}`, `A delay of type ${type} has no such field.`);
  }
  return faults;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Own fields only: what an object inherits was not sent. */
function readField(fields: Fields, name: string): unknown {
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}

function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

function isWholeNumber(value: unknown, min: number, max: number): value is number {
  return Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
}

function isOneOf<T extends string>(value: unknown, choices: readonly T[]): value is T {
  return choices.some((choice) => choice === value);
}

function checkDuration(rule: Fields, maxWaitMs: number, report: Report): void {
  const value = readField(rule, 'value');
  const unit = readField(rule, 'unit');
  const isUnitKnown = isOneOf(unit, DURATION_UNITS);
  if (!isWholeNumber(value, 0, Number.MAX_VALUE)) report('/value', 'The value must be a whole number, 0 or more.');
  else if (isUnitKnown && value * DURATION_UNIT_MS[unit] > maxWaitMs) report('/value', describeWaitLimit(maxWaitMs));
  if (!isUnitKnown) report('/unit', `The unit must be one of ${DURATION_UNITS.join(', ')}.`);
}

function checkWeekday(rule: Fields, report: Report): void {
  const days = readField(rule, 'days');
  if (!Array.isArray(days) || days.length === 0) report('/days', 'The days must be a list of at least one weekday.');
  else checkDays(days, report);
  checkLocalTime(rule, report);
  checkTimeZone(rule, report);
}

function checkDays(days: readonly unknown[], report: Report): void {
  if (days.length > DAYS_MAX) report('/days', `The days must be at most ${DAYS_MAX}.`);
  const seen = new Set<unknown>();
  for (const [index, day] of days.slice(0, DAYS_MAX).entries()) {
    if (!isOneOf(day, WEEKDAYS)) report(`/days/${index}`, `A day must be one of ${WEEKDAYS.join(', ')}.`);
    else if (seen.has(day)) report(`/days/${index}`, 'The day is named twice.');
    seen.add(day);
  }
}

function checkDate(rule: Fields, report: Report): void {
  const month = readField(rule, 'month');
  const day = readField(rule, 'day');
  const year = readField(rule, 'year');
  const isMonthSound = isWholeNumber(month, 1, 12);
  if (!isMonthSound) report('/month', 'The month must be a whole number from 1 to 12.');
  // 29 February is always accepted: `leapDay` says what it means in other years.
  const monthDays = (isMonthSound ? countMonthDays(month) : undefined) ?? 31;
  if (!isWholeNumber(day, 1, 31)) report('/day', 'The day must be a whole number from 1 to 31.');
  else if (day > monthDays) report('/day', `Month ${month} has no day ${day}.`);
  if (year !== undefined && !isWholeNumber(year, YEAR_MIN, YEAR_MAX)) {
    report('/year', `The year must be a whole number from ${YEAR_MIN} to ${YEAR_MAX}.`);
  }
  checkLocalTime(rule, report);
  checkChoice(rule, 'onPast', ON_PAST_CHOICES, report);
  checkChoice(rule, 'leapDay', LEAP_DAY_CHOICES, report);
  checkTimeZone(rule, report);
}

function checkUntil(rule: Fields, report: Report): void {
  const at = readField(rule, 'at');
  if (typeof at === 'string' && parseInstant(at) !== undefined) return;
  report('/at', 'The instant must be an RFC 3339 date-time with Z or an offset, such as 2027-01-01T00:00:00Z.');
}

function checkLocalTime(rule: Fields, report: Report): void {
  const at = readField(rule, 'at');
  if (at === undefined || (typeof at === 'string' && LOCAL_TIME_PATTERN.test(at))) return;
  report('/at', 'The local time must be HH:MM or HH:MM:SS, from 00:00 to 23:59:59.');
}

function checkChoice(rule: Fields, name: string, choices: readonly string[], report: Report): void {
  const value = readField(rule, name);
  if (value === undefined || isOneOf(value, choices)) return;
  report(`/${name}`, `The value must be one of ${choices.join(', ')}.`);
}

function checkTimeZone(rule: Fields, report: Report): void {
  const timeZone = readField(rule, 'timeZone');
  if (timeZone === undefined || (typeof timeZone === 'string' && isKnownTimeZone(timeZone))) return;
  report('/timeZone', 'The time zone must be a known IANA name, such as Europe/Paris.');
}
