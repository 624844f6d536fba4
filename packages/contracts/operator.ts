import { ACTORS, AUDIT_ACTIONS } from '@punctual/domain';
import { type Static, Type } from 'typebox';
import { LIVE_TIMERS_LIMIT_MAX, REQUESTS_PER_SECOND_LIMIT_MAX } from './limits.ts';
import { CLOSED, Id, Instant, Name } from './primitives.ts';
import { RetentionDays } from './workflow.ts';

const API_KEY_SCOPES = ['read', 'write', 'admin'] as const;

/** `whsec_` and base64 of 24 to 64 bytes, as Standard Webhooks wants them. */
const SIGNING_SECRET_LENGTH_MAX = 'whsec_'.length + Math.ceil(64 / 3) * 4;

const SigningSecretText = Type.String({
  minLength: 1,
  maxLength: SIGNING_SECRET_LENGTH_MAX,
  pattern: '^(generate|whsec_[A-Za-z0-9+/]+={0,2})$',
  description: '`whsec_` and 24 to 64 bytes in base64, or `generate`. Requests to targets are signed with it.',
});

const limitFields = {
  requestsPerSecondMax: Type.Unsafe<number | null>({
    type: ['integer', 'null'],
    minimum: 1,
    maximum: REQUESTS_PER_SECOND_LIMIT_MAX,
    description:
      'Requests per second, in each api process; a batch counts its items. Null: as API_REQUESTS_PER_SECOND_MAX says.',
  }),
  liveTimersMax: Type.Unsafe<number | null>({
    type: ['integer', 'null'],
    minimum: 0,
    maximum: LIVE_TIMERS_LIMIT_MAX,
    description: 'Timers that may be live at once. Null: as API_LIVE_TIMERS_MAX says.',
  }),
  retentionDays: {
    ...RetentionDays,
    description:
      'Days for which runs, timers, attempts and bulk operations are kept after they ended, unless their workflow says otherwise. Null: as RETENTION_DAYS says.',
  },
};

export const TenantRequest = Type.Object(
  {
    name: Name,
    requestsPerSecondMax: Type.Optional(limitFields.requestsPerSecondMax),
    liveTimersMax: Type.Optional(limitFields.liveTimersMax),
    retentionDays: Type.Optional(limitFields.retentionDays),
    signingSecret: Type.Optional(SigningSecretText),
  },
  CLOSED,
);
export type TenantRequest = Static<typeof TenantRequest>;

export const TenantChange = Type.Object(
  {
    name: Type.Optional(Name),
    requestsPerSecondMax: Type.Optional(limitFields.requestsPerSecondMax),
    liveTimersMax: Type.Optional(limitFields.liveTimersMax),
    retentionDays: Type.Optional(limitFields.retentionDays),
  },
  { ...CLOSED, minProperties: 1 },
);
export type TenantChange = Static<typeof TenantChange>;

const tenantFields = {
  id: Id,
  name: Type.String(),
  isSigned: Type.Boolean({ description: 'Whether requests to targets are signed.' }),
  ...limitFields,
  createdAt: Instant,
};

export const Tenant = Type.Object(tenantFields);
export type Tenant = Static<typeof Tenant>;

export const CreatedTenant = Type.Object({
  ...tenantFields,
  signingSecret: Type.Optional(Type.String({ description: 'Shown in this answer only.' })),
});
export type CreatedTenant = Static<typeof CreatedTenant>;

/** A day: time enough to give the new secret to whoever verifies. */
export const OVERLAP_SECONDS_DEFAULT = 86_400;
/** 30 days: whoever needs longer to take over a new secret has forgotten it. */
const OVERLAP_SECONDS_MAX = 2_592_000;

export const SigningSecretRequest = Type.Object(
  {
    overlapSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: OVERLAP_SECONDS_MAX,
        default: OVERLAP_SECONDS_DEFAULT,
        description: 'How long the secrets before it go on signing, beside it.',
      }),
    ),
    signingSecret: Type.Optional({ ...SigningSecretText, default: 'generate' }),
  },
  CLOSED,
);
export type SigningSecretRequest = Static<typeof SigningSecretRequest>;

export const SigningSecretParams = Type.Object({ id: Id, secretId: Id }, CLOSED);

const signingSecretFields = {
  id: Id,
  createdAt: Instant,
  expiresAt: Type.Optional({ ...Instant, description: 'Until when it signs; absent: until it is replaced.' }),
};

