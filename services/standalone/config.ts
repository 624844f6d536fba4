import { ApiConfigSchema, readApiConfig } from '@punctual/api-service';
import { ConfigError, readConfig } from '@punctual/runtime';
import { readSchedulerConfig, SchedulerSettings } from '@punctual/scheduler-service';
import { readWorkerConfig, WorkerSettings } from '@punctual/worker-service';
import Type, { type Static } from 'typebox';

/** Settings of the standalone process beside those of the three services in it. */
export const StandaloneSettings = Type.Object({
  DATABASE_URL: Type.Optional(
    Type.String({ description: 'Your own Postgres 18; absent: an embedded one in PUNCTUAL_DATA_DIR.' }),
  ),
  PARTITION_COUNT: Type.Integer({
    minimum: 1,
    maximum: 1024,
    default: 64,
    description: 'Logical partitions, at the first start; `npm run migrate -- --partitions` makes them more.',
  }),
  PUNCTUAL_DATA_DIR: Type.String({
    minLength: 1,
    default: '.punctual',
    description: 'Folder of the embedded Postgres.',
  }),
});
export type StandaloneConfig = Static<typeof StandaloneSettings>;

// A trial on one's own machine: nobody else can reach it, so no keys are asked for, and its own servers may be called.
// The terminal belongs to the person who started it: only what needs attention is logged.
const DEFAULTS = { HOST: '127.0.0.1', LOG_LEVEL: 'warn' };
const LOOPBACK_DEFAULTS = { AUTH: 'off', EGRESS_ALLOW: '127.0.0.0/8,::1/128' };
const LOOPBACK = /^(127\.\d+\.\d+\.\d+|localhost|::1|\[::1\])$/;

type Environment = Readonly<Record<string, string | undefined>>;

/** The environment with the standalone's defaults filled in. */
export function completeEnvironment(environment: Environment): Record<string, string | undefined> {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  );
  const host = given.HOST ?? DEFAULTS.HOST;
  return { ...DEFAULTS, ...(LOOPBACK.test(host) ? LOOPBACK_DEFAULTS : {}), ...given };
}

/** Throws ConfigError, with every fault of it. */
export function readStandaloneConfig(environment: Environment): StandaloneConfig {
  return readConfig(StandaloneSettings, environment);
}

const READERS = {
  api: readApiConfig,
  scheduler: readSchedulerConfig,
  worker: readWorkerConfig,
  standalone: (environment: Environment) => {
    const completed = completeEnvironment(environment);
    const { DATABASE_URL: databaseUrl = 'postgres://' } = readStandaloneConfig(completed);
    return readServiceConfigs(completed, databaseUrl);
  },
};

/** One sentence for each fault that a service would find in this environment; none: it would start. */
export function findSettingFaults(service: keyof typeof READERS, environment: Environment): readonly string[] {
  try {
    READERS[service](environment);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
}

/** The names of all settings of all services. */
export function listSettings(): string[] {
  const schemas = [StandaloneSettings, ApiConfigSchema, SchedulerSettings, WorkerSettings];
  return [...new Set(schemas.flatMap(({ properties }) => Object.keys(properties)))];
}

/** The three services' settings for one process on one database. Throws ConfigError with the faults of all three. */
export function readServiceConfigs(environment: Environment, databaseUrl: string) {
  const completed = { ...environment, DATABASE_URL: databaseUrl };
  const faults = new Set<string>();
  const read = <Config>(readOne: (environment: Environment) => Config): Config | undefined => {
    try {
      return readOne(completed);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      for (const fault of error.faults) faults.add(fault);
      return undefined;
    }
  };
  const api = read(readApiConfig);
  const scheduler = read(readSchedulerConfig);
  const worker = read(readWorkerConfig);
  if (!api || !scheduler || !worker) throw new ConfigError([...faults]);
  return { api, scheduler, worker };
}
