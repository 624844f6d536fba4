import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** The release that is installed when there is none. `constraints.txt` has the versions of what it needs itself. */
export const SCHEMATHESIS_VERSION = '4.32.5';
/** Its options and its configuration file are those of version 4. */
const MAJOR = 4;
/** Some fifty packages from an empty cache, on a slow line. */
const INSTALL_TIMEOUT_MS = 10 * 60_000;
const ASK_TIMEOUT_MS = 30_000;
/** Of what pip prints, enough to see why it failed. */
const OUTPUT_BYTES_MAX = 4_000;
const CONSTRAINTS = join(import.meta.dirname, 'constraints.txt');

export interface FindOptions {
  /** Keeps the virtual environment, a folder for each version. */
  cacheFolder: string;
  /** Environment of the programs, with the PATH on which they are looked for. */
  env: NodeJS.ProcessEnv;
  /** Gets a line when it takes long, or when one is passed over. */
  log: (line: string) => void;
}

/** Says in one sentence why there is no Schemathesis, and what to do. */
export class NoSchemathesisError extends Error {}

export interface Schemathesis {
  program: string;
  version: string;
}

/** Takes it from the PATH, else from an earlier installation, else installs it. Throws NoSchemathesisError. */
export async function findSchemathesis({ cacheFolder, env, log }: FindOptions): Promise<Schemathesis> {
  const onPath = await readVersion('schemathesis', env);
  if (onPath !== undefined) {
    if (Number(onPath.split('.')[0]) === MAJOR) return { program: 'schemathesis', version: onPath };
    log(`The Schemathesis on the PATH is ${onPath}, and version ${MAJOR} is needed: it is passed over.`);
  }
  const folder = join(cacheFolder, SCHEMATHESIS_VERSION);
  const installed = { program: join(folder, 'bin/schemathesis'), version: SCHEMATHESIS_VERSION };
  if ((await readVersion(installed.program, env)) !== undefined) return installed;

  if ((await run('python3', ['--version'], env, ASK_TIMEOUT_MS)).code !== 0) {
    throw new NoSchemathesisError(
      `There is no Schemathesis ${MAJOR} on the PATH and no python3 to install it with: install Python (https://www.python.org/downloads/) or Schemathesis (https://schemathesis.readthedocs.io), and run this again.`,
    );
  }
  log(`There is no Schemathesis on the PATH: installing ${SCHEMATHESIS_VERSION} with Python, once, for this checkout.`);
  mkdirSync(cacheFolder, { recursive: true });
  const made = await run('python3', ['-m', 'venv', '--clear', folder], env, INSTALL_TIMEOUT_MS);
  const result = made.code === 0 ? await installInto(folder, env) : made;
  if (result.code === 0 && (await readVersion(installed.program, env)) !== undefined) return installed;
  if (result.output !== '') log(result.output.trimEnd());
  throw new NoSchemathesisError(
    `Schemathesis ${SCHEMATHESIS_VERSION} could not be installed (what was said is above): install it by hand (https://schemathesis.readthedocs.io) and run this again.`,
  );
}

function installInto(folder: string, env: NodeJS.ProcessEnv): ReturnType<typeof run> {
  const args = ['install', '--quiet', '--disable-pip-version-check', '--constraint', CONSTRAINTS];
  return run(join(folder, 'bin/pip'), [...args, `schemathesis==${SCHEMATHESIS_VERSION}`], env, INSTALL_TIMEOUT_MS);
}

/** "4.32.5"; undefined when there is no such program, or when it is something else. */
async function readVersion(program: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const { code, output } = await run(program, ['--version'], env, ASK_TIMEOUT_MS);
  return code === 0 ? /schemathesis[^\d]*(\d+\.\d+\.\d+)/i.exec(output)?.[1] : undefined;
}

/** Never rejects: a program that is not there has no exit code. */
function run(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  timeoutMs: number,
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    let output = '';
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-OUTPUT_BYTES_MAX);
    };
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs });
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', () => resolve({ code: null, output }));
    child.on('close', (code) => resolve({ code, output }));
  });
}
