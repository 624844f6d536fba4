import { Resolver } from 'node:dns';
import { POOLERS } from '@punctual/database';
import { findEncryptionKeyFaults } from '@punctual/domain';
import { findQueueFaults, TIMERS_PER_CHUNK_MAX } from '@punctual/queue';
import { QUEUE_SETTINGS, type RelationCheck, readConfig, splitList, TRACING_SETTINGS } from '@punctual/runtime';
import Type, { type Static } from 'typebox';

/** Every setting of the worker; `docs/configuration.md` is made from it. */
export const WorkerSettings = Type.Object({
  PORT: Type.Integer({
    minimum: 0,
    maximum: 65_535,
    default: 8090,
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
  ENCRYPTION_KEYS: Type.Optional(
    Type.String({
      description:
        'Keys of stored secrets, `id:` and 32 bytes in base64 each, with commas or line breaks between: the first encrypts, all decrypt. The same for every api and worker.',
    }),
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
  EGRESS_ALLOW: Type.String({
    default: '',
    description:
      'CIDRs, separated by commas, that may be called although they are private, loopback, link-local or reserved.',
  }),
  EGRESS_DENY: Type.String({ default: '', description: 'CIDRs, separated by commas, that may never be called.' }),
  WORKER_DNS_SERVERS: Type.String({
    default: '',
    description:
      "DNS servers, separated by commas, as `address` or `address:port`, that alone are asked for the addresses of endpoints. Absent: the operating system's, and for names that these do not know its hosts file and whatever else it looks at.",
  }),
  WORKER_POOL_SIZE: Type.Integer({
    minimum: 2,
    maximum: 50,
    default: 6,
    description: 'Connections to Postgres, for starts and for outcomes each.',
  }),
  WORKER_CHUNKS_AT_ONCE: Type.Integer({
    minimum: 1,
    maximum: 64,
    default: 16,
    description:
      'Chunks in hand at once, from the queue to the start of their last timer; some wait for it up to 55 ms.',
  }),
  // A third must hold a chunk.
  WORKER_ATTEMPTS_MAX: Type.Integer({
    minimum: 3 * TIMERS_PER_CHUNK_MAX,
    maximum: 20_000,
    default: 1_536,
    description:
      'Attempts under way at once, their outcomes being written included: two thirds at most from the queue, and two thirds at most tasks that outcomes unlock.',
  }),
  WORKER_ATTEMPTS_PER_ORIGIN: Type.Integer({
    minimum: 1,
    maximum: 20_000,
    default: 256,
    description:
      'Requests under way at once to one origin (scheme, host and port); half as many more may wait in memory, and others as long as it takes them 100 ms.',
  }),
  WORKER_CIRCUIT_FAILURES: Type.Integer({
    minimum: 0,
    maximum: 10_000,
    default: 20,
    description:
      "Attempts in a row without an answer after which a tenant's timers for an origin wait until it answers again, using up no attempts; 0: never. A few timers should be able to use up theirs.",
  }),
  WORKER_CIRCUIT_HOLD_MAX_MS: Type.Integer({
    minimum: 0,
    maximum: 86_400_000,
    default: 3_600_000,
    description:
      'How long after its due time a timer may be made to wait so; then its attempts are made whether the origin answers or not.',
  }),
  WORKER_LEASE_MARGIN_MS: Type.Integer({
    minimum: 1_000,
    maximum: 600_000,
    default: 15_000,
    description: "How long after an attempt's time-out the attempt counts as lost and is begun again.",
  }),
  WORKER_OUTCOME_WINDOW_MS: Type.Integer({
    minimum: 0,
    maximum: 1_000,
    default: 20,
    description: 'Outcomes within it are written together (ms); within half of it when no more come.',
  }),
});
export type WorkerConfig = Static<typeof WorkerSettings>;

/**
 * Of so many attempts at once, how many the queue may bring, and how many may be tasks taken over from the outcomes that
 * unlocked them: whichever has more to do, a third is left to the other.
 */
export const countPlacesOfOneSource = (attemptsMax: number): number => Math.floor((attemptsMax * 2) / 3);
/** Attempts that may wait in memory for room at one origin, as a share of those that may be under way there. */
export const WAITING_SHARE = 0.5;
/** DNS servers are asked one after the other when they do not answer; attempts do not last for more of them. */
const DNS_SERVERS_MAX = 3;

const checkRelations: RelationCheck<WorkerConfig> = (config) => {
  const faults = [...findQueueFaults(config), ...findEncryptionKeyFaults(config.ENCRYPTION_KEYS)];
  const heldByOneOrigin = Math.ceil(config.WORKER_ATTEMPTS_PER_ORIGIN * (1 + WAITING_SHARE));
  const least = Math.ceil(((heldByOneOrigin + TIMERS_PER_CHUNK_MAX) * 3) / 2);
  if (config.WORKER_ATTEMPTS_MAX < least) {
    faults.push(
      `WORKER_ATTEMPTS_MAX must be at least ${least}: two thirds of it must hold one and a half times WORKER_ATTEMPTS_PER_ORIGIN, as a slow origin can, and a chunk of ${TIMERS_PER_CHUNK_MAX} for all others.`,
    );
  }
  const dnsServers = splitList(config.WORKER_DNS_SERVERS);
  if (dnsServers.length > DNS_SERVERS_MAX || !dnsServers.every(isDnsServer)) {
    faults.push(
      `WORKER_DNS_SERVERS must name at most ${DNS_SERVERS_MAX} addresses, each with or without a port, as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353.`,
    );
  }
  return faults;
};

function isDnsServer(text: string): boolean {
  try {
    new Resolver().setServers([text]);
    return true;
  } catch {
    return false;
  }
}

/** Throws ConfigError, with every fault, when the environment does not do. */
export function readWorkerConfig(environment: Readonly<Record<string, string | undefined>>): WorkerConfig {
  return readConfig(WorkerSettings, environment, checkRelations);
}
