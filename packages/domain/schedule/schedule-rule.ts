/** The words of schedules, as they appear in requests and as they are stored. */
import { Cron } from 'croner';
import {
  DURATION_UNIT_MS,
  type DurationUnit,
  type LeapDay,
  MAX_WAIT_MS_DEFAULT,
  type Weekday,
} from '../delay/delay-rule.ts';
import { validateDelay } from '../delay/validate-delay.ts';
import type { Fault } from '../fault.ts';

export const OVERLAP_CHOICES = ['skip', 'queue', 'allow'] as const;
export const MISSED_CHOICES = ['skip', 'last', 'all'] as const;
export type Overlap = (typeof OVERLAP_CHOICES)[number];

/** Five fields, or six with seconds in front. */
export type CronRule = { type: 'cron'; expression: string; timeZone?: string };
/** Exact elapsed time, counted from the start of the schedule. */
export type IntervalRule = { type: 'interval'; value: number; unit: DurationUnit };
/** Each of these days at the local time `at`; 00:00 without. */
export type WeekdayRule = { type: 'weekday'; days: Weekday[]; at?: string; timeZone?: string };
/** Each year on that date, at the local time `at`; 00:00 without. */
export type DateRule = {
  type: 'date';
  month: number;
  day: number;
  at?: string;
  leapDay?: LeapDay;
  timeZone?: string;
};
export type ScheduleRule = CronRule | IntervalRule | WeekdayRule | DateRule;

/** What becomes of occurrences that were missed. `windowMs`: of `all`, how late one may still begin. */
export type MissedPolicy = { policy: 'skip' | 'last' } | { policy: 'all'; windowMs: number };

/** Lists of minutes make the longest expressions. */
export const CRON_LENGTH_MAX = 256;
/** The characters of an expression. `?`, `@` and `+` mean different things to different crons, and are none. */
export const CRON_PATTERN = /^[0-9A-Za-z*,/# -]+$/;

const DEFAULT_TIME = '00:00';

/** What is wrong with a rule that its schema let through; pointers are relative to it. */
export function validateScheduleRule(rule: ScheduleRule): Fault[] {
  switch (rule.type) {
    case 'cron':
      return validateCron(rule.expression);
    case 'interval':
      return rule.value * DURATION_UNIT_MS[rule.unit] > MAX_WAIT_MS_DEFAULT
        ? [
            {
              pointer: '/value',
              detail: `It must not be longer than ${MAX_WAIT_MS_DEFAULT / DURATION_UNIT_MS.days} days.`,
            },
          ]
        : [];
    case 'weekday':
    case 'date':
      return validateDelay(toDelayRule(rule));
  }
}

function validateCron(expression: string): Fault[] {
  const refuse = (detail: string): Fault[] => [{ pointer: '/expression', detail }];
  if (!CRON_PATTERN.test(expression)) {
    return refuse('It must be a cron expression of letters, digits, spaces and * , - / # only.');
  }
  try {
    return parseCron(expression).nextRun(new Date(0)) ? [] : refuse('No date matches it, ever.');
  } catch {
    return refuse('It must be a cron expression of five fields, or six with seconds in front.');
  }
}

/** Reads an expression as a row of local times, as if there were no zones. Throws when it is none. */
export function parseCron(expression: string): Cron {
  return new Cron(expression.trim().replace(/ +/g, ' '), { timezone: 'UTC', mode: '5-or-6-parts', paused: true });
}

/** Whether an expression names all hours of its days: then it means the time that passes rather than a time of day. */
export function namesEveryHour(expression: string): boolean {
  return ['*', '*/1', '0-23'].includes(expression.trim().split(/ +/).at(-4) ?? '');
}

/** The delay rule that is due at the next occurrence. */
export function toDelayRule(rule: WeekdayRule | DateRule) {
  return { ...rule, at: rule.at ?? DEFAULT_TIME };
}