export const SigningSecret = Type.Object(signingSecretFields);
export type SigningSecret = Static<typeof SigningSecret>;

export const CreatedSigningSecret = Type.Object({
  ...signingSecretFields,
  signingSecret: Type.Optional(Type.String({ description: 'Shown in this answer only.' })),
});
export type CreatedSigningSecret = Static<typeof CreatedSigningSecret>;

export const ApiKeyRequest = Type.Object(
  {
    name: Name,
    scope: Type.Enum([...API_KEY_SCOPES]),
    tenantId: Type.Optional({ ...Id, description: "The tenant whose key it is; without, the caller's own." }),
  },
  CLOSED,
);
export type ApiKeyRequest = Static<typeof ApiKeyRequest>;

const apiKeyFields = {
  id: Id,
  tenantId: Id,
  name: Type.String(),
  scope: Type.Enum([...API_KEY_SCOPES]),
  prefix: Type.String({ description: 'The first characters of the key, to tell keys apart.' }),
  createdAt: Instant,
  revokedAt: Type.Optional(Instant),
};

export const ApiKey = Type.Object(apiKeyFields);
export type ApiKey = Static<typeof ApiKey>;

export const CreatedApiKey = Type.Object({
  ...apiKeyFields,
  key: Type.Optional(Type.String({ description: 'Shown in this answer only.' })),
});
export type CreatedApiKey = Static<typeof CreatedApiKey>;

/** Fields of whoever runs: our own processes, and the workers of customers. */
const SERVICE_STATUS = Type.Enum(['running', 'draining', 'drained'], {
  description:
    '`draining`: asked to take no more, and not yet done with what it has; `drained`: it has nothing in hand.',
});

const instanceFields = {
  id: Id,
  host: Type.String(),
  pid: Type.Integer(),
  version: Type.String(),
  status: SERVICE_STATUS,
  drainRequestedAt: Type.Optional(Instant),
  startedAt: Instant,
  heartbeatAt: Instant,
  details: Type.Record(Type.String(), Type.Unknown()),
};

export const WorkerInstance = Type.Object({
  kind: Type.Literal('service'),
  ...instanceFields,
  details: Type.Record(Type.String(), Type.Unknown(), {
    description:
      '`attemptsInFlight` of at most `attemptsMax`; in `oldestAttempts` up to 10 that it has had in hand for more than a second, each with `timerId`, `tenantId` and `startedAt`; `circuitsOpen`, how many endpoints it takes to be dead, and in `openCircuits` up to 20 of them, each with its `origin` and `tenantId`, the `failures` in a row, and `since` when and `until` when nothing is sent there.',
  }),
});

export const PullWorkerInfo = Type.Object({
  kind: Type.Literal('pull'),
  id: Id,
  tenantId: Id,
  queue: Type.String(),
  workerId: Type.String({ description: 'What it calls itself.' }),
  tasksHeld: Type.Integer({
    description: 'Tasks of the queue that it has leased, among the first 10,000 that are due there.',
  }),
  leaseEndsAt: Type.Optional({ ...Instant, description: 'When the first of their leases ends.' }),
  startedAt: { ...Instant, description: 'When it was first seen.' },
  lastSeenAt: { ...Instant, description: 'When it last asked for tasks or kept one, within a few seconds.' },
});
export type PullWorkerInfo = Static<typeof PullWorkerInfo>;

export const WORKER_KINDS = ['service', 'pull'] as const;

export const SchedulerInstance = Type.Object({
  ...instanceFields,
  partitions: Type.Array(Type.Integer(), { description: 'Partitions whose lease it holds.' }),
  nextWakeAt: Type.Optional({ ...Instant, description: 'When the next of their timers comes due.' }),
  dueWithinMinute: Type.Integer({
    description:
      'Of their timers, those that come due within the next minute: 1,000 of a partition are counted at most.',
  }),
});

/** What drains an instance. */
export const DrainRequest = Type.Union([
  Type.Null(),
  Type.Object(
    {
      force: Type.Optional(
        Type.Boolean({
          default: false,
          description: 'Drains the last one as well: then nothing is done until another takes work.',
        }),
      ),
    },
    CLOSED,
  ),
]);

/** What an instance was asked for; the lists tell how far it is. */
export const SteeredInstance = Type.Object({ id: Id, status: Type.Enum(['running', 'draining']) });

