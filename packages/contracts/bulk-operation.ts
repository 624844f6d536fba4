import { type Static, Type } from 'typebox';
import { Delay } from './delay.ts';
import { TimerFilter } from './filter.ts';
import { BATCH_ITEMS_MAX, BULK_REASON_LENGTH_MAX, BULK_SHIFT_MS_MAX, RATE_MIN, RELEASE_RATE_MAX } from './limits.ts';
import { CLOSED, Id, Instant } from './primitives.ts';
import { TIMER_STATUSES } from './timer.ts';

/** What a request may ask for; `move` is made by a new version of a workflow. */
export const BULK_REQUEST_ACTIONS = ['cancel', 'reschedule', 'pause', 'resume', 'fire', 'redrive'] as const;
export const BULK_ACTIONS = [...BULK_REQUEST_ACTIONS, 'move'] as const;
export const BULK_STATUSES = ['running', 'paused', 'succeeded', 'failed', 'aborted'] as const;
export const BULK_TARGETS = ['timer', 'deadLetter', 'run'] as const;

export const BulkChange = Type.Object(
  {
    delay: Type.Optional(Delay),
    dueAt: Type.Optional(Instant),
    shiftMs: Type.Optional(
      Type.Integer({
        minimum: -BULK_SHIFT_MS_MAX,
        maximum: BULK_SHIFT_MS_MAX,
        description: 'Moves each due time by so many milliseconds.',
      }),
    ),
    dueTimes: Type.Optional(Type.Enum(['keep', 'shift'], { default: 'keep' })),
  },
  {
    ...CLOSED,
    minProperties: 1,
    maxProperties: 1,
    description:
      'For `reschedule` one of `delay`, which counts from the anchor of each timer, `dueAt` and `shiftMs`; for `resume` `dueTimes`.',
  },
);

export const BulkOperationRequest = Type.Object(
  {
    action: Type.Enum([...BULK_REQUEST_ACTIONS]),
    filter: Type.Optional(TimerFilter),
    ids: Type.Optional(Type.Array(Id, { minItems: 1, maxItems: BATCH_ITEMS_MAX })),
    change: Type.Optional(BulkChange),
    dryRun: Type.Optional(Type.Boolean({ default: false, description: 'Counts, shows samples and changes nothing.' })),
    ratePerSecond: Type.Optional(
      Type.Number({
        minimum: RATE_MIN,
        maximum: RELEASE_RATE_MAX,
        description: 'How many timers are changed per second at most; absent: as many as it can.',
      }),
    ),
    reason: Type.Optional(Type.String({ minLength: 1, maxLength: BULK_REASON_LENGTH_MAX })),
  },
  { ...CLOSED, description: 'Either `filter` or `ids`.' },
);
export type BulkOperationRequest = Static<typeof BulkOperationRequest>;

export const BulkOperation = Type.Object({
  id: Id,
  action: Type.Enum([...BULK_ACTIONS]),
  status: Type.Enum([...BULK_STATUSES]),
  target: Type.Enum([...BULK_TARGETS], { description: 'What `matched`, `done` and `failed` count.' }),
  matched: Type.Integer({
    description: 'How many targets there are: 0 until they are listed; of a dry run exact up to 10,000.',
  }),
  capped: Type.Optional(Type.Boolean({ description: 'Of a dry run: there are more than `matched`.' })),
  isListed: Type.Boolean({ description: 'Whether all targets are known.' }),
  done: Type.Integer(),
  failed: Type.Integer(),
  dryRun: Type.Boolean(),
  samples: Type.Optional(
    Type.Array(Type.Object({ id: Id, status: Type.Enum([...TIMER_STATUSES]), dueAt: Instant }), {
      description: 'Of a dry run: the first targets by due time.',
    }),
  ),
  workflowId: Type.Optional({ ...Id, description: 'Of an operation on a whole workflow.' }),
  filter: Type.Optional(TimerFilter),
  change: Type.Optional(BulkChange),
  ratePerSecond: Type.Optional(Type.Number()),
  reason: Type.Optional(Type.String()),
  createdAt: Instant,
  finishedAt: Type.Optional(Instant),
});
export type BulkOperation = Static<typeof BulkOperation>;

export const BulkFailure = Type.Object({
  id: Type.String({ format: 'uuid', description: 'The target.' }),
  code: Type.String({ description: 'As in problems, such as `timer_already_started`.' }),
  detail: Type.String(),
});
