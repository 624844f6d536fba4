import { FINAL_STATES, LIVE_STATES } from '@punctual/domain';
import { type Static, Type } from 'typebox';
import { Action, Concurrency, Retry } from './action.ts';
import { Delay } from './delay.ts';
import { BATCH_ITEMS_MAX } from './limits.ts';
import { CLOSED, ExternalId, Id, Instant, Json, Labels, Priority, TaskKey, TimeoutMs, TimeZone } from './primitives.ts';
import { Problem } from './problem.ts';

export const TIMER_STATUSES = [...LIVE_STATES, ...FINAL_STATES] as const;

const timerFields = {
  delay: Type.Optional(Delay),
  dueAt: Type.Optional(Instant),
  timeZone: Type.Optional(TimeZone),
  action: Action,
  payload: Type.Optional(Json),
  retry: Type.Optional(Retry),
  timeoutMs: Type.Optional(TimeoutMs),
  concurrency: Type.Optional(Concurrency),
  priority: Type.Optional(Priority),
  externalId: Type.Optional(ExternalId),
  labels: Type.Optional(Labels),
};

export const TimerRequest = Type.Object(timerFields, {
  ...CLOSED,
  description: 'Either `delay` or `dueAt`, not both; with neither it is due at once.',
});
export type TimerRequest = Static<typeof TimerRequest>;

const changeFields = {
  delay: Type.Optional(Delay),
  dueAt: Type.Optional(Instant),
  payload: Type.Optional(Json),
  action: Type.Optional(Action),
  retry: Type.Optional(Retry),
  priority: Type.Optional(Priority),
  version: Type.Optional(
    Type.Integer({ minimum: 1, description: 'Change it only while it has this version, else 412.' }),
  ),
};

export const TimerChange = Type.Object(changeFields, {
  ...CLOSED,
  minProperties: 1,
  description: 'A new delay counts from the anchor of the timer.',
});
export type TimerChange = Static<typeof TimerChange>;

export const TimerBatchChange = Type.Object({ id: Id, ...changeFields }, CLOSED);
export type TimerBatchChange = Static<typeof TimerBatchChange>;

/** Items are checked one by one, so that a bad one does not spoil the others. */
export const TimerBatchRequest = Type.Object(
  { timers: Type.Array(Type.Unknown(), { minItems: 1, maxItems: BATCH_ITEMS_MAX }) },
  CLOSED,
);

export const TimerIdsRequest = Type.Object({ ids: Type.Array(Id, { minItems: 1, maxItems: BATCH_ITEMS_MAX }) }, CLOSED);

export const Timer = Type.Object({
  id: Id,
  status: Type.Enum([...TIMER_STATUSES]),
  version: Type.Integer(),
  dueAt: Instant,
  attempt: Type.Integer({ description: 'Attempts begun so far; 0 before the first.' }),
  runId: Type.Optional(Id),
  workflowId: Type.Optional(Id),
  taskKey: Type.Optional(TaskKey),
  path: Type.Optional(
    Type.Array(Type.Integer(), {
      description: 'Of a task that runs once per element: the place of the element in each array, from the outside in.',
    }),
  ),
  createdAt: Instant,
  finishedAt: Type.Optional(Instant),
  nextAttemptAt: Type.Optional(Instant),
  waitsFor: Type.Optional(
    Type.String({ description: 'The signal that it waits for; `dueAt` is when its time-out passes.' }),
  ),
  delay: Type.Optional(Delay),
  timeZone: Type.Optional(TimeZone),
  action: Type.Optional(Action),
  payload: Type.Optional(Json),
  retry: Type.Optional(Retry),
  timeoutMs: Type.Optional(TimeoutMs),
  concurrency: Type.Optional(Concurrency),
  priority: Type.Optional(Priority),
  externalId: Type.Optional(ExternalId),
  labels: Type.Optional(Labels),
  omitted: Type.Optional(
    Type.Array(Type.Enum(['action', 'payload']), {
      description: 'Left out of the answer to a batch because it is large; reading the timer shows it.',
    }),
  ),
});

export const TimerBatchAnswer = Type.Object({
  results: Type.Array(
    Type.Object({ status: Type.Integer(), timer: Type.Optional(Timer), error: Type.Optional(Problem) }),
  ),
});

export const Attempt = Type.Object({
  attempt: Type.Integer(),
  startedAt: Instant,
  finishedAt: Instant,
  latenessMs: Type.Optional(Type.Number()),
  durationMs: Type.Optional(Type.Number()),
  outcome: Type.Enum(['succeeded', 'retryable', 'permanent', 'timedOut', 'blocked', 'lost']),
  httpStatus: Type.Optional(Type.Integer()),
  error: Type.Optional(Type.String()),
  responseBody: Type.Optional(Type.String({ description: 'The first 4 KB.' })),
});

/** A dead letter: a timer, and how its last attempt went. */
export const DeadLetter = Type.Intersect([Timer, Type.Object({ lastAttempt: Type.Optional(Attempt) })]);

export const DeadLetterParams = Type.Object({ timerId: Id }, CLOSED);

export const RedriveAnswer = Type.Object({
  redriven: Type.Integer({ description: 'How many were redriven.' }),
  hasMore: Type.Boolean({ description: 'More dead letters may match: send the request again.' }),
  results: TimerBatchAnswer.properties.results,
});
