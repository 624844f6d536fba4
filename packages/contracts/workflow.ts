import { EXPRESSION_LENGTH_MAX, PARENTS_PER_TASK_MAX, TASKS_PER_WORKFLOW_MAX } from '@punctual/domain';
import { type Static, Type } from 'typebox';
import { Action, Concurrency, Retry } from './action.ts';
import { TaskDelay } from './delay.ts';
import { POINTER_LENGTH_MAX, RETENTION_DAYS_MAX } from './limits.ts';
import { CLOSED, Id, Instant, Labels, Name, Priority, TimeoutMs, TimeZone } from './primitives.ts';

export const WORKFLOW_STATUSES = ['active', 'paused', 'archived'] as const;

/** Keys appear in requests to targets, in metrics and in URLs, so they stay plain. */
const WorkflowTaskKey = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: '^[A-Za-z0-9_.-]+$',
  description: 'Unique within the workflow.',
});

export const WorkflowTask = Type.Object(
  {
    key: WorkflowTaskKey,
    after: Type.Optional(
      Type.Array(WorkflowTaskKey, {
        maxItems: PARENTS_PER_TASK_MAX,
        description: 'Tasks that must have ended well, or been skipped, before this one begins to wait.',
      }),
    ),
    forEach: Type.Optional(
      Type.Object(
        {
          task: WorkflowTaskKey,
          path: Type.String({ maxLength: POINTER_LENGTH_MAX, description: 'A JSON pointer; empty: the whole output.' }),
        },
        {
          ...CLOSED,
          description: 'The task runs once per element of the array that stands at `path` in the output of `task`.',
        },
      ),
    ),
    in: Type.Optional(
      Type.Unsafe<string>({
        ...WorkflowTaskKey,
        description: 'A mapped task: this one runs once per element of it, too.',
      }),
    ),
    when: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: EXPRESSION_LENGTH_MAX,
        description: 'A CEL expression, evaluated when the task could begin. False: the task is skipped.',
      }),
    ),
    onFailure: Type.Optional(
      Type.Array(WorkflowTaskKey, {
        minItems: 1,
        maxItems: PARENTS_PER_TASK_MAX,
        description: 'In place of `after`: the task begins when one of these ends dead. The run does not fail by that.',
      }),
    ),
    continueOnFailure: Type.Optional(
      Type.Boolean({ default: false, description: 'When it ends dead, the tasks behind it begin all the same.' }),
    ),
    delay: Type.Optional(TaskDelay),
    action: Action,
    retry: Type.Optional(Retry),
    timeoutMs: Type.Optional(TimeoutMs),
    concurrency: Type.Optional(Concurrency),
    priority: Type.Optional(Priority),
  },
  CLOSED,
);
export type WorkflowTask = Static<typeof WorkflowTask>;

export const RetentionDays = Type.Unsafe<number | null>({
  type: ['integer', 'null'],
  minimum: 1,
  maximum: RETENTION_DAYS_MAX,
});
const retentionDays = {
  ...RetentionDays,
  description: 'Days for which its runs are kept after they ended, with all that they left. Null: as its tenant keeps.',
};

export const WorkflowRequest = Type.Object(
  {
    name: Name,
    timeZone: Type.Optional(TimeZone),
    tasks: Type.Array(WorkflowTask, {
      maxItems: TASKS_PER_WORKFLOW_MAX,
      description: 'An acyclic graph: a task without `after` is a root. May be empty, to be filled task by task.',
    }),
    priority: Type.Optional({ ...Priority, description: 'Of tasks that have none of their own.' }),
    labels: Type.Optional(Labels),
    retentionDays: Type.Optional(retentionDays),
  },
  CLOSED,
);
export type WorkflowRequest = Static<typeof WorkflowRequest>;

export const Workflow = Type.Object({
  id: Id,
  name: Type.String(),
  version: Type.Integer({ description: 'Rises with each change; also the ETag.' }),
  status: Type.Enum([...WORKFLOW_STATUSES]),
  timeZone: Type.String(),
  tasks: Type.Array(WorkflowTask),
  priority: Type.Optional(Priority),
  labels: Type.Optional(Labels),
  retentionDays,
  createdAt: Instant,
  updatedAt: Instant,
});
export type Workflow = Static<typeof Workflow>;

export const WorkflowVersion = Type.Object({
  workflowId: Id,
  version: Type.Integer(),
  name: Type.String(),
  timeZone: Type.String(),
  tasks: Type.Array(WorkflowTask),
  priority: Type.Optional(Priority),
  createdAt: Instant,
});
export type WorkflowVersion = Static<typeof WorkflowVersion>;
