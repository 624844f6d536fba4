import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findK6, K6_VERSION, NoK6Error } from './find-k6.ts';

let folder: string;
let lines: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'punctual-find-k6-'));
  mkdirSync(join(folder, 'bin'));
  lines = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Looks for k6 where nothing is on the PATH but what the test has put there. */
const find = () =>
  findK6({ cacheFolder: join(folder, 'cache'), env: { PATH: join(folder, 'bin') }, log: (line) => lines.push(line) });

function putProgram(path: string, script: string): void {
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}
const putOnPath = (name: string, script: string) => putProgram(join(folder, 'bin', name), script);

/** A Go that "builds" a k6 and notes that it was called, with what. */
const GO = `echo "$@" "$GOBIN" >> ${'$0'}.calls
if [ "$1" = install ]; then
  printf '#!/bin/sh\\necho "k6 ${K6_VERSION} (go1.26, linux/amd64)"\\n' > "$GOBIN/k6"
  /bin/chmod 755 "$GOBIN/k6"
fi`;
const readGoCalls = () => readFileSync(join(folder, 'bin/go.calls'), 'utf8').trim().split('\n');

test('a k6 on the PATH is taken as it is', async () => {
  putOnPath('k6', 'echo "k6 v2.1.0 (commit/0123456789, go1.26, linux/amd64)"');
  putOnPath('go', GO);
  expect(await find()).toEqual({ program: 'k6', version: 'v2.1.0' });
  expect(existsSync(join(folder, 'bin/go.calls'))).toBe(false);
});

test('a k6 on the PATH that is too old for TypeScript is passed over, and the pinned release is built', async () => {
  putOnPath('k6', 'echo "k6 v0.52.0 (go1.22, linux/amd64)"');
  putOnPath('go', GO);
  const built = join(folder, 'cache', K6_VERSION);
  expect(await find()).toEqual({ program: join(built, 'k6'), version: K6_VERSION });
  expect(lines[0]).toContain('v0.52.0');
  expect(readGoCalls()).toContain(`install go.k6.io/k6@${K6_VERSION} ${built}`);
});

test('what was built once is not built again', async () => {
  putOnPath('go', GO);
  const first = await find();
  expect(await find()).toEqual(first);
  expect(readGoCalls().filter((call) => call.startsWith('install'))).toHaveLength(1);
});

test('without k6 and without Go one sentence says how to get it', async () => {
  const error = await find().catch((error: unknown) => error);
  expect(error).toBeInstanceOf(NoK6Error);
  expect((error as Error).message).toMatch(/^There is no k6 .* install k6 \(.*\) or Go \(.*\), and run this again\.$/);
});

test('a build that fails is told in one sentence, after what Go had to say', async () => {
  putOnPath('go', 'if [ "$1" = install ]; then echo "no space left on device" >&2; exit 1; fi');
  await expect(find()).rejects.toThrow(NoK6Error);
  expect(lines.at(-1)).toBe('no space left on device');
});

test('another program that is called k6 is none', async () => {
  putOnPath('k6', 'echo "usage: something else"');
  await expect(find()).rejects.toThrow('There is no k6');
});
