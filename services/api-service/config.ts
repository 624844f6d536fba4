import { isIP } from 'node:net';
import { LIVE_TIMERS_LIMIT_MAX, REQUESTS_PER_SECOND_LIMIT_MAX } from '@punctual/contracts';
import { POOLERS } from '@punctual/database';
import { createEgressPolicy, findEncryptionKeyFaults } from '@punctual/domain';
import { QUEUE_SETTINGS, readConfig, splitList, TRACING_SETTINGS } from '@punctual/runtime';
import { type Static, Type } from 'typebox';

/** Within this time a client gets an answer, be it that Postgres is away (ms). */
const ANSWER_TIME_MAX_MS = 5_000;

/** Every setting of the api: name, range, default and meaning. `docs/configuration.md` is made from it. */
export const ApiConfigSchema = Type.Object({
  PORT: Type.Integer({ minimum: 0, maximum: 65_535, default: 8088, description: 'Port; 0 takes a free one.' }),
  HOST: Type.String({ default: '0.0.0.0', description: 'Address to listen at.' }),
  DATABASE_URL: Type.String({ minLength: 1, description: 'Connection string of Postgres.' }),
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
      minLength: 1,
      description: 'Redis of the queue, to show its state only; absent: the queue is in Postgres.',
    }),
  ),
  ...QUEUE_SETTINGS,
  AUTH: Type.Union([Type.Literal('on'), Type.Literal('off')], {
    default: 'on',
    description: '`off` lets everybody in as the default tenant; only when HOST is a loopback address.',
  }),
  BOOTSTRAP_API_KEY: Type.Optional(
    Type.String({
      minLength: 16,
      maxLength: 255,
      pattern: '^[\\x21-\\x7e]+$',
      description: 'A key with scope `admin` of the default tenant, accepted from the first start.',
    }),
  ),
  ENCRYPTION_KEYS: Type.Optional(
    Type.String({
      description:
        'Keys of stored secrets, `id:` and 32 bytes in base64 each, with commas or line breaks between: the first encrypts, all decrypt. The same for every api and worker.',
    }),
  ),
  EGRESS_ALLOW: Type.String({
    default: '',
    description: 'CIDRs that actions may call although denied by default, with commas.',
  }),
  EGRESS_DENY: Type.String({ default: '', description: 'CIDRs that actions may never call, with commas.' }),
  ...TRACING_SETTINGS,
  LOG_LEVEL: Type.Union(
    (['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const).map((level) => Type.Literal(level)),
    { default: 'info', description: 'Least important messages to log.' },
  ),
  API_POOL_SIZE_MAX: Type.Integer({
    minimum: 2,
    maximum: 200,
    default: 8,
    description: 'Connections for creating timers; other queries get half as many more.',
  }),
  API_CONNECT_TIMEOUT_MS: Type.Integer({
    minimum: 100,
    maximum: 4_000,
    default: 1_500,
    description: 'Longest wait for a connection to Postgres (ms).',
  }),
  API_QUERY_TIMEOUT_MS: Type.Integer({
    minimum: 100,
    maximum: 4_000,
    default: 3_000,
    description: 'Longest wait for an answer of Postgres (ms).',
  }),
  API_ANSWER_TIMEOUT_MS: Type.Integer({
    minimum: 100,
    maximum: ANSWER_TIME_MAX_MS,
    default: 4_800,
    description:
      'Longest time from the arrival of a request to its answer, whatever it has to wait for (ms); then it is answered 503 `overloaded`, and may be done all the same.',
  }),
  API_BODY_BYTES_MAX: Type.Integer({
    minimum: 1_024,
    maximum: 67_108_864,
    default: 1_048_576,
    description: 'Largest request body (bytes).',
  }),
  API_BATCH_BODY_BYTES_MAX: Type.Integer({
    minimum: 1_024,
    maximum: 67_108_864,
    default: 8_388_608,
    description: 'Largest body of a batch (bytes).',
  }),
  API_BODIES_BYTES_MAX: Type.Integer({
    minimum: 1_024,
    maximum: 1_073_741_824,
    default: 33_554_432,
    description:
      'What the bodies of all requests under way may take together, one tenant half of it, and small ones a quarter (bytes); more are answered 503. At least twice API_BATCH_BODY_BYTES_MAX. Parsed, they take several times as much memory.',
  }),
  API_REQUEST_TIMEOUT_MS: Type.Integer({
    minimum: 1_000,
    maximum: 300_000,
    default: 30_000,
    description: 'Time in which a request must have arrived whole (ms).',
  }),
  // Load balancers keep idle connections for 60 s as a rule; the server must outlast them, or requests meet a closed one.
  API_KEEP_ALIVE_TIMEOUT_MS: Type.Integer({
    minimum: 1_000,
    maximum: 600_000,
    default: 72_000,
    description: 'How long an idle connection is kept (ms); longer than the load balancer keeps it.',
  }),
  API_DRAIN_DELAY_MS: Type.Integer({
    minimum: 0,
    maximum: 60_000,
    default: 0,
    description: 'Wait between becoming not ready and closing (ms), for load balancers to notice.',
  }),
  API_BATCH_WINDOW_MS: Type.Number({
    minimum: 0,
    maximum: 100,
    default: 10,
    description:
      'How long the first of several concurrent writes waits for others at most, to share a transaction (ms): half as long when no more come; who writes one after the other does not wait.',
  }),
  API_BATCH_TIMERS_MAX: Type.Integer({
    minimum: 1,
    maximum: 1_000,
    default: 500,
    description: 'New timers that one insert takes.',
  }),
  API_INSERTS_MAX: Type.Integer({
    minimum: 1,
    maximum: 100,
    default: 1,
    description: 'Inserts of new timers under way at once.',
  }),
  API_CREATE_QUEUE_MAX: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 10_000,
    description: 'New timers that may wait for an insert; more are answered 503.',
  }),
  API_REQUESTS_PER_SECOND_MAX: Type.Integer({
    minimum: 0,
    maximum: REQUESTS_PER_SECOND_LIMIT_MAX,
    default: 0,
    description:
      'Requests per second of each tenant that has no limit of its own, in each api process; a batch counts its items, and what a filter finds or a run reaches is counted afterwards. 0: any number.',
  }),
  API_LIVE_TIMERS_MAX: Type.Integer({
    minimum: 0,
    maximum: LIVE_TIMERS_LIMIT_MAX,
    default: 0,
    description: 'Live timers of each tenant that has no limit of its own. 0: any number.',
  }),
  API_LEASE_WAITS_MAX: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 10_000,
    description: 'Requests that may wait for tasks of pull queues at once; more are answered 503.',
  }),
  API_LEASE_WAITS_PER_TENANT_MAX: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    default: 2_000,
    description: 'Of these, those of one tenant; more are answered 429.',
  }),
  MAX_WAIT_YEARS: Type.Integer({
    minimum: 1,
    maximum: 100,
    default: 10,
    description: 'Longest wait that a timer may ask for (years).',
  }),
});
export type ApiConfig = Static<typeof ApiConfigSchema>;

