import {
  ACTION_HEADERS_MAX,
  ACTION_METHODS,
  BACKOFF_MAX_MS,
  CONCURRENCY_KEY_LENGTH_MAX,
  LANE_LIMIT_MAX,
  RETRIES_MAX,
  SECRET_MASK,
  URL_LENGTH_MAX,
} from '@punctual/domain';
import { type Static, Type } from 'typebox';
import { discriminatedUnion } from './discriminated-union.ts';
import {
  ACTION_HEADER_NAME_LENGTH_MAX,
  ACTION_HEADER_VALUE_LENGTH_MAX,
  BACKOFF_FACTOR_MAX,
  LANE_RATE_MAX,
  NOOP_DURATION_MS_MAX,
  QUEUE_NAME_LENGTH_MAX,
  RATE_MIN,
} from './limits.ts';
import { CLOSED, Json } from './primitives.ts';

export const QueueName = Type.String({
  minLength: 1,
  maxLength: QUEUE_NAME_LENGTH_MAX,
  pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]*$',
  description: 'Letters, digits, `_`, `.` and `-`; not `.` or `-` first, so that it can stand in a path.',
});

export const HttpAction = Type.Object(
  {
    type: Type.Literal('http'),
    url: Type.String({ minLength: 1, maxLength: URL_LENGTH_MAX }),
    method: Type.Optional(Type.Enum([...ACTION_METHODS], { default: 'POST' })),
    headers: Type.Optional(
      Type.Record(Type.String(), Type.String({ maxLength: ACTION_HEADER_VALUE_LENGTH_MAX }), {
        maxProperties: ACTION_HEADERS_MAX,
        propertyNames: { minLength: 1, maxLength: ACTION_HEADER_NAME_LENGTH_MAX },
        description: `Answers show \`${SECRET_MASK}\` for what carries a secret (Authorization, X-Api-Key and the like). A change that sends the mask back keeps the secret, as long as scheme, host, port and path of the URL stay.`,
      }),
    ),
    body: Type.Optional(Json),
  },
  { ...CLOSED, description: 'Calls an endpoint. Without `body` the timer itself is sent.' },
);

export const PullAction = Type.Object(
  { type: Type.Literal('pull'), queue: QueueName },
  {
    ...CLOSED,
    description:
      'A worker of yours leases it from the queue. `timeoutMs` counts for nothing; each lease says how long it lasts.',
  },
);

export const NoopAction = Type.Object(
  {
    type: Type.Literal('noop'),
    durationMs: Type.Optional(Type.Integer({ minimum: 0, maximum: NOOP_DURATION_MS_MAX, default: 0 })),
    output: Type.Optional(Json),
  },
  { ...CLOSED, description: 'Does nothing and yields `output`: for joins, tests and load.' },
);

export const Action = discriminatedUnion([HttpAction, PullAction, NoopAction]);

export const Concurrency = Type.Object(
  {
    key: Type.String({
      minLength: 1,
      maxLength: CONCURRENCY_KEY_LENGTH_MAX,
      description: 'Timers of the tenant with one key wait for each other. That of a task may hold expressions.',
    }),
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: LANE_LIMIT_MAX,
        description: 'How many with this key may run at once; 1 when neither it nor `ratePerSecond` is there.',
      }),
    ),
    ratePerSecond: Type.Optional(
      Type.Number({
        minimum: RATE_MIN,
        maximum: LANE_RATE_MAX,
        description: 'How many with this key may begin in any second, rounded up.',
      }),
    ),
  },
  { ...CLOSED, description: 'What may run beside it. Those that are due first go first.' },
);

export const Retry = Type.Object(
  {
    maxRetries: Type.Optional(Type.Integer({ minimum: 0, maximum: RETRIES_MAX, default: 3 })),
    backoff: Type.Optional(
      Type.Object(
        {
          initialMs: Type.Optional(Type.Integer({ minimum: 0, maximum: BACKOFF_MAX_MS, default: 1000 })),
          factor: Type.Optional(Type.Number({ minimum: 1, maximum: BACKOFF_FACTOR_MAX, default: 2 })),
          maxMs: Type.Optional(Type.Integer({ minimum: 0, maximum: BACKOFF_MAX_MS, default: 60_000 })),
          jitter: Type.Optional(Type.Number({ minimum: 0, maximum: 1, default: 0.2 })),
        },
        CLOSED,
      ),
    ),
  },
  { ...CLOSED, description: 'Attempts beyond the first, and the wait between them.' },
);
export type Retry = Static<typeof Retry>;
