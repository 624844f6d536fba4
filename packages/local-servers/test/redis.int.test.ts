import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { type RunningRedis, startRedis } from '../index.ts';
import { identifyProcess } from '../process-identity.ts';
import {
  killNow,
  killOwners,
  killWithGuard,
  readReport,
  spawnOwner,
  TEST_TIMEOUT_MS,
  waitUntilGone,
  waitUntilRemoved,
} from './owner-process.ts';

vi.setConfig({ testTimeout: TEST_TIMEOUT_MS, hookTimeout: TEST_TIMEOUT_MS });

let parent: string;
const log = () => {};

beforeAll(() => {
  parent = mkdtempSync(join(tmpdir(), 'punctual-local-servers-test-'));
});

afterEach(killOwners);

afterAll(() => rmSync(parent, { recursive: true, force: true }));

/** Sends one command and resolves to the answer as Redis writes it. */
function ask(url: string, command: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(`${command}\r\n`));
    socket.once('error', reject);
    socket.once('data', (answer) => {
      socket.destroy();
      resolve(answer.toString().trim());
    });
  });
}

test('a durable Redis keeps its data from one start to the next', async () => {
  const dir = join(parent, 'kept');
  const redis = await startRedis({ dir, log });
  expect(await ask(redis.url, 'SET key 42')).toBe('+OK');
  await Promise.all([redis.stop(), redis.stop()]);
  expect(await redis.exited).toEqual({ code: 0, signal: null });

  const again = await startRedis({ dir, log });
  expect(await ask(again.url, 'GET key')).toBe('$2\r\n42');
  await again.stop();
});

test('Redis never evicts, and holds to the memory limit it is given', async () => {
  const redis = await startRedis({ ephemeral: true, maxmemory: '64mb', log });
  expect(await ask(redis.url, 'CONFIG GET maxmemory-policy')).toContain('noeviction');
  expect(await ask(redis.url, 'CONFIG GET maxmemory')).toContain(String(64 * 1024 * 1024));
  await redis.stop();
});

test('an ephemeral Redis leaves no folder', async () => {
  const redis = await startRedis({ ephemeral: true, log });
  expect(existsSync(redis.dir)).toBe(true);
  await redis.stop();
  expect(existsSync(redis.dir)).toBe(false);
});

test('an ephemeral Redis is refused a folder that holds anything', async () => {
  writeFileSync(join(parent, 'file'), '');
  await expect(startRedis({ dir: parent, ephemeral: true, log })).rejects.toMatchObject({ code: 'folder_not_empty' });
  expect(existsSync(join(parent, 'file'))).toBe(true);
});

test('Redis ends and its ephemeral folder goes when the owner is killed with -9', async () => {
  const dir = join(parent, 'killed-owner');
  const owner = spawnOwner('redis', dir, '--ephemeral');
  const { pid } = await readReport<RunningRedis>(owner);
  await killNow(owner.pid);
  await waitUntilGone(pid);
  await waitUntilRemoved(dir);
});

test('a start takes over from an owner that was killed together with its guard', async () => {
  const dir = join(parent, 'orphan');
  const owner = spawnOwner('redis', dir);
  const { pid, url } = await readReport<RunningRedis>(owner);
  await ask(url, 'SET key 42');
  await killWithGuard(owner, dir);
  expect(identifyProcess(pid)).toBeDefined();

  const redis = await startRedis({ dir, log });
  expect(identifyProcess(pid)).toBeUndefined();
  expect(await ask(redis.url, 'GET key')).toBe('$2\r\n42');
  await redis.stop();
});

test('a second owner of a folder and a second user of a port are refused', async () => {
  const redis = await startRedis({ dir: join(parent, 'in-use'), log });
  await expect(startRedis({ dir: redis.dir, log })).rejects.toMatchObject({ code: 'folder_in_use' });
  await expect(startRedis({ ephemeral: true, port: redis.port, log })).rejects.toMatchObject({ code: 'port_in_use' });
  await redis.stop();
});
