import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findFreePort, type GuardedProcess, listNodeEnvironment, startGuardedProcess } from '@punctual/local-servers';
import { createEmptyDatabase, readTestServers, TEST_KEYS, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createId } from '../../packages/domain/index.ts';
import { find, ofKind, PRODUCTION } from './overlays.ts';
import { podOf } from './render.ts';

const ROOT = join(import.meta.dirname, '../..');
/** What the image starts with: `node` and a program in its folder, which is this repository. */
const [, ENTRY] = JSON.parse(/^ENTRYPOINT (\[.*\])$/m.exec(readFileSync(join(ROOT, 'Dockerfile'), 'utf8'))![1]!) as [
  string,
  string,
];
const SERVICES = ['api', 'scheduler', 'worker'] as const;
const KEY = `key-${createId()}`;
/** Of the migration and of a service's start, on a machine that does a lot beside (ms). */
const START_MAX_MS = 60_000;
/** Five processes, some after others (ms). */
const TEST_MAX_MS = 180_000;

interface Container {
  args: string[];
  envFrom?: { configMapRef: { name: string } }[];
  env?: { name: string; valueFrom: { secretKeyRef: { name: string; key: string } } }[];
  [field: string]: unknown;
}

interface StartedContainer {
  process: GuardedProcess;
  lines: string[];
  url: string;
}

let database: { url: string; drop(): Promise<void> };
const started: StartedContainer[] = [];
beforeAll(async () => {
  database = await createEmptyDatabase();
});
afterAll(async () => {
  await Promise.all(started.map(({ process }) => process.stop()));
  await database.drop();
});

/**
 * Runs a container's command as a process, with the environment that the manifest gives it. Only these differ: the secrets are
 * those of the test's servers, the port is a free one of the loopback address, and the Redis is shared with other tests.
 */
async function startContainer({ args, envFrom = [], env = [] }: Container): Promise<StartedContainer> {
  const secrets: Record<string, string> = {
    'punctual-database/url': database.url,
    'punctual-redis/url': readTestServers().redisUrl,
    'punctual-encryption-keys/keys': TEST_KEYS,
    'punctual-bootstrap-key/key': KEY,
  };
  const shared = envFrom.map(({ configMapRef }) => find(PRODUCTION, 'ConfigMap', configMapRef.name).data as object);
  const own = env.map(({ name, valueFrom: { secretKeyRef } }) => [
    name,
    secrets[`${secretKeyRef.name}/${secretKeyRef.key}`],
  ]);
  const port = await findFreePort();
  const lines: string[] = [];
  const process = await startGuardedProcess({
    command: globalThis.process.execPath,
    args: [join(ROOT, ENTRY), ...args],
    env: {
      ...listNodeEnvironment(),
      ...Object.assign({}, ...shared),
      ...Object.fromEntries(own),
      HOST: '127.0.0.1',
      PORT: String(port),
      REDIS_PREFIX: `manifests-${database.url.split('/').at(-1)}`,
    },
    cwd: '/',
    stopSignal: 'SIGTERM',
    hardSignal: 'SIGKILL',
    stopTimeoutMs: 45_000,
    output: { onLine: (line) => lines.push(line) },
  });
  const container = { process, lines, url: `http://127.0.0.1:${port}` };
  started.push(container);
  return container;
}

const readStatus = (url: string) =>
  fetch(url).then(
    ({ status }) => status,
    () => 0,
  );

