// The text of docs/configuration.md, from the schemas by which the services read their settings.
import { ConfigError, describeSetting } from '../../packages/runtime/index.ts';
import { ApiConfigSchema, readApiConfig } from '../../services/api-service/config.ts';
import { SETTINGS } from '../../services/command/settings.ts';
import { readSchedulerConfig, SchedulerSettings } from '../../services/scheduler-service/config.ts';
import { completeEnvironment, StandaloneSettings } from '../../services/standalone/config.ts';
import { readWorkerConfig, WorkerSettings } from '../../services/worker-service/config.ts';
import { describeLimits } from './describe-limits.ts';
import { code, renderTable } from './markdown.ts';

/** A setting as its schema describes it. */
interface Setting {
  type?: string;
  anyOf?: { const?: unknown }[];
  default?: unknown;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  description?: string;
}

interface SettingSchema {
  properties: Record<string, Setting>;
  required?: string[];
}

type Service = 'standalone' | 'api' | 'scheduler' | 'worker';
type Environment = Record<string, string>;

const SCHEMAS: Record<Service, SettingSchema> = {
  standalone: StandaloneSettings as unknown as SettingSchema,
  api: ApiConfigSchema as unknown as SettingSchema,
  scheduler: SchedulerSettings as unknown as SettingSchema,
  worker: WorkerSettings as unknown as SettingSchema,
};
const SERVICES = Object.keys(SCHEMAS) as Service[];

/** Environments that break one relation each: what the service then says is the relation's text. */
const BROKEN_RELATIONS: readonly [
  service: Service,
  read: (environment: Environment) => unknown,
  broken: Environment,
][] = [
  ['api', readApiConfig, { AUTH: 'off', HOST: '0.0.0.0' }],
  ['api', readApiConfig, { ENCRYPTION_KEYS: 'k1:short' }],
  ['api', readApiConfig, { API_CREATE_QUEUE_MAX: '499' }],
  ['api', readApiConfig, { API_CONNECT_TIMEOUT_MS: '2000' }],
  ['api', readApiConfig, { API_INSERTS_MAX: '9' }],
  ['api', readApiConfig, { API_BATCH_BODY_BYTES_MAX: '1048575' }],
  ['api', readApiConfig, { API_BODIES_BYTES_MAX: '8388607' }],
  ['scheduler', readSchedulerConfig, { DATABASE_POOLER: 'transaction', REDIS_URL: '' }],
  ['scheduler', readSchedulerConfig, { SCHEDULER_LEASE_RENEW_MS: '1501' }],
  ['scheduler', readSchedulerConfig, { DEAD_LETTER_RETENTION_DAYS: '29' }],
  ['scheduler', readSchedulerConfig, { SCHEDULER_READ_INTERVAL_MS: '76' }],
  ['worker', readWorkerConfig, { ENCRYPTION_KEYS: 'k1:short' }],
  ['worker', readWorkerConfig, { WORKER_ATTEMPTS_MAX: '671' }],
  ['worker', readWorkerConfig, { WORKER_DNS_SERVERS: 'dns.example' }],
  ['worker', readWorkerConfig, { DATABASE_POOLER: 'transaction', REDIS_URL: '' }],
];

