import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type GuardedProcess, startGuardedProcess } from '../guarded-process.ts';
import { identifyProcess } from '../process-identity.ts';
import { waitUntil } from './owner-process.ts';

let folder: string;
const lines: string[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'punctual-local-servers-test-'));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function runScript(script: string, output?: { file: string }): Promise<GuardedProcess> {
  lines.length = 0;
  return startGuardedProcess({
    command: process.execPath,
    args: ['-e', script],
    env: process.env,
    cwd: '/',
    stopSignal: 'SIGTERM',
    hardSignal: 'SIGKILL',
    stopTimeoutMs: 1_000,
    output: output ?? { onLine: (line) => lines.push(line) },
  });
}

test('the exit code and the last line of output come through', async () => {
  const child = await runScript('console.log("first"); console.error("last"); process.exit(7)');
  expect(await child.exited).toEqual({ code: 7, signal: null });
  expect([...lines].sort()).toEqual(['first', 'last']);
  expect(child.kill('SIGTERM')).toBe(false);
});

test('output goes to a file without passing through us', async () => {
  const file = join(folder, 'output.log');
  const child = await runScript('console.log("to the file")', { file });
  await child.exited;
  expect(readFileSync(file, 'utf8')).toBe('to the file\n');
});

test('stop asks politely, and the exit tells that it was heard', async () => {
  const child = await runScript(
    'process.on("SIGTERM", () => process.exit(5)); setInterval(() => {}, 1e6); console.log("up")',
  );
  await waitUntil('the script', () => lines.includes('up'));
  expect(await child.stop()).toEqual({ code: 5, signal: null });
});

test('stop ends by force what does not listen', async () => {
  const child = await runScript('process.on("SIGTERM", () => {}); setInterval(() => {}, 1e6); console.log("up")');
  await waitUntil('the script', () => lines.includes('up'));
  expect(await child.stop()).toEqual({ code: null, signal: 'SIGKILL' });
});

test('a signal to the whole group leaves the guard at its post', async () => {
  const child = await runScript(
    'process.on("SIGTERM", () => console.log("heard")); setInterval(() => {}, 1e6); console.log("up")',
  );
  await waitUntil('the script', () => lines.includes('up'));
  process.kill(-child.guard.pid, 'SIGTERM');
  await waitUntil('the signal', () => lines.includes('heard'));
  expect(identifyProcess(child.guard.pid)).toBeDefined();
  await child.stop();
  expect(identifyProcess(child.identity.pid)).toBeUndefined();
});

test('a program that does not exist is an exit, not a hang', async () => {
  const child = await startGuardedProcess({
    command: join(folder, 'missing'),
    args: [],
    env: process.env,
    cwd: '/',
    stopSignal: 'SIGTERM',
    hardSignal: 'SIGKILL',
    stopTimeoutMs: 1_000,
    output: { onLine: () => {} },
  });
  expect(await child.exited).toEqual({ code: 127, signal: null });
});
