import { POOLERS } from '@punctual/database';
import { findQueueFaults } from '@punctual/queue';
import { QUEUE_SETTINGS, type RelationCheck, readConfig, TRACING_SETTINGS } from '@punctual/runtime';
import Type, { type Static } from 'typebox';
import { HAND_OVER_EARLY_MS } from './dispatcher.ts';

/** Every setting of the scheduler; `docs/configuration.md` is made from it. */
export const SchedulerSettings = Type.Object({
  PORT: Type.Integer({
    minimum: 0,
    maximum: 65_535,
    default: 8089,
    description: 'Port of health and metrics; 0 takes any.',
  }),
  HOST: Type.String({ default: '0.0.0.0', description: 'Address on which health and metrics are served.' }),
  DATABASE_URL: Type.String({
    minLength: 1,
    description: 'Postgres 18, as `postgres://user:password@host:port/name`.',
  }),
  DATABASE_POOLER: Type.Union(
    POOLERS.map((pooler) => Type.Literal(pooler)),
    {
      default: 'none',
      description:
        'What DATABASE_URL leads through. `transaction`: a pooler such as PgBouncer in that mode; then the queue must be on Redis, and migrations still go to Postgres itself.',
    },
  ),
  REDIS_URL: Type.Optional(
    Type.String({
      description:
        'Redis for the queue: `redis://[user:password@]host[:port][/db]`, `redis+sentinel://host[:port],…/name` or `redis+cluster://host[:port],…`; `rediss` for TLS. Absent: BullMQ on Postgres.',
    }),
  ),
  ...QUEUE_SETTINGS,
  ...TRACING_SETTINGS,
  LOG_LEVEL: Type.Union(
    (['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const).map((level) => Type.Literal(level)),
    { default: 'info', description: 'Least important lines that are logged.' },
  ),
  SCHEDULER_POOL_SIZE: Type.Integer({ minimum: 2, maximum: 50, default: 4, description: 'Connections to Postgres.' }),
  SCHEDULER_LEASE_TTL_MS: Type.Integer({
    minimum: 1_000,
    maximum: 60_000,
    default: 3_000,
    description: 'How long a partition stays with a scheduler that is not heard of.',
  }),
  SCHEDULER_LEASE_RENEW_MS: Type.Integer({
    minimum: 100,
    maximum: 20_000,
    default: 1_000,
    description: 'Between two renewals; at most half of SCHEDULER_LEASE_TTL_MS.',
  }),
  SCHEDULER_READ_INTERVAL_MS: Type.Integer({
    minimum: 1,
    maximum: 1_000,
    default: 30,
    description: 'Between two reads. A timer that is due sooner than this after its creation waits for the next read.',
  }),
  SCHEDULER_LOOK_AHEAD_MS: Type.Integer({
    minimum: 10,
    maximum: 60_000,
    default: 90,
    description: `How far before its due time a timer is read into memory. As long as SCHEDULER_READ_INTERVAL_MS, SCHEDULER_DISPATCH_WINDOW_MS and ${HAND_OVER_EARLY_MS} ms together, or fewer timers travel together.`,
  }),
  SCHEDULER_READ_ROWS_MAX: Type.Integer({
    minimum: 64,
    maximum: 50_000,
    default: 4_000,
    description: 'Timers that one read fetches at most, over all partitions.',
  }),
  SCHEDULER_SWEEP_INTERVAL_MS: Type.Integer({
    minimum: 100,
    maximum: 60_000,
    default: 2_000,
    description: 'Between two looks at everything overdue, for hints that got lost.',
  }),
  SCHEDULER_REDISPATCH_AFTER_MS: Type.Integer({
    minimum: 1_000,
    maximum: 600_000,
    default: 5_000,
    description:
      'How long a dispatched timer that was not started is left alone; it is dispatched again by twice that.',
  }),
  SCHEDULER_DISPATCH_WINDOW_MS: Type.Integer({
    minimum: 0,
    maximum: 500,
    default: 40,
    description:
      'A timer goes to the queue shortly before it is due, and takes along what comes due within this time after it.',
  }),
  SCHEDULER_QUEUE_CHUNKS_MAX: Type.Integer({
    minimum: 1,
    maximum: 100_000,
    default: 256,
    description: 'Reading pauses while this many chunks (of up to 64 timers) wait in the queue.',
  }),
  RETENTION_DAYS: Type.Integer({
    minimum: 1,
    maximum: 3_650,
    default: 30,
    description:
      'Days that runs, timers, attempts and bulk operations are kept after they ended, where neither their workflow nor their tenant says otherwise; and the audit log.',
  }),
  DEAD_LETTER_RETENTION_DAYS: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 3_650,
      description:
        'The same for dead letters, and the runs that they belong to. At least RETENTION_DAYS, which it is when absent.',
    }),
  ),
  RETENTION_INTERVAL_MS: Type.Integer({
    minimum: 100,
    maximum: 86_400_000,
    default: 600_000,
    description: 'Between two looks for what is past its retention.',
  }),
  SCHEDULER_REVIEW_INTERVAL_MS: Type.Integer({
    minimum: 100,
    maximum: 86_400_000,
    default: 60_000,
    description: 'Between the beginnings of two reviews, which mend runs that are under way with nothing live.',
  }),
  SCHEDULER_FIGURES_INTERVAL_MS: Type.Integer({
    minimum: 100,
    maximum: 86_400_000,
    default: 60_000,
    description:
      'Between two looks at the sizes of tables and the totals of tenants, for their metrics. One of all schedulers looks.',
  }),
});
export type SchedulerConfig = Static<typeof SchedulerSettings>;

const checkRelations: RelationCheck<SchedulerConfig> = (config) => {
  const faults = findQueueFaults(config);
  if (config.SCHEDULER_LEASE_RENEW_MS * 2 > config.SCHEDULER_LEASE_TTL_MS) {
    faults.push(
      'SCHEDULER_LEASE_RENEW_MS must be at most half of SCHEDULER_LEASE_TTL_MS, or leases run out between renewals.',
    );
  }
  if ((config.DEAD_LETTER_RETENTION_DAYS ?? config.RETENTION_DAYS) < config.RETENTION_DAYS) {
    faults.push('DEAD_LETTER_RETENTION_DAYS must be at least RETENTION_DAYS: people need what failed for longer.');
  }
  if (config.SCHEDULER_READ_INTERVAL_MS * 2 > config.SCHEDULER_LOOK_AHEAD_MS) {
    faults.push(
      'SCHEDULER_LOOK_AHEAD_MS must be at least twice SCHEDULER_READ_INTERVAL_MS, or timers are read too late.',
    );
  }
  return faults;
};

/** Throws ConfigError, with every fault, when the environment does not do. */
export function readSchedulerConfig(environment: Readonly<Record<string, string | undefined>>): SchedulerConfig {
  return readConfig(SchedulerSettings, environment, checkRelations);
}