/** Variables that commands read without a schema: name, what is accepted, default, who reads it, meaning. */
const OTHER_VARIABLES: readonly (readonly [string, string, string, string, string])[] = [
  ['DATABASE_URL', 'text', 'required', '`npm run migrate`', 'The database to migrate.'],
  [
    'REDIS_URL',
    'text',
    '–',
    '`npm run migrate`',
    "When set, the queue needs no tables in Postgres, and BullMQ's are not made.",
  ],
  [
    'PARTITION_COUNT',
    'a whole number from 1 to 1024',
    '64',
    '`npm run migrate`',
    'Logical partitions. It counts at the very first migration of a database only; later `npm run migrate -- --partitions 128` makes them more.',
  ],
  ...SETTINGS.map(([name, accepts, byDefault, meaning]) => [name, accepts, byDefault, '`punctual`', meaning] as const),
  [
    'DATABASE_POOLER',
    'one of none, transaction',
    'none',
    '`npm run migrate -- --wait`',
    'What DATABASE_URL leads through; who migrates goes to Postgres itself.',
  ],
  [
    'DATABASE_URL',
    'text',
    'the database of the standalone that runs in PUNCTUAL_DATA_DIR',
    '`npm run ledger`',
    'The database to read.',
  ],
  ['PUNCTUAL_DATA_DIR', 'text', '.punctual', '`npm run ledger`', 'Where to look for a running standalone.'],
  [
    'DATABASE_URL',
    'text',
    'the database of the standalone that runs in PUNCTUAL_DATA_DIR',
    '`npm run reseal`',
    'The database whose secrets are put under the first key.',
  ],
  [
    'ENCRYPTION_KEYS',
    'text',
    'those kept in PUNCTUAL_DATA_DIR, unless DATABASE_URL is set',
    '`npm run reseal`',
    'As for api and worker.',
  ],
  [
    'PUNCTUAL_DATA_DIR',
    'text',
    '.punctual',
    '`npm run reseal`',
    'Where to look for a running standalone, and its keys.',
  ],
  [
    'ENCRYPTION_KEYS',
    'text',
    'kept in a file of the data folder',
    '`npm start` with the embedded Postgres, `npm run stack`',
    'When set, it takes the place of `encryption-keys` in the data folder, which is made at the first start. With `--ephemeral` keys are made for the one run.',
  ],
  ['DATABASE_URL', 'text', 'a local Postgres is started', '`npm run stack`', 'Postgres of the stack.'],
  [
    'REDIS_URL',
    'text',
    'a local Redis is started',
    '`npm run stack`',
    'Redis of the stack. Set but empty: no Redis, and the queue lives in Postgres.',
  ],
  [
    'TEST_DATABASE_URL',
    'text',
    'a local Postgres is started',
    '`npm test`',
    'A Postgres superuser: each test file clones a template database there and drops its clone.',
  ],
  [
    'TEST_REDIS_URL',
    'text',
    'REDIS_URL, else a local Redis is started',
    '`npm test`',
    'Redis of the tests. Each test has a key prefix of its own.',
  ],
];

/** Names that a service shares with others come first; each service's own follow. */
export function describeConfiguration(): string {
  const shared = listNames().filter((name) => listReaders(name).length > 1);
  return `${[
    '<!-- Made by scripts/describe-docs.ts from the code; edit the code, then run `npm run docs`. -->',
    '# Configuration',
    'Settings are environment variables, read once when a process starts. An empty variable counts as absent. Names that end in `_MS` are milliseconds, in `_BYTES_MAX` bytes, in `_DAYS` days. When a setting does not do, the process prints one sentence for each fault, all of them together, and exits with code 1.',
    renderTable(
      ['Set', 'Runs on'],
      [
        ['nothing (`npm start`)', 'an embedded Postgres 18 in `PUNCTUAL_DATA_DIR`, and BullMQ on that Postgres'],
        ['`DATABASE_URL`', 'your Postgres, and BullMQ on it'],
        ['`DATABASE_URL` and `REDIS_URL`', 'your Postgres, and BullMQ on your Redis'],
      ],
    ),
    '## Shared settings',
    'All processes of one install need the same `DATABASE_URL`, `REDIS_URL`, `REDIS_PREFIX` and `QUEUE_COUNT`. The api does not use the queue to store, read, change or cancel anything.',
    renderSettings(shared),
    ...(['api', 'scheduler', 'worker', 'standalone'] as const).flatMap((service) => describeService(service, shared)),
    '## Connections to Postgres',
    'Each process has a pool for its hot statements, of the size that its setting names, and a second one of half that size, at least two, for everything else. An api has two more connections for look-ups of keys and its health, a worker a third pool, as large as the first, for starts. So with the defaults an api opens up to 14 connections, a scheduler 6, a worker 15. Where the queue lives in Postgres, BullMQ has further ones in schedulers and workers.',
    '## Relations',
    'These are checked when a service starts. The text is what it prints.',
    renderTable(
      ['Service', 'Relation'],
      BROKEN_RELATIONS.map(([service, read, broken]) => [service, provoke(read, broken)]),
    ),
    'An entry of `EGRESS_ALLOW` or `EGRESS_DENY` that is no address range is refused at start too, by api and worker. `EGRESS_DENY` wins over `EGRESS_ALLOW`. Both must see the same lists: the api refuses a URL when it is stored, the worker when it connects.',
    '## Commands',
    renderTable(
      ['Name', 'Accepts', 'Default', 'Read by', 'Meaning'],
      OTHER_VARIABLES.map(([name, ...rest]) => [code(name), ...rest]),
    ),
    'The benchmark and the load tests take options, no variables: [loadtest/bench/README.md](../loadtest/bench/README.md), [loadtest/k6/README.md](../loadtest/k6/README.md).',
    '## Encryption keys',
    'Signing secrets, and the values of headers that carry secrets, are stored encrypted. `openssl rand -base64 32` makes a key; `ENCRYPTION_KEYS=k2027:…` sets it. What to do with them over the years: [runbooks/rotate-secrets.md](runbooks/rotate-secrets.md). A service that has none starts; then signing secrets can not be made (409 `encryption_key_missing`), and header values are stored as they come. Whoever loses the keys loses the secrets.',
    '## Limits that are no settings',
    describeLimits(),
  ].join('\n\n')}\n`;
}

