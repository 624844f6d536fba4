import {
  CRON_LENGTH_MAX,
  DURATION_UNITS,
  LEAP_DAY_CHOICES,
  MISSED_AFTER_MS,
  MISSED_CHOICES,
  OVERLAP_CHOICES,
  WEEKDAYS,
} from '@punctual/domain';
import { type Static, Type } from 'typebox';
import { Action, Retry } from './action.ts';
import { LocalTime } from './delay.ts';
import { discriminatedUnion } from './discriminated-union.ts';
import { INTERVAL_VALUE_MAX, JITTER_MS_MAX, MISSED_WINDOW_MS_DEFAULT, MISSED_WINDOW_MS_MAX } from './limits.ts';
import { CLOSED, Id, Instant, Json, Labels, Name, Priority, TimeoutMs, TimeZone } from './primitives.ts';

export const SCHEDULE_STATUSES = ['active', 'paused', 'ended'] as const;

export const CronRule = Type.Object(
  {
    type: Type.Literal('cron'),
    expression: Type.String({
      minLength: 1,
      maxLength: CRON_LENGTH_MAX,
      description: 'Five fields, or six with seconds in front, such as `0 9 * * MON-FRI`.',
    }),
    timeZone: Type.Optional(TimeZone),
  },
  CLOSED,
);

export const IntervalRule = Type.Object(
  {
    type: Type.Literal('interval'),
    value: Type.Integer({ minimum: 1, maximum: INTERVAL_VALUE_MAX }),
    unit: Type.Enum([...DURATION_UNITS]),
  },
  { ...CLOSED, description: 'Exact elapsed time, counted from `startAt`, or else from when the rule was set.' },
);

export const WeekdayRule = Type.Object(
  {
    type: Type.Literal('weekday'),
    days: Type.Array(Type.Enum([...WEEKDAYS]), { minItems: 1, maxItems: WEEKDAYS.length }),
    at: Type.Optional(LocalTime),
    timeZone: Type.Optional(TimeZone),
  },
  { ...CLOSED, description: 'Each of these days, at 00:00 without `at`.' },
);

export const DateRule = Type.Object(
  {
    type: Type.Literal('date'),
    month: Type.Integer({ minimum: 1, maximum: 12 }),
    day: Type.Integer({ minimum: 1, maximum: 31 }),
    at: Type.Optional(LocalTime),
    leapDay: Type.Optional(Type.Enum([...LEAP_DAY_CHOICES])),
    timeZone: Type.Optional(TimeZone),
  },
  { ...CLOSED, description: 'That date of each year, at 00:00 without `at`.' },
);

export const ScheduleRule = discriminatedUnion([CronRule, IntervalRule, WeekdayRule, DateRule], {
  description: 'When it occurs.',
});

export const MissedRuns = Type.Object(
  {
    policy: Type.Enum([...MISSED_CHOICES]),
    windowMs: Type.Optional(
      Type.Integer({
        minimum: MISSED_AFTER_MS,
        maximum: MISSED_WINDOW_MS_MAX,
        default: MISSED_WINDOW_MS_DEFAULT,
        description: 'Of `all`: how late an occurrence may still begin.',
      }),
    ),
  },
  { ...CLOSED, description: 'What becomes of occurrences that could not begin within a minute.' },
);

export const ScheduledRun = Type.Object(
  { workflowId: Id, input: Type.Optional(Json), labels: Type.Optional(Labels) },
  { ...CLOSED, description: 'Each occurrence begins a run, in the version that the workflow has then.' },
);

export const ScheduledTimer = Type.Object(
  {
    action: Action,
    payload: Type.Optional(Json),
    retry: Type.Optional(Retry),
    timeoutMs: Type.Optional(TimeoutMs),
    priority: Type.Optional(Priority),
    labels: Type.Optional(Labels),
  },
  { ...CLOSED, description: 'Each occurrence is a timer that is due at once.' },
);

const JitterMs = Type.Integer({
  minimum: 0,
  maximum: JITTER_MS_MAX,
  default: 0,
  description: 'Each occurrence begins later by up to so much, by the same every time it is reckoned.',
});
const Overlap = Type.Enum([...OVERLAP_CHOICES], {
  default: 'allow',
  description: 'What becomes of an occurrence while the run or timer of the one before is under way.',
});
const nullableInstant = (description: string) =>
  Type.Union([Instant, Type.Null()], { description: `${description} Null takes it away.` });

export const ScheduleRequest = Type.Object(
  {
    name: Type.Optional(Name),
    rule: ScheduleRule,
    timeZone: Type.Optional(TimeZone),
    startAt: Type.Optional(Instant),
    endAt: Type.Optional(Instant),
    jitterMs: Type.Optional(JitterMs),
    overlap: Type.Optional(Overlap),
    missedRuns: Type.Optional(MissedRuns),
    run: Type.Optional(ScheduledRun),
    timer: Type.Optional(ScheduledTimer),
  },
  { ...CLOSED, description: 'Either `run` or `timer`.' },
);
export type ScheduleRequest = Static<typeof ScheduleRequest>;

export const ScheduleChange = Type.Object(
  {
    name: Type.Optional(Name),
    rule: Type.Optional(ScheduleRule),
    timeZone: Type.Optional(TimeZone),
    startAt: Type.Optional(nullableInstant('The first instant at which it may occur.')),
    endAt: Type.Optional(nullableInstant('The first instant at which it occurs no more.')),
    jitterMs: Type.Optional(JitterMs),
    overlap: Type.Optional(Overlap),
    missedRuns: Type.Optional(MissedRuns),
    run: Type.Optional(ScheduledRun),
    timer: Type.Optional(ScheduledTimer),
  },
  { ...CLOSED, minProperties: 1 },
);
export type ScheduleChange = Static<typeof ScheduleChange>;

export const Schedule = Type.Object({
  id: Id,
  name: Type.Optional(Type.String()),
  status: Type.Enum([...SCHEDULE_STATUSES], { description: '`ended`: it occurs no more.' }),
  version: Type.Integer({ description: 'Rises with each change; also the ETag.' }),
  rule: ScheduleRule,
  timeZone: Type.String(),
  startAt: Type.Optional(Instant),
  endAt: Type.Optional(Instant),
  jitterMs: Type.Integer(),
  overlap: Type.Enum([...OVERLAP_CHOICES]),
  missedRuns: MissedRuns,
  run: Type.Optional(ScheduledRun),
  timer: Type.Optional(ScheduledTimer),
  nextRunAt: Type.Optional(Instant),
  waiting: Type.Integer({ description: 'Occurrences that wait for the one before them to end, or for room.' }),
  lastRun: Type.Optional(
    Type.Object({
      at: Instant,
      occurrenceAt: Type.Optional(Instant),
      runId: Type.Optional(Id),
      timerId: Type.Optional(Id),
    }),
  ),
  failure: Type.Optional(
    Type.Object(
      { code: Type.String(), detail: Type.String(), at: Instant },
      { description: 'What keeps it from beginning what is due.' },
    ),
  ),
  createdAt: Instant,
  updatedAt: Instant,
});
export type Schedule = Static<typeof Schedule>;

export const TriggeredSchedule = Type.Object({
  scheduleId: Id,
  runId: Type.Optional(Id),
  timerId: Type.Optional(Id),
});

export const NextRuns = Type.Object({
  data: Type.Array(
    Type.Object({
      occurrenceAt: Instant,
      dueAt: Type.String({ format: 'date-time', description: 'With the jitter.' }),
      local: Type.String({ description: '`dueAt` as clocks in the time zone show it.' }),
    }),
  ),
});
