import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeTemporaryFolder } from '../data-folder.ts';
import { identifyProcess, type ProcessIdentity } from '../process-identity.ts';

let parent: string;
const temporaryFolder = process.env.TMPDIR;

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'punctual-local-servers-test-'));
  process.env.TMPDIR = parent;
});

afterEach(() => {
  if (temporaryFolder === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = temporaryFolder;
  rmSync(parent, { recursive: true, force: true });
});

function leaveFolder(name: string, owner: ProcessIdentity | undefined): void {
  mkdirSync(join(parent, name));
  writeFileSync(join(parent, name, 'data'), '');
  if (owner !== undefined) writeFileSync(join(parent, name, 'owner.json'), JSON.stringify({ owner }));
}

async function identifyDead(): Promise<ProcessIdentity> {
  const child = spawn('sleep', ['60']);
  const identity = identifyProcess(child.pid ?? 0);
  child.kill('SIGKILL');
  await once(child, 'exit');
  if (identity === undefined) throw new Error('sleep did not start.');
  return identity;
}

test('a temporary folder whose owner was killed is removed when the next one is made, and no other is', async () => {
  const dead = await identifyDead();
  leaveFolder('punctual-redis-dead', dead);
  leaveFolder('punctual-postgres-dead', dead);
  leaveFolder('punctual-redis-live', identifyProcess(process.pid));
  leaveFolder('punctual-redis-unclaimed', undefined);
  leaveFolder('punctual-redis-elsewhere', { pid: dead.pid, startedAt: 'in another container' });
  const made = makeTemporaryFolder('redis');
  expect(readdirSync(parent).sort()).toEqual(
    [
      'punctual-postgres-dead',
      'punctual-redis-live',
      'punctual-redis-unclaimed',
      'punctual-redis-elsewhere',
      made.slice(parent.length + 1),
    ].sort(),
  );
});
