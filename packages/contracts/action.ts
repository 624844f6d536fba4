import {
  ACTION_HEADERS_MAX,
  ACTION_METHODS,
  BACKOFF_MAX_MS,
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
  NOOP_DURATION_MS_MAX,
  QUEUE_NAME_LENGTH_MAX,
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