test(
  'production rolls out, with processes in place of pods: pods wait for the job, answer their probes, work, and drain',
  async () => {
    const pods = SERVICES.map((name) => podOf(find(PRODUCTION, 'Deployment', `punctual-${name}`)));
    const inits = pods.flatMap((pod) => pod.initContainers as Container[]);
    const [init] = inits;
    expect(inits).toEqual(SERVICES.map(() => init));

    // Before the job pods wait.
    const waiting = await startContainer(init!);
    await waitUntil(
      'it waits',
      () => waiting.lines.some((line) => line.includes('lacks the migrations')),
      START_MAX_MS,
    );
    const job = await startContainer(podOf(find(PRODUCTION, 'Job', 'punctual-migrate')).containers[0]);
    expect(await job.process.exited, job.lines.join('\n')).toMatchObject({ code: 0 });
    expect(await waiting.process.exited, waiting.lines.join('\n')).toMatchObject({ code: 0 });

    const services = await Promise.all(pods.map((pod) => startContainer(pod.containers[0])));
    for (const [index, { url, lines }] of services.entries()) {
      const [container] = pods[index].containers;
      for (const kind of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
        const { path } = container[kind].httpGet;
        await waitUntil(
          `${kind} is answered: ${lines.join('\n')}`,
          async () => (await readStatus(url + path)) === 200,
          START_MAX_MS,
        );
      }
    }

    const [api] = services as [StartedContainer];
    const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' };
    const timer = { delay: { type: 'duration', value: 0, unit: 'seconds' }, action: { type: 'noop' } };
    const created = await fetch(`${api.url}/v1/timers`, { method: 'POST', headers, body: JSON.stringify(timer) });
    expect(created.status).toBe(201);
    const { id } = (await created.json()) as { id: string };
    const isDelivered = async () => {
      const answer = await fetch(`${api.url}/v1/timers/${id}`, { headers });
      return ((await answer.json()) as { status: string }).status === 'succeeded';
    };
    await waitUntil('the timer has been delivered', isDelivered, START_MAX_MS);

    await checkMetrics(services);
    await checkIngress(api.url, headers);

    const beganAt = performance.now();
    const ends = await Promise.all(
      services.map(async ({ process }) => ({ ...(await process.stop()), afterMs: performance.now() - beganAt })),
    );
    for (const [index, { code, afterMs }] of ends.entries()) {
      expect(code).toBe(0);
      expect(afterMs).toBeLessThan(pods[index].terminationGracePeriodSeconds * 1_000);
    }
  },
  TEST_MAX_MS,
);

/** What the autoscalers ask Prometheus for is what it finds where the PodMonitor tells it to look. */
async function checkMetrics(services: readonly StartedContainer[]): Promise<void> {
  const [monitor] = ofKind(PRODUCTION, 'PodMonitor');
  const { path } = monitor!.spec.podMetricsEndpoints[0];
  const texts = await Promise.all(services.map(async ({ url }) => (await fetch(url + path)).text()));
  const text = texts.join('\n');
  const queries = ofKind(PRODUCTION, 'ScaledObject').flatMap(({ spec }) =>
    spec.triggers.map(({ metadata }: { metadata: { query: string } }) => metadata.query),
  );
  for (const query of queries) {
    const [, metric] = /(\w+)\{/.exec(query)!;
    expect(text).toMatch(new RegExp(`^${metric}(\\{.*\\})? \\d`, 'm'));
  }
  for (const minute of [1, 2, 3, 4, 5])
    expect(text).toMatch(new RegExp(`^scheduler_timers_due_soon\\{.*minute="${minute}"`, 'm'));
}

/** The Ingress leads to every route that asks for a key, and to none of those that must not be seen outside. */
async function checkIngress(apiUrl: string, headers: Record<string, string>): Promise<void> {
  const document = (await (await fetch(`${apiUrl}/v1/openapi.json`, { headers })).json()) as {
    paths: Record<string, Record<string, { security: unknown[] }>>;
  };
  const [ingress] = ofKind(PRODUCTION, 'Ingress');
  const { paths } = ingress!.spec.rules[0].http as { paths: { path: string; pathType: string }[] };
  const isPublic = (route: string) =>
    paths.some(({ path, pathType }) => {
      expect(pathType).toBe('Prefix');
      return route === path || route.startsWith(`${path}/`);
    });
  const routes = Object.entries(document.paths).map(([path, operations]) => ({
    path,
    needsKey: Object.values(operations).some(({ security }) => security.length > 0),
  }));
  expect(routes.filter(({ path, needsKey }) => needsKey && !isPublic(path)).map(({ path }) => path)).toEqual([]);
  const inside = routes
    .filter(({ path, needsKey }) => !needsKey && path !== '/v1/openapi.json')
    .map(({ path }) => path);
  expect(inside.toSorted()).toEqual(['/metrics', '/v1/health', '/v1/health/live', '/v1/health/ready']);
  expect(inside.filter(isPublic)).toEqual([]);
  // And to nothing that there is not.
  const groups = new Set(routes.map(({ path }) => path.split('/').slice(0, 3).join('/')));
  expect(paths.map(({ path }) => path).filter((path) => !groups.has(path))).toEqual([]);
}
