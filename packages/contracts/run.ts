import { type Static, Type } from 'typebox';
import { BATCH_ITEMS_MAX, INSTANCES_SHOWN_MAX } from './limits.ts';
import { CLOSED, ExternalId, Id, Instant, Json, Labels } from './primitives.ts';
import { Problem } from './problem.ts';

export const RUN_STATUSES = ['running', 'paused', 'succeeded', 'failed', 'cancelled'] as const;

const RUN_TASK_STATUSES = [
  'pending',
  'scheduled',
  'running',
  'paused',
  'succeeded',
  'dead',
  'cancelled',
  'skipped',
] as const;

const runFields = {
  input: Type.Optional(Json),
  externalId: Type.Optional(ExternalId),
  labels: Type.Optional(Labels),
};

/** The workflow's status must let it begin all the same. */
const paused = Type.Optional(
  Type.Boolean({ default: false, description: 'Begins it paused: nothing starts until somebody resumes it.' }),
);

export const RunRequest = Type.Object({ workflowId: Id, ...runFields, paused }, CLOSED);
export type RunRequest = Static<typeof RunRequest>;

/** One run of a batch. */
export const RunBatchItem = Type.Object({ ...runFields, paused }, CLOSED);
export type RunBatchItem = Static<typeof RunBatchItem>;

/** Items are checked one by one, so that a bad one does not spoil the others. */
export const RunBatchRequest = Type.Object(
  { workflowId: Id, runs: Type.Array(Type.Unknown(), { minItems: 1, maxItems: BATCH_ITEMS_MAX }) },
  CLOSED,
);

const progressFields = {
  status: Type.Enum([...RUN_TASK_STATUSES]),
  timerId: Type.Optional(Id),
  dueAt: Type.Optional(Instant),
  waitsFor: Type.Optional(Type.String({ description: 'The signal that it waits for.' })),
  attempts: Type.Integer({ description: 'Attempts begun so far.' }),
  startedAt: Type.Optional(Type.String({ format: 'date-time', description: 'When its last attempt started.' })),
  finishedAt: Type.Optional(Instant),
  output: Type.Optional(Type.Unknown({ description: 'What it yielded, if that was JSON and is kept.' })),
};

/** One of the instances of a task that runs once per element. */
export const RunTaskInstance = Type.Object({
  path: Type.Array(Type.Integer(), { description: 'The place of its element in each array, from the outside in.' }),
  ...progressFields,
});
export type RunTaskInstance = Static<typeof RunTaskInstance>;

const count = Type.Integer();
export const RunTask = Type.Object({
  key: Type.String(),
  ...progressFields,
  counts: Type.Optional(
    Type.Object(
      {
        total: count,
        pending: count,
        live: count,
        succeeded: count,
        dead: count,
        cancelled: count,
        skipped: count,
      },
      { description: 'Of a task that runs once per element: how many of its instances are in which state.' },
    ),
  ),
  instances: Type.Optional(
    Type.Array(RunTaskInstance, {
      maxItems: INSTANCES_SHOWN_MAX,
      description:
        'The first of them: a hundred, or less when more than ten tasks run once per element. `GET /v1/timers?runId=…&taskKey=…` lists all that have begun.',
    }),
  ),
});
export type RunTask = Static<typeof RunTask>;

const runAnswerFields = {
  id: Id,
  workflowId: Id,
  workflowVersion: Type.Integer(),
  status: Type.Enum([...RUN_STATUSES]),
  input: Type.Optional(Json),
  externalId: Type.Optional(ExternalId),
  labels: Type.Optional(Labels),
  createdAt: Instant,
  finishedAt: Type.Optional(Instant),
};

export const Run = Type.Object({ ...runAnswerFields, tasks: Type.Array(RunTask) });
export type Run = Static<typeof Run>;

/** A run as lists show it: without its tasks. */
export const RunSummary = Type.Object(runAnswerFields);
export type RunSummary = Static<typeof RunSummary>;

export const RunBatchAnswer = Type.Object({
  results: Type.Array(Type.Object({ status: Type.Integer(), run: Type.Optional(Run), error: Type.Optional(Problem) })),
});
