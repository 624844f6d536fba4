import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { createDatabase, dropDatabase, type RunningPostgres, startPostgres } from '../index.ts';
import { identifyProcess } from '../process-identity.ts';
import {
  killGuard,
  killNow,
  killOwners,
  killWithGuard,
  readClaim,
  readReport,
  spawnOwner,
  TEST_TIMEOUT_MS,
  waitUntil,
  waitUntilGone,
  waitUntilRemoved,
} from './owner-process.ts';

vi.setConfig({ testTimeout: TEST_TIMEOUT_MS, hookTimeout: TEST_TIMEOUT_MS });

/** Made by mkdtemp with mode 0700, so that for root every folder in it is one that no other user may enter. */
let parent: string;
/** A data folder with one row in it, copied for each test that needs data. */
let template: string;
const log = () => {};

beforeAll(async () => {
  parent = mkdtempSync(join(tmpdir(), 'punctual-local-servers-test-'));
  template = join(parent, 'template');
  const postgres = await startPostgres({ dataDir: template, log });
  await query(postgres.url, 'create table kept (id int)');
  await query(postgres.url, 'insert into kept values (42)');
  await postgres.stop();
});

afterEach(killOwners);

afterAll(() => rmSync(parent, { recursive: true, force: true }));

function copyTemplate(name: string): string {
  const folder = join(parent, name);
  execFileSync('cp', ['-a', template, folder]);
  return folder;
}

async function query(url: string, statement: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}

/** Starts on the folder, and proves that the template's row is there. */
async function expectDataServed(dataDir: string): Promise<void> {
  const postgres = await startPostgres({ dataDir, log });
  try {
    expect(await query(postgres.url, 'select id from kept')).toEqual([{ id: 42 }]);
  } finally {
    await postgres.stop();
  }
}

function readUid(pid: number): number {
  return Number(execFileSync('ps', ['-o', 'uid=', '-p', String(pid)], { encoding: 'utf8' }));
}

describe('a data folder', () => {
  test('keeps its data from one start to the next', async () => {
    const dataDir = copyTemplate('kept');
    await expectDataServed(dataDir);
    await expectDataServed(dataDir);
  });

  test('is given free by stop, which may be called twice', async () => {
    const dataDir = copyTemplate('stopped');
    const postgres = await startPostgres({ dataDir, log });
    await Promise.all([postgres.stop(), postgres.stop()]);
    expect(await postgres.exited).toEqual({ code: 0, signal: null });
    expect(identifyProcess(postgres.pid)).toBeUndefined();
    expect(readdirSync(dataDir)).toEqual(['cluster']);
  });

  test('lets nobody but its owner read the password', () => {
    expect(execFileSync('ls', ['-l', join(template, 'cluster', 'punctual-password')], { encoding: 'utf8' })).toMatch(
      /^-rw-------/,
    );
  });

  test('is removed when it is ephemeral', async () => {
    const postgres = await startPostgres({ ephemeral: true, log });
    expect(await query(postgres.url, 'select current_database() as name')).toEqual([{ name: 'punctual' }]);
    await postgres.stop();
    expect(existsSync(postgres.dataDir)).toBe(false);
  });

  test('that holds data is refused to an ephemeral server, and keeps its data', async () => {
    const dataDir = copyTemplate('not-ephemeral');
    await expect(startPostgres({ dataDir, ephemeral: true, log })).rejects.toMatchObject({ code: 'folder_not_empty' });
    await expectDataServed(dataDir);
  });

  test('can be used after an initdb that was killed half-way', async () => {
    const dataDir = join(parent, 'half-way');
    const owner = spawnOwner('postgres', dataDir);
    await waitUntil(
      'initdb at work',
      () => existsSync(dataDir) && readdirSync(dataDir).some((name) => /^initializing-\d+$/.test(name)),
    );
    await waitUntil('initdb on record', () => readClaim(dataDir).guard !== undefined);
    await killWithGuard(owner, dataDir);
    const postgres = await startPostgres({ dataDir, log });
    await postgres.stop();
    expect(readdirSync(dataDir)).toEqual(['cluster']);
  });
});

describe('when the owner is killed with -9', () => {
  test('Postgres ends and the ephemeral folder goes', async () => {
    const dataDir = join(parent, 'killed-owner');
    const owner = spawnOwner('postgres', dataDir, '--ephemeral');
    const { pid } = await readReport<RunningPostgres>(owner);
    await killNow(owner.pid);
    await waitUntilGone(pid);
    await waitUntilRemoved(dataDir);
  });

  test('together with the guard, the next start stops the orphan and has the data', async () => {
    const dataDir = copyTemplate('orphan');
    const owner = spawnOwner('postgres', dataDir);
    const { pid } = await readReport<RunningPostgres>(owner);
    await killWithGuard(owner, dataDir);
    expect(identifyProcess(pid)).toBeDefined();

    await expectDataServed(dataDir);
    expect(identifyProcess(pid)).toBeUndefined();
  });

  test('together with the guard, the orphan is found by its own pid file, too', async () => {
    const dataDir = copyTemplate('orphan-without-claim');
    const owner = spawnOwner('postgres', dataDir);
    const { pid } = await readReport<RunningPostgres>(owner);
    await killWithGuard(owner, dataDir);
    rmSync(join(dataDir, 'owner.json'));

    await expectDataServed(dataDir);
    expect(identifyProcess(pid)).toBeUndefined();
  });

  test('together with the guard, what an ephemeral server left is thrown away by the next start', async () => {
    const dataDir = join(parent, 'ephemeral-orphan');
    const owner = spawnOwner('postgres', dataDir, '--ephemeral');
    const { pid } = await readReport<RunningPostgres>(owner);
    await killWithGuard(owner, dataDir);

    const postgres = await startPostgres({ dataDir, ephemeral: true, log });
    await postgres.stop();
    expect(identifyProcess(pid)).toBeUndefined();
    expect(existsSync(dataDir)).toBe(false);
  });
});

