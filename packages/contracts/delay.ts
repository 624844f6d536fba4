import {
  DURATION_UNITS,
  LEAP_DAY_CHOICES,
  ON_PAST_CHOICES,
  ON_TIMEOUT_CHOICES,
  SIGNAL_NAME_LENGTH_MAX,
  SIGNAL_NAME_PATTERN,
  WEEKDAYS,
  YEAR_MAX,
  YEAR_MIN,
} from '@punctual/domain';
import { Type } from 'typebox';
import { discriminatedUnion } from './discriminated-union.ts';
import { CLOSED, Instant, TimeZone } from './primitives.ts';

export const LocalTime = Type.String({
  pattern: '^([01]\\d|2[0-3]):[0-5]\\d(:[0-5]\\d)?$',
  maxLength: 8,
  description: 'A local time, `HH:MM` or `HH:MM:SS`.',
});

export const DurationDelay = Type.Object(
  {
    type: Type.Literal('duration'),
    value: Type.Integer({ minimum: 0 }),
    unit: Type.Enum([...DURATION_UNITS]),
  },
  { ...CLOSED, description: 'Exact elapsed time; a day is 24 hours.' },
);

export const WeekdayDelay = Type.Object(
  {
    type: Type.Literal('weekday'),
    days: Type.Array(Type.Enum([...WEEKDAYS]), { minItems: 1, maxItems: WEEKDAYS.length }),
    at: Type.Optional(LocalTime),
    timeZone: Type.Optional(TimeZone),
  },
  { ...CLOSED, description: 'The first of these days; without `at` at once when today is one, else at 00:00.' },
);

export const DateDelay = Type.Object(
  {
    type: Type.Literal('date'),
    month: Type.Integer({ minimum: 1, maximum: 12 }),
    day: Type.Integer({ minimum: 1, maximum: 31 }),
    at: Type.Optional(LocalTime),
    year: Type.Optional(Type.Integer({ minimum: YEAR_MIN, maximum: YEAR_MAX })),
    onPast: Type.Optional(Type.Enum([...ON_PAST_CHOICES])),
    leapDay: Type.Optional(Type.Enum([...LEAP_DAY_CHOICES])),
    timeZone: Type.Optional(TimeZone),
  },
  { ...CLOSED, description: 'A local date: of one year, or without `year` the next one.' },
);

export const UntilDelay = Type.Object(
  { type: Type.Literal('until'), at: Instant },
  { ...CLOSED, description: 'An instant; when it is past, at once.' },
);

export const Delay = discriminatedUnion([DurationDelay, WeekdayDelay, DateDelay, UntilDelay], {
  description: 'How long to wait, counted from the anchor: when the timer or task begins to wait.',
});

export const SignalName = Type.String({
  minLength: 1,
  maxLength: SIGNAL_NAME_LENGTH_MAX,
  pattern: SIGNAL_NAME_PATTERN.source,
  description: 'Of the signals of one run.',
});

export const SignalDelay = Type.Object(
  {
    type: Type.Literal('signal'),
    name: SignalName,
    timeout: Type.Optional(Delay),
    onTimeout: Type.Optional(
      Type.Enum([...ON_TIMEOUT_CHOICES], {
        description:
          '`fail`, if not said otherwise: the task ends dead without being tried. `run`: it is tried all the same.',
      }),
    ),
  },
  {
    ...CLOSED,
    description: 'Until somebody sends the run this signal; without `timeout` for as long as the run lives.',
  },
);

/** How a task of a workflow waits: by a rule, or for a signal. */
export const TaskDelay = discriminatedUnion([DurationDelay, WeekdayDelay, DateDelay, UntilDelay, SignalDelay], {
  description: 'How long the task waits, counted from when it begins to wait.',
});

export const DelayPreviewRequest = Type.Object(
  { delay: Type.Optional(Delay), timeZone: Type.Optional(TimeZone), from: Type.Optional(Instant) },
  CLOSED,
);

export const DelayPreviewAnswer = Type.Object({
  dueAt: Type.Union([Instant, Type.Null()]),
  local: Type.Union([Type.String(), Type.Null()]),
  timeZone: Type.String(),
  waitMs: Type.Union([Type.Integer(), Type.Null()]),
  notes: Type.Array(Type.String()),
  next: Type.Array(Instant),
  kind: Type.Enum(['due', 'skip', 'reject'], {
    description: '`skip` and `reject`: the date is past and the rule says so; there is no due time then.',
  }),
});
