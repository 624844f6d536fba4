import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { LocalServerError, systemErrorCode } from './local-server-error.ts';

/** Valkey is the Redis fork that some systems ship instead; BullMQ runs on both. */
const PROGRAMS = ['redis-server', 'valkey-server'];
/** Where packages put them, should the PATH be a short one. */
const SYSTEM_FOLDERS = ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin'];
/** Debian's package installers ask this program whether they may start a service. */
const SERVICE_POLICY = '/usr/sbin/policy-rc.d';
const SERVICE_POLICY_BEFORE = `${SERVICE_POLICY}.before-punctual`;
/** Exit code 101 means "forbidden by policy". */
const FORBID_SERVICES =
  '#!/bin/sh\n# Punctual wrote this while it installs Redis, and removes it afterwards.\nexit 101\n';
/** Package lists and 2 MB of packages, over a slow line. */
const INSTALL_TIMEOUT_MS = 300_000;
/** Another package manager at work is waited for this long. */
const LOCK_TIMEOUT_S = 120;
const LAST_LINES_MAX = 5;

const NOT_FOUND =
  'No redis-server (or valkey-server) is on the PATH. Install one (Debian and Ubuntu: sudo apt-get install redis-server; ' +
  'macOS: brew install redis), or set REDIS_URL to a Redis that already runs.';

/**
 * The path of a Redis server program. When there is none, and we are root where apt-get exists, it is installed,
 * without starting a system service. Throws `redis_not_found` or `redis_install_failed`.
 */
export async function findOrInstallRedisServer(options: { log: (line: string) => void }): Promise<string> {
  const found = findRedisServer();
  if (found !== undefined) return found;
  const aptGet = findProgram('apt-get');
  if (process.geteuid?.() !== 0 || aptGet === undefined) throw new LocalServerError('redis_not_found', NOT_FOUND);
  options.log('Installing Redis with apt-get, because no redis-server is on the PATH.');
  await withoutStartingServices(() => installWithApt(aptGet));
  const installed = findRedisServer();
  if (installed === undefined) throw new LocalServerError('redis_not_found', NOT_FOUND);
  return installed;
}

function findRedisServer(): string | undefined {
  return PROGRAMS.map(findProgram).find((path) => path !== undefined);
}

function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== ''), ...SYSTEM_FOLDERS];
  return folders
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

async function installWithApt(aptGet: string): Promise<void> {
  const run = (args: string[]) =>
    promisify(execFile)(aptGet, ['-o', `DPkg::Lock::Timeout=${LOCK_TIMEOUT_S}`, ...args], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
      timeout: INSTALL_TIMEOUT_MS,
    });
  // Lists that cannot be refreshed may still be good enough; the installation has the last word.
  await run(['update']).catch(() => {});
  try {
    await run(['install', '-y', '--no-install-recommends', 'redis-server']);
  } catch (cause) {
    const output = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : String(cause);
    const last = output.split('\n').slice(-LAST_LINES_MAX).join('\n');
    throw new LocalServerError(
      'redis_install_failed',
      `Redis could not be installed with apt-get. ${NOT_FOUND}\n${last}`,
      { cause },
    );
  }
}

/** Puts a policy that forbids service starts in place, and what was there before back afterwards. */
async function withoutStartingServices(action: () => Promise<void>): Promise<void> {
  // An earlier run that was killed meanwhile has left its policy, with the system's own put aside.
  if (!existsSync(SERVICE_POLICY_BEFORE)) moveIfPresent(SERVICE_POLICY, SERVICE_POLICY_BEFORE);
  writeFileSync(SERVICE_POLICY, FORBID_SERVICES, { mode: 0o755 });
  try {
    await action();
  } finally {
    rmSync(SERVICE_POLICY, { force: true });
    moveIfPresent(SERVICE_POLICY_BEFORE, SERVICE_POLICY);
  }
}

function moveIfPresent(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error;
  }
}