export const Rebalance = Type.Object({
  partitionCount: Type.Integer({ description: 'All partitions there are.' }),
  releasedPartitions: Type.Array(Type.Integer(), {
    description:
      'Those that were held by schedulers above their share, or by ones that are gone. Others take them within a second or two.',
  }),
});

export const QueueInfo = Type.Object({
  name: Type.String(),
  backend: Type.String({
    description: 'Where the queue lives: `redis` or `postgres`; `tasks`: a queue of pull workers.',
  }),
  waiting: Type.Integer({ description: 'Chunks of timers that wait for a worker; due tasks that nobody has leased.' }),
  active: Type.Integer({ description: 'Chunks that workers are starting; tasks that are leased.' }),
  tenantId: Type.Optional({ ...Id, description: 'Of a queue of pull workers: whose it is.' }),
  nextDueAt: Type.Optional({ ...Instant, description: 'Of a queue of pull workers: when its next task comes due.' }),
  isCapped: Type.Optional(
    Type.Boolean({ description: 'Of a queue of pull workers: there are more than 10,000, and no more were counted.' }),
  ),
});
export type QueueInfo = Static<typeof QueueInfo>;

export const AuditEntry = Type.Object({
  id: Id,
  createdAt: { ...Instant, description: "When it was written, by the database's clock, shortly before its commit." },
  tenantId: Id,
  actor: Type.Enum([...ACTORS], {
    description:
      '`key`: an API key; `nobody`: none was asked for; `reviewer`: the schedulers, which mend runs that got stuck.',
  }),
  keyId: Type.Optional(Id),
  action: Type.Enum([...AUDIT_ACTIONS]),
  targetIds: Type.Array(Id, { description: 'What was changed.' }),
  requestIds: Type.Array(Type.String(), {
    description:
      'One for all targets, or one for each, in their order. Each is made by the server; an `x-request-id` that the client sent stands behind it and a `~`.',
  }),
  details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
});
export type AuditEntry = Static<typeof AuditEntry>;

const figures = {
  created: Type.Integer(),
  scheduled: Type.Integer(),
  running: Type.Integer(),
  paused: Type.Integer(),
  succeeded: Type.Integer(),
  dead: Type.Integer(),
  cancelled: Type.Integer(),
  skipped: Type.Integer(),
  dismissed: Type.Integer({ description: 'Of `dead`, those that somebody dismissed.' }),
  deadLetters: Type.Integer({ description: 'Those of `dead` that nobody dismissed.' }),
};

export const Ledger = Type.Object({
  readAt: Instant,
  isBalanced: Type.Boolean({ description: 'Whether every timer ever created is live or ended in exactly one way.' }),
  total: Type.Object(figures),
  lines: Type.Array(Type.Object({ tenantId: Id, partition: Type.Integer(), ...figures })),
  lineCount: Type.Integer(),
  differences: Type.Array(
    Type.Object({
      tenantId: Id,
      partition: Type.Integer(),
      of: Type.Enum(['timers', 'deadLetters']),
      booked: Type.Integer(),
      found: Type.Integer(),
      detail: Type.String(),
    }),
  ),
  differenceCount: Type.Integer(),
  overdueAfterMs: Type.Integer(),
  overdueCount: Type.Integer(),
  overdueTimers: Type.Array(
    Type.Object({
      id: Id,
      tenantId: Id,
      partition: Type.Integer(),
      status: Type.String(),
      wakeAt: Instant,
    }),
  ),
  unownedPartitions: Type.Array(Type.Integer()),
  review: Type.Object(
    {
      endedAt: Type.Unsafe<string | null>({ ...Instant, type: ['string', 'null'] }),
      reviewed: Type.Integer({ description: 'Running runs that the last review looked at.' }),
      unmendable: Type.Integer({
        description: 'Of these, stuck ones that it could not mend: they are among `stuckRuns`.',
      }),
      mended: Type.Integer({ description: 'Stuck runs that all reviews have mended.' }),
      tasksLost: Type.Integer({ description: 'Their tasks whose timer was gone without a trace.' }),
    },
    { description: 'What the schedulers, which look at all running runs again and again, have found.' },
  ),
  stuckRunCount: Type.Integer(),
  stuckRuns: Type.Array(Type.Object({ id: Id, tenantId: Id, workflowId: Id, createdAt: Instant })),
});
