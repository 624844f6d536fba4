import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort } from '@punctual/local-servers';
import { type Receiver, startReceiver, waitUntil } from '@punctual/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient, type Timer } from './api-client.ts';
import { runCurl } from './curl.ts';
import { isRunning, listProcesses, listTree, type Program, startProgram } from './processes.ts';

const ENTRY = join(import.meta.dirname, '../../services/standalone/main.ts');
/** From a start to the moment at which it says that it runs, making a new Postgres included (ms). */
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 40_000;
const DELIVERY_LIMIT_MS = 30_000;
const TEST_LIMIT_MS = 150_000;
/** To which everything belongs while no keys are asked for. */
const DEFAULT_TENANT_ID = '00000000-0000-7000-8000-000000000001';

let folder: string;
let receiver: Receiver;
/** Everything started by the present test, to be ended whatever happens. */
const started: Program[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'punctual-standalone-'));
  mkdirSync(join(folder, 'tmp'));
  receiver = await startReceiver();
});

afterEach(async () => {
  for (const program of started.splice(0)) {
    program.kill('SIGTERM');
    await program.exited;
  }
});

afterAll(async () => {
  await receiver?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs it in the test's folder, with its own folder for temporary files, which shows what is left behind. */
function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
  const program = startProgram(ENTRY, args, { TMPDIR: join(folder, 'tmp'), ...env }, folder);
  started.push(program);
  return program;
}

interface Running {
  program: Program;
  api: ApiClient;
  url: string;
  /** It, its Postgres, and whatever else it started. */
  pids: number[];
}

async function startAndWait(args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Running> {
  const port = await findFreePort();
  const program = start(args, { PORT: String(port), ...env });
  const says = () => program.hasExited() || program.stdout.includes('Ctrl-C stops everything.');
  await waitUntil('it says that it runs', says, START_LIMIT_MS);
  if (program.hasExited()) throw new Error(`it ended: ${program.stdout}${program.stderr}`);
  const url = `http://127.0.0.1:${port}`;
  return { program, url, api: new ApiClient([url]), pids: listTree(program.pid) };
}

/** Sends the signal and expects an orderly end, with nothing left running. */
async function stop({ program, pids }: Running, signal: NodeJS.Signals): Promise<void> {
  program.kill(signal);
  await waitUntil('it has ended', () => program.hasExited(), STOP_LIMIT_MS);
  expect(await program.exited).toEqual({ code: 0, signal: null });
  expect(program.stderr).toBe('');
  await waitUntil('all that it started has ended', () => !pids.some(isRunning));
}

/** Waits for the end of a start that can not succeed: one sentence, and code 1. */
async function expectSentence(program: Program, sentence: RegExp): Promise<void> {
  await waitUntil('it has ended', () => program.hasExited(), START_LIMIT_MS);
  expect(await program.exited).toEqual({ code: 1, signal: null });
  expect(program.stderr.trim().split('\n')).toHaveLength(1);
  expect(program.stderr).toMatch(sentence);
}

/** The same, where nothing else of ours runs, and nothing may be left running. */
async function expectRefusal(program: Program, sentence: RegExp): Promise<void> {
  await expectSentence(program, sentence);
  await waitUntil('nothing of it is left', () => listLeftovers().length === 0);
}

/** Processes that name the test's folder, which are those of an embedded Postgres and their guards. */
function listLeftovers(): string[] {
  return listProcesses()
    .filter(({ command }) => command.includes(folder))
    .map(({ command }) => command);
}

async function createTimer(api: ApiClient, ms: number): Promise<string> {
  const dueAt = new Date(Date.now() + ms).toISOString();
  const timer = { dueAt, action: { type: 'http', url: receiver.url }, timeoutMs: 5_000 };
  return (await api.expect<Timer>([201], 'POST', '/v1/timers', timer)).id;
}

const countRequests = (id: string) => receiver.requests.filter(({ headers }) => headers['webhook-id'] === id).length;

async function waitForDelivery(id: string): Promise<void> {
  await waitUntil(`timer ${id} is delivered`, () => countRequests(id) > 0, DELIVERY_LIMIT_MS);
}

async function waitForStatus(api: ApiClient, id: string, status: Timer['status']): Promise<void> {
  const isSo = async () => (await api.expect<Timer>([200], 'GET', `/v1/timers/${id}`)).status === status;
  await waitUntil(`timer ${id} is ${status}`, isSo, DELIVERY_LIMIT_MS);
}

describe('one data folder, through its life', () => {
  let waiting: string;

  it(
    'the first start says where the API and the data are, and the curl that it prints makes a timer that is delivered',
    async () => {
      const running = await startAndWait();
      const { program, url, api } = running;
      expect(program.stdout).toContain(url);
      expect(program.stdout).toContain(join(folder, '.punctual'));
      expect((await api.send('GET', '/v1/health')).status).toBe(200);
      const command = /^ *curl (?:.|\n)*?(?=\n\n)/m.exec(program.stdout)![0];
      const target = new URL(/"url":"([^"]+)"/.exec(command)![1]!);
      const hook = await startReceiver();
      try {
        // Whatever listens at the port that the command names is not ours to stop: the rest of it is taken as it is.
        const timer = JSON.parse(runCurl(command.replace(target.origin, hook.url))) as Timer;
        expect(timer.status).toBe('scheduled');
        await waitUntil('the timer is delivered', () => hook.requests.length > 0, DELIVERY_LIMIT_MS);
        const [request] = hook.requests;
        expect(request!.path).toBe(target.pathname);
        expect(request!.headers['webhook-id']).toBe(timer.id);
        expect(JSON.parse(request!.body).payload).toEqual(timer.payload);
        expect(request!.receivedAt).toBeGreaterThanOrEqual(Date.parse(timer.dueAt));
        await waitForStatus(api, timer.id, 'succeeded');
      } finally {
        await hook.close();
      }
      expect(statSync(join(folder, '.punctual/encryption-keys')).mode & 0o777).toBe(0o600);
      await api.expect([201], 'POST', `/v1/tenants/${DEFAULT_TENANT_ID}/signing-secrets`, {});
      waiting = await createTimer(api, 2_000);
      await stop(running, 'SIGINT');
    },
    TEST_LIMIT_MS,
  );

  it(
    'the second start keeps the data and its keys, and SIGTERM finishes the attempt under way and records it',
    async () => {
      const running = await startAndWait();
      await waitForDelivery(waiting);
      await waitForStatus(running.api, waiting, 'succeeded');
      const request = receiver.requests.find(({ headers }) => headers['webhook-id'] === waiting)!;
      expect(request.headers['webhook-signature']).toMatch(/^v1,/);
      receiver.answer = () => ({ delayMs: 1_500 });
      const underWay = await createTimer(running.api, 0);
      await waitForDelivery(underWay);
      await stop(running, 'SIGTERM');
      receiver.answer = () => ({});
      const next = await startAndWait();
      await waitForStatus(next.api, underWay, 'succeeded');
      expect(countRequests(underWay)).toBe(1);
      await stop(next, 'SIGTERM');
    },
    TEST_LIMIT_MS,
  );

  it(
    'a second process is refused the folder while the first one runs',
    async () => {
      const running = await startAndWait();
      const second = start([], { PORT: String(await findFreePort()) });
      await expectSentence(second, new RegExp(`in use by another Punctual, process ${running.program.pid}`));
      expect((await running.api.send('GET', '/v1/health')).status).toBe(200);
      await stop(running, 'SIGINT');
    },
    TEST_LIMIT_MS,
  );

  it(
    'after kill -9 the next start takes over, and delivers what became due meanwhile',
    async () => {
      // An attempt that is lost with its worker comes back soon.
      const env = { WORKER_LEASE_MARGIN_MS: '1000' };
      const running = await startAndWait([], env);
      receiver.answer = () => 'hang';
      const lost = await createTimer(running.api, 0);
      await waitForDelivery(lost);
      const [overdue, later] = [await createTimer(running.api, 300), await createTimer(running.api, 8_000)];
      running.program.kill('SIGKILL');
      await running.program.exited;
      receiver.releaseHanging();
      receiver.answer = () => ({});
      // At once: the guard may still be stopping the Postgres of the one that was killed.
      const next = await startAndWait([], env);
      expect(running.pids.filter(isRunning)).toEqual([]);
      await waitForDelivery(overdue);
      await waitForDelivery(later);
      await waitForStatus(next.api, lost, 'succeeded');
      expect(countRequests(lost)).toBe(2);
      await stop(next, 'SIGINT');
      expect(listLeftovers()).toEqual([]);
    },
    TEST_LIMIT_MS,
  );
});

describe('--ephemeral', () => {
  it.each(['SIGINT', 'SIGKILL'] as const)(
    'leaves no folder and no process behind, even when it ends by %s',
    async (signal) => {
      const before = readdirSync(folder).toSorted();
      const running = await startAndWait(['--ephemeral']);
      await waitForDelivery(await createTimer(running.api, 0));
      if (signal === 'SIGINT') await stop(running, signal);
      else running.program.kill(signal);
      await running.program.exited;
      await waitUntil('all that it started has ended', () => !running.pids.some(isRunning), STOP_LIMIT_MS);
      await waitUntil('nothing is left of its files', () => readdirSync(join(folder, 'tmp')).length === 0);
      expect(readdirSync(folder).toSorted()).toEqual(before);
      expect(listLeftovers()).toEqual([]);
    },
    TEST_LIMIT_MS,
  );
});

describe('a start that can not succeed says why in one sentence and leaves nothing running', () => {
  it(
    'when the port is in use',
    async () => {
      const server: Server = createServer().listen(0, '127.0.0.1');
      await waitUntil('the port is taken', () => server.listening);
      const { port } = server.address() as { port: number };
      try {
        await expectRefusal(start(['--ephemeral'], { PORT: String(port) }), new RegExp(`^Port ${port} is in use`));
      } finally {
        server.close();
      }
    },
    TEST_LIMIT_MS,
  );

  it(
    'when the data folder can not be made, or is something else',
    async () => {
      const file = join(folder, 'a-file');
      writeFileSync(file, '');
      const other = join(folder, 'other');
      mkdirSync(join(other, 'postgres'), { recursive: true });
      writeFileSync(join(other, 'postgres', 'diary.txt'), 'mine');
      const PORT = String(await findFreePort());
      for (const dir of [file, join(file, 'below')]) {
        await expectRefusal(start([], { PORT, PUNCTUAL_DATA_DIR: dir }), /cannot be created or written/);
      }
      await expectRefusal(start([], { PORT, PUNCTUAL_DATA_DIR: other }), /no data folder of Punctual/);
      expect(readFileSync(join(other, 'postgres', 'diary.txt'), 'utf8')).toBe('mine');
    },
    TEST_LIMIT_MS,
  );

  it(
    'when the data folder is of another version of Postgres, which stays as it is',
    async () => {
      const versionFile = join(folder, '.punctual/postgres/cluster/PG_VERSION');
      const version = readFileSync(versionFile, 'utf8');
      writeFileSync(versionFile, '17\n');
      try {
        await expectRefusal(start([], { PORT: String(await findFreePort()) }), /made by Postgres 17/);
        expect(readFileSync(versionFile, 'utf8')).toBe('17\n');
      } finally {
        writeFileSync(versionFile, version);
      }
    },
    TEST_LIMIT_MS,
  );

  it(
    'when the database that DATABASE_URL names is away',
    async () => {
      const DATABASE_URL = `postgres://punctual@127.0.0.1:${await findFreePort()}/punctual`;
      await expectRefusal(
        start([], { PORT: String(await findFreePort()), DATABASE_URL }),
        /Postgres can not be reached.*DATABASE_URL/,
      );
    },
    TEST_LIMIT_MS,
  );

  it('when an option or an argument is unknown', async () => {
    await expectRefusal(start(['--ephemral']), /^Unknown option '--ephemral'/);
    await expectRefusal(start(['now']), /'now'/);
  });
});

it('settings that do not do are named, each in a sentence', async () => {
  const program = start(['--ephemeral'], { PORT: 'http', AUTH: 'maybe' });
  expect(await program.exited).toEqual({ code: 1, signal: null });
  expect(program.stderr).toMatch(/^PORT=http is not a whole number from 0 to 65535\.$/m);
  expect(program.stderr).toMatch(/^AUTH=maybe is not one of on, off\.$/m);
  expect(program.stdout).toBe('');
});

it('--help prints how it is used and starts nothing', async () => {
  const program = start(['--help']);
  expect(await program.exited).toEqual({ code: 0, signal: null });
  expect(program.stdout).toContain('--ephemeral');
  expect(program.stdout).toContain('PUNCTUAL_DATA_DIR');
  expect(program.stderr).toBe('');
});

it(
  'when its Postgres ends by itself, it says so and ends with code 1',
  async () => {
    const { program, pids } = await startAndWait(['--ephemeral']);
    const postmaster = listProcesses().find(
      ({ pid, command }) => pids.includes(pid) && /^\S*postgres -D /.test(command),
    )!;
    process.kill(postmaster.pid, 'SIGKILL');
    await waitUntil('it has ended', () => program.hasExited(), STOP_LIMIT_MS);
    expect(await program.exited).toEqual({ code: 1, signal: null });
    expect(program.stderr).toContain('The embedded Postgres ended by itself.');
    await waitUntil('all that it started has ended', () => !pids.some(isRunning));
  },
  TEST_LIMIT_MS,
);