/** Every name that a schema or a command knows. */
export function listSettingNames(): string[] {
  return [...new Set([...listNames(), ...OTHER_VARIABLES.map(([name]) => name)])];
}

function listNames(): string[] {
  return [...new Set(SERVICES.flatMap((service) => Object.keys(SCHEMAS[service].properties)))];
}

function listReaders(name: string): Service[] {
  return SERVICES.filter((service) => name in SCHEMAS[service].properties);
}

function describeService(service: Service, shared: readonly string[]): string[] {
  const own = Object.keys(SCHEMAS[service].properties).filter((name) => !shared.includes(name));
  const parts = [`## ${service}`];
  if (service === 'standalone') {
    parts.push(
      'The standalone reads the settings of all three services: one process, one environment. Scheduler and worker have no port of their own in it. While `HOST` is a loopback address, which it is unless set, some defaults differ:',
      renderTable(['Name', 'Default in the standalone'], listStandaloneDefaults()),
    );
  }
  if (own.length > 0) parts.push(renderSettings(own));
  return parts;
}

/** What the standalone fills in for an empty environment. */
function listStandaloneDefaults(): string[][] {
  return Object.entries(completeEnvironment({})).map(([name, value]) => [code(name), code(value ?? '')]);
}

/** One row for each name and each way in which its readers describe it. */
function renderSettings(names: readonly string[]): string {
  const rows = names.flatMap((name) => {
    const readersByText = Map.groupBy(listReaders(name), (service) => JSON.stringify(describeOne(service, name)));
    return [...readersByText].map(([text, readers]) => {
      const [accepts, byDefault, meaning] = JSON.parse(text) as string[];
      return [code(name), accepts!, byDefault!, readers.join(', '), meaning!];
    });
  });
  return renderTable(['Name', 'Accepts', 'Default', 'Service', 'Meaning'], rows);
}

function describeOne(service: Service, name: string): string[] {
  const schema = SCHEMAS[service];
  const setting = schema.properties[name]!;
  const isRequired = schema.required?.includes(name) === true && setting.default === undefined;
  return [
    describeAccepted(setting),
    isRequired ? 'required' : describeDefault(setting.default),
    setting.description ?? '',
  ];
}

function describeAccepted(setting: Setting): string {
  if (setting.type !== 'string') return describeSetting(setting);
  const { minLength, maxLength } = setting;
  return maxLength === undefined ? 'text' : `text of ${minLength ?? 0} to ${maxLength} characters`;
}

function describeDefault(value: unknown): string {
  if (value === undefined) return '–';
  return value === '' ? 'empty' : code(String(value));
}

/** What a service says to the environment that breaks a relation, and to nothing else. */
function provoke(read: (environment: Environment) => unknown, broken: Environment): string {
  try {
    read({ DATABASE_URL: 'postgres://localhost/punctual', ...broken });
  } catch (error) {
    if (error instanceof ConfigError && error.faults.length === 1) return error.faults[0]!;
    throw error;
  }
  throw new Error(`${JSON.stringify(broken)} breaks no relation any more.`);
}