describe('a start', () => {
  test('is refused, naming the pid, while another owner lives', async () => {
    const dataDir = copyTemplate('in-use');
    const owner = spawnOwner('postgres', dataDir);
    const { pid, url } = await readReport<RunningPostgres>(owner);
    await expect(startPostgres({ dataDir, log })).rejects.toMatchObject({
      code: 'folder_in_use',
      message: expect.stringContaining(`process ${owner.pid}:`),
    });
    expect(await query(url, 'select id from kept')).toEqual([{ id: 42 }]);
    await killNow(owner.pid);
    await waitUntilGone(pid);
  });

  test('is not refused for an owner whose pid another process has by now', async () => {
    const dataDir = copyTemplate('pid-reused');
    writeFileSync(join(dataDir, 'owner.json'), JSON.stringify({ owner: { pid: process.ppid, startedAt: 'long ago' } }));
    await expectDataServed(dataDir);
  });

  test('recovers after Postgres itself was killed with -9', async () => {
    const dataDir = copyTemplate('crashed');
    const postgres = await startPostgres({ dataDir, log });
    await query(postgres.url, 'insert into kept values (43)');
    await killNow(postgres.pid);
    expect(await postgres.exited).toEqual({ code: null, signal: 'SIGKILL' });

    const again = await startPostgres({ dataDir, log });
    expect(await query(again.url, 'select count(*)::int as count from kept')).toEqual([{ count: 2 }]);
    await again.stop();
  });

  test('names the port that another program has', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const address = other.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    await expect(startPostgres({ dataDir: copyTemplate('port'), port, log })).rejects.toMatchObject({
      code: 'port_in_use',
      message: expect.stringContaining(`Port ${port} `),
    });
    other.close();
  });

  test('is refused on the data of another major version', async () => {
    const dataDir = copyTemplate('old-version');
    writeFileSync(join(dataDir, 'cluster', 'PG_VERSION'), '17\n');
    await expect(startPostgres({ dataDir, log })).rejects.toMatchObject({
      code: 'wrong_major_version',
      message: expect.stringMatching(/made by Postgres 17, .* runs Postgres 18/),
    });
  });

  test('is refused in a folder that holds something else, and leaves that alone', async () => {
    const dataDir = join(parent, 'foreign');
    mkdirSync(dataDir);
    writeFileSync(join(dataDir, 'thesis.txt'), 'the only copy');
    await expect(startPostgres({ dataDir, log })).rejects.toMatchObject({
      code: 'not_a_data_folder',
      message: expect.stringContaining('thesis.txt'),
    });
    await expect(startPostgres({ dataDir, ephemeral: true, log })).rejects.toMatchObject({ code: 'not_a_data_folder' });
    expect(readdirSync(dataDir)).toEqual(['thesis.txt']);
    expect(readFileSync(join(dataDir, 'thesis.txt'), 'utf8')).toBe('the only copy');
  });

  // No permission stops root, but there are places where nobody can make a folder.
  test.each(['/dev/null/data', '/proc/self/data'])('says in one sentence that %s cannot be used', async (dataDir) => {
    await expect(startPostgres({ dataDir, log })).rejects.toMatchObject({
      code: 'folder_not_writable',
      message: expect.stringMatching(/^The data folder \S+ cannot be created or written \(E[A-Z]+\): [^\n]+$/),
    });
  });

  test('runs Postgres as an unprivileged user in a folder that only its maker may enter', async () => {
    const postgres = await startPostgres({ dataDir: copyTemplate('unprivileged'), log });
    expect(readUid(postgres.pid)).not.toBe(0);
    await postgres.stop();
  });
});

describe('a running Postgres', () => {
  test('is stopped when its guard is killed and cannot watch over it any more', async () => {
    const dataDir = copyTemplate('guard-killed');
    const postgres = await startPostgres({ dataDir, log });
    killGuard(dataDir);
    await postgres.exited;
    expect(identifyProcess(postgres.pid)).toBeUndefined();
    await expectDataServed(dataDir);
  });

  test('copies a template database, and drops one that is in use', async () => {
    const postgres = await startPostgres({ dataDir: copyTemplate('databases'), log });
    const url = await createDatabase(postgres.url, 'my "copy"', { template: 'punctual' });
    const client = new Client({ connectionString: url });
    client.on('error', () => {});
    await client.connect();
    expect((await client.query('select id from kept')).rows).toEqual([{ id: 42 }]);
    await dropDatabase(postgres.url, 'my "copy"');
    await dropDatabase(postgres.url, 'my "copy"');
    expect(await query(postgres.url, `select 1 from pg_database where datname = 'my "copy"'`)).toEqual([]);
    await postgres.stop();
  });
});
