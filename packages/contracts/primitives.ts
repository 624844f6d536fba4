import { PRIORITY_MAX, TIMEOUT_MS_MAX, TIMEOUT_MS_MIN } from '@punctual/domain';
import { type TSchema, Type } from 'typebox';
import {
  CURSOR_LENGTH_MAX,
  EXTERNAL_ID_LENGTH_MAX,
  INSTANT_LENGTH_MAX,
  LABEL_KEY_LENGTH_MAX,
  LABEL_VALUE_LENGTH_MAX,
  LABELS_MAX,
  NAME_LENGTH_MAX,
  PAGE_ITEMS_DEFAULT,
  PAGE_ITEMS_MAX,
  TASK_KEY_LENGTH_MAX,
  TIME_ZONE_LENGTH_MAX,
} from './limits.ts';

/** Objects refuse fields that they do not know; the answer names the field. */
export const CLOSED = { additionalProperties: false } as const;

/** A UUID in either case; answers and database use lower case. */
export const ID_PATTERN = '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$';

export const Id = Type.String({
  format: 'uuid',
  pattern: ID_PATTERN,
  description: 'A UUID; new ones are UUIDv7.',
});

export const Instant = Type.String({
  format: 'date-time',
  minLength: 20,
  maxLength: INSTANT_LENGTH_MAX,
  description: 'RFC 3339 with `Z` or an offset. Answers are in UTC with milliseconds.',
});

export const Priority = Type.Integer({
  minimum: 0,
  maximum: PRIORITY_MAX,
  default: 0,
  description: 'Of due timers of the tenant that wait for a place the higher goes first.',
});

export const TimeZone = Type.String({
  minLength: 1,
  maxLength: TIME_ZONE_LENGTH_MAX,
  description: 'An IANA name such as `Europe/Paris`.',
});

export const Labels = Type.Record(
  Type.String({ minLength: 1, maxLength: LABEL_KEY_LENGTH_MAX }),
  Type.String({ maxLength: LABEL_VALUE_LENGTH_MAX }),
  {
    maxProperties: LABELS_MAX,
    propertyNames: { minLength: 1, maxLength: LABEL_KEY_LENGTH_MAX },
    description: 'Free key–value pairs to filter by.',
  },
);

export const ExternalId = Type.String({
  minLength: 1,
  maxLength: EXTERNAL_ID_LENGTH_MAX,
  description: "The client's own id, unique per tenant: a repeat answers 200 with what exists.",
});

export const Name = Type.String({ minLength: 1, maxLength: NAME_LENGTH_MAX });

export const TaskKey = Type.String({ minLength: 1, maxLength: TASK_KEY_LENGTH_MAX });

export const TimeoutMs = Type.Integer({
  minimum: TIMEOUT_MS_MIN,
  maximum: TIMEOUT_MS_MAX,
  description: 'Milliseconds that one attempt may take in all.',
});

/** Any JSON value. */
export const Json = Type.Unknown({ description: 'Any JSON.' });

/** Query fields of every list. */
export const Page = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: PAGE_ITEMS_MAX, default: PAGE_ITEMS_DEFAULT })),
  cursor: Type.Optional(
    Type.String({ minLength: 1, maxLength: CURSOR_LENGTH_MAX, description: 'The `nextCursor` of the page before.' }),
  ),
};

/** One page: `nextCursor` is null on the last. */
export function listOf<Item extends TSchema>(item: Item) {
  return Type.Object({ data: Type.Array(item), nextCursor: Type.Union([Type.String(), Type.Null()]) });
}

/** Path parameters `{id}`. */
export const IdParams = Type.Object({ id: Id }, CLOSED);

/** The body of actions that need none: absent, `null` or `{}`. */
export const NoBody = Type.Union([Type.Null(), Type.Object({}, CLOSED)]);
