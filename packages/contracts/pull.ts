import { type Static, Type } from 'typebox';
import { QueueName } from './action.ts';
import {
  BATCH_ITEMS_MAX,
  LEASE_SECONDS_MAX,
  LEASE_TASKS_MAX,
  LEASE_TOKEN_LENGTH_MAX,
  LEASE_WAIT_SECONDS_MAX,
  OUTPUT_BYTES_MAX,
  TASK_ERROR_LENGTH_MAX,
  WORKER_ID_LENGTH_MAX,
} from './limits.ts';
import { CLOSED, Id, Instant, Json } from './primitives.ts';
import { Problem } from './problem.ts';

export const TaskQueueParams = Type.Object({ queue: QueueName }, CLOSED);

const LeaseSeconds = Type.Integer({
  minimum: 1,
  maximum: LEASE_SECONDS_MAX,
  description: 'How long from now the lease lasts, unless a heartbeat extends it.',
});

export const LeaseRequest = Type.Object(
  {
    workerId: Type.String({
      minLength: 1,
      maxLength: WORKER_ID_LENGTH_MAX,
      pattern: '^[\\x21-\\x7e]+$',
      description: 'What the worker calls itself, the same after a restart; no two that run at once may share it.',
    }),
    maxTasks: Type.Integer({ minimum: 1, maximum: LEASE_TASKS_MAX }),
    leaseSeconds: LeaseSeconds,
    waitSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: LEASE_WAIT_SECONDS_MAX,
        default: 0,
        description:
          'How long to wait for the first task when none is due. With an `Idempotency-Key` nothing is waited for.',
      }),
    ),
    resume: Type.Optional(
      Type.Boolean({
        default: false,
        description:
          'Returns what this `workerId` still holds of the queue, when that is anything: the same attempts with the same tokens, leased for `leaseSeconds` from now.',
      }),
    ),
  },
  CLOSED,
);
export type LeaseRequest = Static<typeof LeaseRequest>;

export const LeasedTask = Type.Object({
  id: { ...Id, description: 'The id of the timer: the same on every attempt.' },
  leaseToken: Type.String({ description: 'Opaque. Whoever ends the task shows it.' }),
  runId: Type.Union([Id, Type.Null()]),
  taskKey: Type.Union([Type.String(), Type.Null()]),
  attempt: Type.Integer({ description: 'From 1. An attempt that was lost is offered again under its own number.' }),
  payload: Type.Unknown({
    description: "The timer's payload, or that of the signal that it waited for; null when there is none.",
  }),
  timedOut: Type.Optional(
    Type.Boolean({ description: 'Of a task that waited for a signal: it did not come in time.' }),
  ),
  input: Type.Unknown({ description: "The run's input; null when it has none." }),
  inputs: Type.Record(Type.String(), Type.Unknown(), {
    description:
      'Outputs of the tasks that it waited for, by their keys; those of a task that ran once per element in order.',
  }),
  item: Type.Optional(Type.Unknown({ description: 'Of a task that runs once per element: the element.' })),
  index: Type.Optional(Type.Integer({ minimum: 0, description: 'Its place among the elements, from 0.' })),
});

export const LeaseAnswer = Type.Object({ tasks: Type.Array(LeasedTask) });

const LeaseToken = Type.String({ minLength: 1, maxLength: LEASE_TOKEN_LENGTH_MAX });

const completionFields = {
  leaseToken: LeaseToken,
  output: Type.Optional({ ...Json, description: `Any JSON, at most ${OUTPUT_BYTES_MAX} bytes.` }),
};

export const CompleteRequest = Type.Object(completionFields, CLOSED);
export type CompleteRequest = Static<typeof CompleteRequest>;

/** One of a batch. */
export const CompleteBatchItem = Type.Object({ id: Id, ...completionFields }, CLOSED);
export type CompleteBatchItem = Static<typeof CompleteBatchItem>;

/** Items are checked one by one, so that a bad one does not spoil the others. */
export const CompleteBatchRequest = Type.Object(
  { tasks: Type.Array(Type.Unknown(), { minItems: 1, maxItems: BATCH_ITEMS_MAX }) },
  CLOSED,
);

export const FailRequest = Type.Object(
  {
    leaseToken: LeaseToken,
    error: Type.String({ minLength: 1, maxLength: TASK_ERROR_LENGTH_MAX, description: 'Shown with the attempt.' }),
    retryable: Type.Optional(
      Type.Boolean({
        default: true,
        description: 'False: no further attempt is made, whatever the retry policy says.',
      }),
    ),
  },
  CLOSED,
);
export type FailRequest = Static<typeof FailRequest>;

export const HeartbeatRequest = Type.Object({ leaseToken: LeaseToken, leaseSeconds: LeaseSeconds }, CLOSED);
export type HeartbeatRequest = Static<typeof HeartbeatRequest>;

/** What became of a task that its worker ended. */
export const EndedTask = Type.Object({
  id: Id,
  status: Type.Enum(['succeeded', 'scheduled', 'dead', 'cancelled'], {
    description: '`scheduled`: it waits for another attempt; `cancelled`: its run was cancelled meanwhile.',
  }),
});
export type EndedTask = Static<typeof EndedTask>;

export const EndedTaskBatch = Type.Object({
  results: Type.Array(
    Type.Object({ status: Type.Integer(), task: Type.Optional(EndedTask), error: Type.Optional(Problem) }),
  ),
});

export const ExtendedLease = Type.Object({ id: Id, leaseEndsAt: Instant });
