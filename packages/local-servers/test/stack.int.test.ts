import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { type RunningStack, startStack, startTestServers, type TestServers } from '../index.ts';
import {
  killNow,
  killOwners,
  readReport,
  spawnOwner,
  TEST_TIMEOUT_MS,
  waitUntil,
  waitUntilGone,
} from './owner-process.ts';
import { FAILING_MIGRATION, FAILING_SERVICE, fixtureEntries } from './stack-fixture.ts';

vi.setConfig({ testTimeout: TEST_TIMEOUT_MS, hookTimeout: TEST_TIMEOUT_MS });

let folder: string;
let servers: TestServers;
const lines: string[] = [];
const log = (line: string) => lines.push(line);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'punctual-local-servers-test-'));
  servers = await startTestServers();
});

afterEach(killOwners);

afterAll(async () => {
  await servers.stop();
  rmSync(folder, { recursive: true, force: true });
});

function startFixtureStack(options: Partial<Parameters<typeof startStack>[0]> = {}): Promise<RunningStack> {
  lines.length = 0;
  const { databaseUrl, redisUrl } = servers;
  return startStack({ databaseUrl, redisUrl, ephemeral: true, entries: fixtureEntries(), log, ...options });
}

test('a stack runs as many processes as asked for, all ready, on the servers it was given', async () => {
  const stack = await startFixtureStack({
    api: 2,
    scheduler: 0,
    worker: 3,
    env: { FIXTURE: 'all' },
    envOf: { api: { FIXTURE: 'api' } },
  });
  expect(stack.processes.map(({ name }) => name).sort()).toEqual([
    'api-1',
    'api-2',
    'worker-1',
    'worker-2',
    'worker-3',
  ]);
  expect(stack.apiUrls).toHaveLength(2);
  expect(await (await fetch(stack.apiUrls[0] ?? '')).json()).toEqual({
    HOST: '127.0.0.1',
    PORT: new URL(stack.apiUrls[0] ?? '').port,
    DATABASE_URL: servers.databaseUrl,
    REDIS_URL: servers.redisUrl,
    AUTH: 'off',
    FIXTURE: 'api',
  });
  await stack.stop();
  expect(lines).toEqual([]);
  expect(existsSync(stack.folder)).toBe(false);
});

test('a stack folder that is in use, or is not empty, is refused', async () => {
  const own = join(folder, 'in-use');
  const none = { api: 0, scheduler: 0, worker: 0, folder: own, ephemeral: false };
  const stack = await startFixtureStack(none);
  await expect(startFixtureStack(none)).rejects.toMatchObject({ code: 'folder_in_use' });
  await stack.stop();
  await expect(startFixtureStack({ ...none, ephemeral: true })).rejects.toMatchObject({ code: 'folder_not_empty' });
  expect(existsSync(join(own, 'logs'))).toBe(true);
});

test('a stop lets every service drain', async () => {
  const stack = await startFixtureStack({ verbose: true });
  await Promise.all([stack.stop(), stack.stop()]);
  expect(lines.filter((line) => line.endsWith('| drained')).sort()).toEqual([
    'api-1 | drained',
    'scheduler-1 | drained',
    'worker-1 | drained',
  ]);
  for (const service of stack.processes) expect(await service.exited).toEqual({ code: 0, signal: null });
});

test('a service that is killed is reported by name, and can be replaced', async () => {
  const stack = await startFixtureStack({ worker: 2 });
  const victim = stack.processes.find(({ name }) => name === 'worker-2');
  expect(victim?.kill('SIGKILL')).toBe(true);
  expect(await victim?.exited).toEqual({ code: null, signal: 'SIGKILL' });
  await waitUntil('the report', () => lines.length > 0);
  expect(lines).toEqual([`worker-2 (process ${victim?.pid}) ended with signal SIGKILL.`]);
  expect((await stack.add('worker')).name).toBe('worker-3');
  await stack.stop();
});

test('a service that does not start fails the stack with its last words, and stops the others', async () => {
  const start = startFixtureStack({
    folder: join(folder, 'failing'),
    ephemeral: false,
    entries: { ...fixtureEntries(), worker: FAILING_SERVICE },
  });
  await expect(start).rejects.toMatchObject({
    code: 'start_failed',
    message: expect.stringMatching(/^worker-1 ended with exit code 3\. .*\nthe setting is missing$/),
  });
  expect(readFileSync(join(folder, 'failing', 'logs', 'api-1.log'), 'utf8')).toContain('drained');
});

test('a migration that fails is told, and no service is started', async () => {
  const start = startFixtureStack({ entries: { ...fixtureEntries(), migrate: FAILING_MIGRATION } });
  await expect(start).rejects.toMatchObject({
    code: 'migration_failed',
    message: 'The database could not be migrated (exit code 4):\nthe table is in the way',
  });
});

test('a stack brings its own servers, migrates, and ends as a whole when its owner is killed with -9', async () => {
  const own = join(folder, 'own-servers');
  const owner = spawnOwner('stack', own);
  const { pids } = await readReport<{ pids: number[] }>(owner);
  expect(pids).toHaveLength(5);
  await killNow(owner.pid);
  for (const pid of pids) await waitUntilGone(pid);
  for (const name of ['api-1', 'scheduler-1', 'worker-1']) {
    expect(readFileSync(join(own, 'logs', `${name}.log`), 'utf8')).toBe('listening\ndrained\n');
  }
  const stack = await startFixtureStack({
    folder: own,
    ephemeral: false,
    databaseUrl: undefined,
    api: 0,
    scheduler: 0,
    worker: 0,
  });
  const client = new Client({ connectionString: stack.databaseUrl });
  await client.connect();
  expect((await client.query('select count(*)::int as count from migrated')).rows).toEqual([{ count: 0 }]);
  await client.end();
  await stack.stop();
});
