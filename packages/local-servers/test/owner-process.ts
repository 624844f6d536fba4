import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { identifyProcess, type ProcessIdentity } from '../process-identity.ts';

/** No condition of these tests takes longer, on a machine that is busy with other things, too. */
const CONDITION_TIMEOUT_MS = 15_000;
/** A test that sets up two clusters takes 3 s on an idle machine, and 15 s on one with four times too much to do. */
export const TEST_TIMEOUT_MS = 60_000;
const CHECK_INTERVAL_MS = 20;

/** Resolves when the condition holds; throws with its name when it does not in time. */
export async function waitUntil(name: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + CONDITION_TIMEOUT_MS;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`Waited in vain for: ${name}`);
    await sleep(CHECK_INTERVAL_MS);
  }
}

/** The processes that a folder's claim names. */
export function readClaim(folder: string): { owner: ProcessIdentity; guard: ProcessIdentity; server: ProcessIdentity } {
  return JSON.parse(readFileSync(join(folder, 'owner.json'), 'utf8'));
}

export type OwnerProcess = { child: ChildProcess; pid: number };

const children = new Set<ChildProcess>();

/** After each test: an owner that a failed test left alive would keep the run from ending. */
export function killOwners(): void {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
}

/** Starts owner-fixture.ts, which owns a server or a stack in a process of its own until it is killed. */
export function spawnOwner(what: 'postgres' | 'redis' | 'stack', folder: string, ...flags: string[]): OwnerProcess {
  const script = fileURLToPath(new URL('./owner-fixture.ts', import.meta.url));
  const child = spawn(process.execPath, [script, what, folder, ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
  if (child.pid === undefined) throw new Error('The owner process did not start.');
  children.add(child);
  return { child, pid: child.pid };
}

/** Resolves to what the owner prints once everything it owns has started. */
export async function readReport<T>(owner: OwnerProcess): Promise<T> {
  if (owner.child.stdout === null) throw new Error('The owner process has no output.');
  const [line] = await once(createInterface({ input: owner.child.stdout }), 'line');
  return JSON.parse(line);
}

/** Kills both halves of a guard, the script and the part of it that watches the pipe, so that nobody stops the server. */
export function killGuard(folder: string): void {
  const { guard, server } = readClaim(folder);
  const guardChildren = execFileSync('pgrep', ['-P', String(guard.pid)], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map(Number);
  for (const pid of guardChildren) if (pid !== server.pid) process.kill(pid, 'SIGKILL');
  process.kill(guard.pid, 'SIGKILL');
}

/** Kills an owner together with its guard. */
export async function killWithGuard(owner: OwnerProcess, folder: string): Promise<void> {
  killGuard(folder);
  await killNow(owner.pid);
}

/** kill -9, and until it is gone. */
export async function killNow(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await waitUntil(`the end of process ${pid}`, () => identifyProcess(pid) === undefined);
}

export async function waitUntilGone(pid: number): Promise<void> {
  await waitUntil(`the end of process ${pid}`, () => identifyProcess(pid) === undefined);
}

export async function waitUntilRemoved(path: string): Promise<void> {
  await waitUntil(`the removal of ${path}`, () => !existsSync(path));
}
