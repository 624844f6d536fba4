import { type Static, Type } from 'typebox';
import { BATCH_ITEMS_MAX } from './limits.ts';
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

export const RunRequest = Type.Object({ workflowId: Id, ...runFields }, CLOSED);
export type RunRequest = Static<typeof RunRequest>;

/** One run of a batch. */
export const RunBatchItem = Type.Object(runFields, CLOSED);
export type RunBatchItem = Static<typeof RunBatchItem>;

/** Items are checked one by one, so that a bad one does not spoil the others. */
export const RunBatchRequest = Type.Object(
  { workflowId: Id, runs: Type.Array(Type.Unknown(), { minItems: 1, maxItems: BATCH_ITEMS_MAX }) },
  CLOSED,
);

export const RunTask = Type.Object({
  key: Type.String(),
  status: Type.Enum([...RUN_TASK_STATUSES]),
  timerId: Type.Optional(Id),
  dueAt: Type.Optional(Instant),
  attempts: Type.Integer({ description: 'Attempts begun so far.' }),
  startedAt: Type.Optional(Type.String({ format: 'date-time', description: 'When its last attempt started.' })),
  finishedAt: Type.Optional(Instant),
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
