import { LANE_LIMIT_MAX } from '@punctual/domain';
import { type Static, Type } from 'typebox';
import { LANE_RATE_MAX, RATE_MIN } from './limits.ts';
import { CLOSED } from './primitives.ts';

export const LIMIT_KINDS = ['origin', 'queue', 'tenant', 'workflow'] as const;
const LIMIT_NAME_LENGTH_MAX = 300;

const kind = Type.Enum([...LIMIT_KINDS]);
const limit = Type.Optional(
  Type.Integer({ minimum: 1, maximum: LANE_LIMIT_MAX, description: 'How many may run at once.' }),
);
const ratePerSecond = Type.Optional(
  Type.Number({
    minimum: RATE_MIN,
    maximum: LANE_RATE_MAX,
    description: 'How many may begin in any second, rounded up.',
  }),
);
const name = Type.Optional(
  Type.String({
    minLength: 1,
    maxLength: LIMIT_NAME_LENGTH_MAX,
    description: "A workflow's id, a queue's name, or an origin: scheme, host and port. Not for `tenant`.",
  }),
);

/** What bounds all timers of a workflow, queue, origin or tenant together. */
export const LimitRequest = Type.Object(
  { kind, name, limit, ratePerSecond },
  { ...CLOSED, description: 'At least one of `limit` and `ratePerSecond`. It takes the place of what was set before.' },
);
export type LimitRequest = Static<typeof LimitRequest>;

export const LimitQuery = Type.Object({ kind, name }, CLOSED);
export type LimitQuery = Static<typeof LimitQuery>;

export const Limit = Type.Object({ kind, name, limit, ratePerSecond });
export type Limit = Static<typeof Limit>;
