import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findSchemathesis, NoSchemathesisError, SCHEMATHESIS_VERSION } from './find-schemathesis.ts';

let folder: string;
let lines: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'punctual-find-schemathesis-'));
  mkdirSync(join(folder, 'bin'));
  lines = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Looks for it where nothing is on the PATH but what the test has put there. */
const find = () =>
  findSchemathesis({
    cacheFolder: join(folder, 'cache'),
    env: { PATH: join(folder, 'bin') },
    log: (line) => lines.push(line),
  });

function putProgram(path: string, script: string): void {
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}
const putOnPath = (name: string, script: string) => putProgram(join(folder, 'bin', name), script);

/** A Python that makes an environment whose pip notes what it was asked for. `pip`: what it does then. */
const createPython = (pip: string) => `if [ "$1" = -m ]; then
  target="$4"
  /bin/mkdir -p "$target/bin"
  { echo '#!/bin/sh'; echo 'echo "$@" >> "$0.calls"'; echo '${pip}'; } > "$target/bin/pip"
  /bin/chmod 755 "$target/bin/pip"
fi`;
const INSTALLS = `d=$(/usr/bin/dirname "$0"); { echo "#!/bin/sh"; echo "echo Schemathesis ${SCHEMATHESIS_VERSION}"; } > "$d/schemathesis"; /bin/chmod 755 "$d/schemathesis"`;

test('a Schemathesis 4 on the PATH is taken as it is', async () => {
  putOnPath('schemathesis', 'echo "Schemathesis 4.1.2"');
  expect(await find()).toEqual({ program: 'schemathesis', version: '4.1.2' });
  expect(existsSync(join(folder, 'cache'))).toBe(false);
});

test('another major version is passed over, and the pinned release is installed with the versions that go with it', async () => {
  putOnPath('schemathesis', 'echo "schemathesis, version 3.39.0"');
  putOnPath('python3', createPython(INSTALLS));
  const program = join(folder, 'cache', SCHEMATHESIS_VERSION, 'bin/schemathesis');
  expect(await find()).toEqual({ program, version: SCHEMATHESIS_VERSION });
  expect(lines[0]).toContain('3.39.0');
  const [call] = readFileSync(join(folder, 'cache', SCHEMATHESIS_VERSION, 'bin/pip.calls'), 'utf8').split('\n');
  expect(call).toMatch(new RegExp(`--constraint \\S+constraints.txt schemathesis==${SCHEMATHESIS_VERSION}$`));
  // What was installed once is not installed again.
  rmSync(join(folder, 'bin/python3'));
  expect(await find()).toEqual({ program, version: SCHEMATHESIS_VERSION });
});

test('without it and without Python one sentence says how to get it', async () => {
  const error = await find().catch((error: unknown) => error);
  expect(error).toBeInstanceOf(NoSchemathesisError);
  expect((error as Error).message).toMatch(/install Python .* or Schemathesis/);
});

test('an installation that fails shows what pip said', async () => {
  putOnPath('python3', createPython('echo "no matching distribution"; exit 1'));
  await expect(find()).rejects.toThrow(NoSchemathesisError);
  expect(lines.join('\n')).toContain('no matching distribution');
});

test('the versions that go with it are all pinned', () => {
  const constraints = readFileSync(join(import.meta.dirname, 'constraints.txt'), 'utf8')
    .trim()
    .split('\n');
  expect(constraints.length).toBeGreaterThan(10);
  for (const line of constraints) expect(line).toMatch(/^[A-Za-z0-9._-]+==[\w.]+$/);
});
