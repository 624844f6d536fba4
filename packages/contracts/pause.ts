import { type Static, Type } from 'typebox';
import { QueueName } from './action.ts';
import { TimerFilter } from './filter.ts';
import { RATE_MIN, RELEASE_RATE_DEFAULT, RELEASE_RATE_MAX } from './limits.ts';
import { CLOSED, Id, Instant } from './primitives.ts';
import { Workflow, WorkflowRequest, WorkflowTask } from './workflow.ts';

const dueTimes = Type.Optional(
  Type.Enum(['keep', 'shift'], {
    default: 'keep',
    description: '`keep`: what is overdue is due now. `shift`: what waits is due later by as long as it was held back.',
  }),
);
const ratePerSecond = Type.Optional(
  Type.Number({
    minimum: RATE_MIN,
    maximum: RELEASE_RATE_MAX,
    default: RELEASE_RATE_DEFAULT,
    description: 'How many of those that are overdue are due per second, in order of their due times.',
  }),
);

/** How one timer comes back. */
export const TimerResumeRequest = Type.Union([Type.Null(), Type.Object({ dueTimes }, CLOSED)]);
export type TimerResumeRequest = Static<typeof TimerResumeRequest>;

/** How many timers come back. */
export const ResumeRequest = Type.Union([Type.Null(), Type.Object({ dueTimes, ratePerSecond }, CLOSED)]);
export type ResumeRequest = Static<typeof ResumeRequest>;

const bulkOperationId = Type.Optional({
  ...Id,
  description: 'The bulk operation that goes on with what the request began; absent when nothing is left to do.',
});

/** A workflow, and what goes on with its runs. */
export const WorkflowWithOperation = Type.Object({ ...Workflow.properties, bulkOperationId });

const runs = Type.Optional(
  Type.Union([Type.Enum(['keep', 'move']), Type.Object({ move: TimerFilter }, CLOSED)], {
    default: 'keep',
    description:
      'What becomes of runs under way. `keep`: they keep their version. `move`: they go on with the new one, and what sleeps in them is reckoned anew from each anchor; `{"move": <filter>}`: those runs that have such a live timer.',
  }),
);

/** A new version of a workflow. */
export const WorkflowChangeRequest = Type.Object({ ...WorkflowRequest.properties, runs }, CLOSED);
export type WorkflowChangeRequest = Static<typeof WorkflowChangeRequest>;
export const TaskAddRequest = Type.Object({ ...WorkflowTask.properties, runs }, CLOSED);
export type TaskAddRequest = Static<typeof TaskAddRequest>;
export type RunsChoice = WorkflowChangeRequest['runs'];

export const GATE_KINDS = ['workflow', 'queue', 'origin'] as const;
export const GATE_STATUSES = ['paused', 'open'] as const;

export const Gate = Type.Object({
  kind: Type.Enum([...GATE_KINDS]),
  name: Type.String({ description: "A workflow's id, a queue's name, or an origin: scheme, host and port." }),
  status: Type.Enum([...GATE_STATUSES], { description: '`open`: nothing is held back.' }),
  pausedAt: Type.Optional(Instant),
  cancelledBefore: Type.Optional({
    ...Instant,
    description: 'Runs of the workflow that were created before it are being cancelled; none of their tasks starts.',
  }),
  bulkOperationId,
});
export type Gate = Static<typeof Gate>;

export const QueueParams = Type.Object({ queue: QueueName }, CLOSED);

const ORIGIN_LENGTH_MAX = 300;
const origin = Type.String({
  minLength: 1,
  maxLength: ORIGIN_LENGTH_MAX,
  description: 'Scheme, host and port, such as `https://example.com`; what follows them is left out.',
});
export const OriginPauseRequest = Type.Object({ origin }, CLOSED);
export const OriginResumeRequest = Type.Object({ origin, dueTimes, ratePerSecond }, CLOSED);