/** Reads the settings from an environment. Throws ConfigError with every fault. */
export function readApiConfig(environment: Readonly<Record<string, string | undefined>>): ApiConfig {
  return readConfig(ApiConfigSchema, environment, findContradictions);
}

function findContradictions(config: ApiConfig): string[] {
  const faults: string[] = [];
  if (config.AUTH === 'off' && !isLoopback(config.HOST)) {
    faults.push(`AUTH=off lets everybody in, so HOST must be a loopback address, not ${config.HOST}.`);
  }
  if (config.API_CREATE_QUEUE_MAX < config.API_BATCH_TIMERS_MAX) {
    faults.push('API_CREATE_QUEUE_MAX must not be less than API_BATCH_TIMERS_MAX.');
  }
  if (config.API_CONNECT_TIMEOUT_MS + config.API_QUERY_TIMEOUT_MS >= ANSWER_TIME_MAX_MS) {
    faults.push(`API_CONNECT_TIMEOUT_MS and API_QUERY_TIMEOUT_MS together must be less than ${ANSWER_TIME_MAX_MS}.`);
  }
  if (config.API_INSERTS_MAX > config.API_POOL_SIZE_MAX) {
    faults.push('API_INSERTS_MAX must not be more than API_POOL_SIZE_MAX.');
  }
  if (config.API_BATCH_BODY_BYTES_MAX < config.API_BODY_BYTES_MAX) {
    faults.push('API_BATCH_BODY_BYTES_MAX must not be less than API_BODY_BYTES_MAX.');
  }
  if (config.API_BODIES_BYTES_MAX < 2 * config.API_BATCH_BODY_BYTES_MAX) {
    faults.push('API_BODIES_BYTES_MAX must be at least twice API_BATCH_BODY_BYTES_MAX.');
  }
  faults.push(...findEncryptionKeyFaults(config.ENCRYPTION_KEYS));
  try {
    createEgressPolicy(readEgressRanges(config));
  } catch (error) {
    faults.push(error instanceof Error ? error.message : String(error));
  }
  return faults;
}

/** The settings' lists of address ranges, as the egress policy takes them. */
export function readEgressRanges(config: Pick<ApiConfig, 'EGRESS_ALLOW' | 'EGRESS_DENY'>) {
  return { allow: splitList(config.EGRESS_ALLOW), deny: splitList(config.EGRESS_DENY) };
}

/** Whether nobody but this host can reach the address. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  if (bare === 'localhost' || bare === '::1') return true;
  return isIP(bare) === 4 && bare.startsWith('127.');
}
