import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { systemErrorCode } from './local-server-error.ts';

/** Where packages put programs, should the PATH be a short one. */
const SYSTEM_FOLDERS = ['/usr/bin', '/usr/sbin', '/usr/local/bin', '/opt/homebrew/bin'];
/** Debian's package installers ask this program whether they may start a service. */
const SERVICE_POLICY = '/usr/sbin/policy-rc.d';
const SERVICE_POLICY_BEFORE = `${SERVICE_POLICY}.before-punctual`;
/** Exit code 101 means "forbidden by policy". */
const FORBID_SERVICES =
  '#!/bin/sh\n# Punctual wrote this while it installs a package, and removes it afterwards.\nexit 101\n';
/** Package lists and 2 MB of packages, over a slow line. */
const INSTALL_TIMEOUT_MS = 300_000;
/** Another package manager at work is waited for this long. */
const LOCK_TIMEOUT_S = 120;

/** The path of a program: in these folders, by the PATH, or where packages put it. */
export function findProgram(name: string, first: readonly string[] = []): string | undefined {
  const folders = [
    ...first,
    ...(process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== ''),
    ...SYSTEM_FOLDERS,
  ];
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

/** Whether packages of the system can be installed: we are root where apt-get exists. */
export function canInstallPackages(): boolean {
  return process.geteuid?.() === 0 && findProgram('apt-get') !== undefined;
}

/** Installs a package of the system, without starting a service of it. Rejects with what apt-get said. */
export async function installPackage(name: string): Promise<void> {
  const run = (args: string[]) =>
    promisify(execFile)(findProgram('apt-get') ?? 'apt-get', ['-o', `DPkg::Lock::Timeout=${LOCK_TIMEOUT_S}`, ...args], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
      timeout: INSTALL_TIMEOUT_MS,
    });
  await withoutStartingServices(async () => {
    // Lists that cannot be refreshed may still be good enough; the installation has the last word.
    await run(['update']).catch(() => {});
    await run(['install', '-y', '--no-install-recommends', name]);
  });
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
