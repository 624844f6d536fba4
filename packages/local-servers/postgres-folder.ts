import { randomBytes } from 'node:crypto';
import {
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  lchownSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { createDataFolder, diskFullError, explainFolderErrors, listContent } from './data-folder.ts';
import type { FolderClaim } from './folder-claim.ts';
import { startGuardedProcess } from './guarded-process.ts';
import { LocalServerError, systemErrorCode } from './local-server-error.ts';
import type { PostgresBinaries } from './postgres-binaries.ts';
import { identifyProcess, type ProcessIdentity, readCommandLine } from './process-identity.ts';
import type { RunAs } from './unprivileged-user.ts';

/** The role that owns everything in a local Postgres. */
export const ROLE = 'punctual';

/** Postgres' own data directory inside our folder. It appears complete or not at all. */
const CLUSTER_FOLDER = 'cluster';
const INITIALIZING_PREFIX = 'initializing-';
const PASSWORD_FILE = 'punctual-password';

/** A new cluster takes 39 MB (18.4, measured), and nothing useful can be done in what little is left below this. */
const INIT_FREE_BYTES_MIN = 128 * 1024 * 1024;
/** Free space under which a failed initdb is put down to the full disk. */
const DISK_FULL_BYTES = 16 * 1024 * 1024;
const INIT_STOP_TIMEOUT_MS = 5_000;
const LAST_LINES_MAX = 5;

/** The environment of Postgres' programs: nothing of ours, PGDATA and the like least of all. */
export const POSTGRES_ENV = { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

export function clusterPath(dataDir: string): string {
  return join(dataDir, CLUSTER_FOLDER);
}

/** Postgres' own pid file, which it leaves behind only when it is killed. */
export function postmasterPath(dataDir: string): string {
  return join(clusterPath(dataDir), 'postmaster.pid');
}

export function readPassword(dataDir: string): string {
  const path = join(clusterPath(dataDir), PASSWORD_FILE);
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (cause) {
    const message = `The password file ${path} cannot be read, so this data folder cannot be used: restore it from a backup.`;
    throw new LocalServerError('not_a_data_folder', message, { cause });
  }
}

/** Creates the folder when there is none, and says whether it holds a cluster of this major version. */
export function openDataFolder(dataDir: string, majorVersion: string): { hasCluster: boolean } {
  return explainFolderErrors(dataDir, () => {
    createDataFolder(dataDir);
    const names = listContent(dataDir);
    const foreign = names.find((name) => name !== CLUSTER_FOLDER && !name.startsWith(INITIALIZING_PREFIX));
    if (foreign !== undefined) {
      throw new LocalServerError(
        'not_a_data_folder',
        `The folder ${dataDir} holds other things ("${foreign}") and is no data folder of Punctual: choose an empty or new one.`,
      );
    }
    if (!names.includes(CLUSTER_FOLDER)) return { hasCluster: false };
    const found = readMajorVersion(dataDir);
    if (found !== majorVersion) {
      throw new LocalServerError(
        'wrong_major_version',
        `The data folder ${dataDir} was made by Postgres ${found}, but this Punctual runs Postgres ${majorVersion}: ` +
          'move the data with pg_dump of the old version, or choose another folder.',
      );
    }
    return { hasCluster: true };
  });
}

/** Throws the file system's own error when the file exists but may not be read. */
function readMajorVersion(dataDir: string): string {
  try {
    return readFileSync(join(clusterPath(dataDir), 'PG_VERSION'), 'utf8').trim();
  } catch (cause) {
    if (systemErrorCode(cause) !== 'ENOENT') throw cause;
    const message = `The folder ${clusterPath(dataDir)} holds no Postgres data: restore it from a backup, or choose another data folder.`;
    throw new LocalServerError('not_a_data_folder', message, { cause });
  }
}

/** Whose the data is, when that is not root; undefined tells that a user has yet to be chosen. */
export function readDataOwner(dataDir: string): { uid: number; gid: number; isFixed: boolean } | undefined {
  const cluster = clusterPath(dataDir);
  const isFixed = existsSync(cluster);
  const { uid, gid } = statSync(isFixed ? cluster : dataDir);
  return uid === 0 ? undefined : { uid, gid, isFixed };
}

/** Gives the folder, and a cluster that belongs to root, to the user who is to run Postgres. */
export function giveDataFolder(dataDir: string, owner: { uid: number; gid: number }): void {
  chownSync(dataDir, owner.uid, owner.gid);
  const cluster = clusterPath(dataDir);
  if (!existsSync(cluster) || statSync(cluster).uid !== 0) return;
  for (const entry of readdirSync(cluster, { recursive: true, withFileTypes: true })) {
    lchownSync(join(entry.parentPath, entry.name), owner.uid, owner.gid);
  }
  // Last, so that a run that was killed half-way begins again.
  chownSync(cluster, owner.uid, owner.gid);
}

/** Removes what an initdb that was killed left behind. */
export function removeLeftovers(dataDir: string): void {
  for (const name of readdirSync(dataDir)) {
    if (name.startsWith(INITIALIZING_PREFIX)) {
      rmSync(join(dataDir, name), { recursive: true, force: true, maxRetries: 3 });
    }
  }
}

/** Makes a new cluster with a new random password. It is built beside its place and moved there in one step. */
export async function initCluster(options: {
  dataDir: string;
  binaries: PostgresBinaries;
  runAs: RunAs;
  claim: FolderClaim;
  isEphemeral: boolean;
}): Promise<void> {
  const { dataDir, runAs } = options;
  if (runAs.owner === undefined) checkUserHasName();
  const draft = join(dataDir, `${INITIALIZING_PREFIX}${process.pid}`);
  const passwordDraft = `${draft}.password`;
  if (readFreeBytes(dataDir) < INIT_FREE_BYTES_MIN) throw diskFullError(dataDir);
  explainFolderErrors(dataDir, () => {
    mkdirSync(draft, { mode: 0o700 });
    writeFileSync(passwordDraft, randomBytes(24).toString('base64url'), { mode: 0o600 });
    if (runAs.owner !== undefined) {
      for (const path of [draft, passwordDraft]) chownSync(path, runAs.owner.uid, runAs.owner.gid);
    }
  });

  const lines: string[] = [];
  const args = [
    ...[
      ...runAs.prefix,
      options.binaries.initdb,
      `--pgdata=${draft}`,
      `--username=${ROLE}`,
      `--pwfile=${passwordDraft}`,
    ],
    // The builtin provider sorts by code point in every release of every system: no index breaks with the libc.
    ...['--encoding=UTF8', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C'],
    // Without clean-up of its own: whether the disk is full shows in what a failure leaves.
    ...['--auth=scram-sha-256', '--no-instructions', '--no-clean', ...(options.isEphemeral ? ['--no-sync'] : [])],
  ];
  const [command = options.binaries.initdb, ...rest] = args;
  const initdb = await startGuardedProcess({
    command,
    args: rest,
    env: POSTGRES_ENV,
    cwd: '/',
    stopSignal: 'SIGTERM',
    hardSignal: 'SIGKILL',
    stopTimeoutMs: INIT_STOP_TIMEOUT_MS,
    output: { onLine: (line) => lines.push(line) },
    ...(runAs.user === undefined ? {} : { user: runAs.user }),
  });
  options.claim.record({ guard: initdb.guard, server: initdb.identity });
  const exit = await initdb.exited;
  if (exit.code !== 0) {
    const isDiskFull = readFreeBytes(dataDir) < DISK_FULL_BYTES;
    removeLeftovers(dataDir);
    if (isDiskFull) throw diskFullError(dataDir);
    const ending = exit.signal === null ? `with code ${exit.code}` : `by ${exit.signal}`;
    const last = lines.slice(-LAST_LINES_MAX).join('\n');
    throw new LocalServerError('init_failed', `Postgres could not set up ${dataDir}: initdb ended ${ending}.\n${last}`);
  }
  explainFolderErrors(dataDir, () => {
    renameSync(passwordDraft, join(draft, PASSWORD_FILE));
    renameSync(draft, clusterPath(dataDir));
    // Otherwise a power cut could undo the move after timers have been acknowledged.
    if (!options.isEphemeral) syncFolder(dataDir);
  });
}

/** The server that works in this folder's cluster by Postgres' own account, were ours lost. */
export function findOrphanServer(dataDir: string): ProcessIdentity | undefined {
  const cluster = clusterPath(dataDir);
  try {
    const pid = Number.parseInt(readFileSync(postmasterPath(dataDir), 'utf8'), 10);
    // The pid may be another program's by now.
    return readCommandLine(pid).includes(` ${cluster} `) ? identifyProcess(pid) : undefined;
  } catch {
    return undefined;
  }
}

/** A container may run us under any number; initdb insists on a name for it. */
function checkUserHasName(): void {
  try {
    userInfo();
  } catch (cause) {
    throw new LocalServerError(
      'no_unprivileged_user',
      `The user id ${process.geteuid?.()} has no entry in /etc/passwd, without which Postgres cannot set up its data: ` +
        'run as a user that has one, or set DATABASE_URL to a Postgres that already runs.',
      { cause },
    );
  }
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  fsyncSync(folder);
  closeSync(folder);
}

function readFreeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}
