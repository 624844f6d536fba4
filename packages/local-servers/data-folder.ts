import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { CLAIM_FILE, claimFolder, type FolderClaim, isAbandoned } from './folder-claim.ts';
import { type GuardedProcessOptions, stopProcess } from './guarded-process.ts';
import { LocalServerError, systemErrorCode } from './local-server-error.ts';
import { isProcessRunning, type ProcessIdentity, waitForProcessEnd } from './process-identity.ts';

/** Says that everything in the folder is to be thrown away. */
const EPHEMERAL_MARKER = 'ephemeral';
/** What a file system or a desktop puts into an empty folder by itself. */
const HARMLESS_NAMES = ['lost+found', '.DS_Store'];

/**
 * Creates a folder with its parents. What root creates in a user's checkout belongs to that user, as everything else
 * there. Node's own recursive mkdir never returns where the parent exists but takes no folders (26.10: /proc/self/x).
 */
export function createDataFolder(path: string): void {
  if (existsSync(path) && statSync(path).isDirectory()) return;
  const parent = dirname(path);
  if (parent !== path) createDataFolder(parent);
  mkdirSync(path);
  const { uid, gid } = statSync(parent);
  if (process.geteuid?.() === 0 && uid !== 0) chownSync(path, uid, gid);
}

/**
 * A new folder for an ephemeral server or stack. Those of the same kind that a killed owner, or a power cut, left behind
 * are removed first: nobody else would.
 */
export function makeTemporaryFolder(kind: 'postgres' | 'redis' | 'stack'): string {
  const prefix = `punctual-${kind}-`;
  return explainFolderErrors(tmpdir(), () => {
    for (const name of readdirSync(tmpdir())) {
      const folder = join(tmpdir(), name);
      if (!name.startsWith(prefix) || !isAbandoned(folder)) continue;
      try {
        rmSync(folder, { recursive: true, force: true });
      } catch {
        // Another user's: that user's next start removes it.
      }
    }
    return mkdtempSync(join(tmpdir(), prefix));
  });
}

/**
 * Claims a folder for this process, having stopped what an owner that was killed left running in it, and removed what
 * an ephemeral server left. An ephemeral owner gets the folder only when it is empty. Throws `LocalServerError`.
 */
export async function openClaimedFolder(options: {
  folder: string;
  isEphemeral: boolean;
  serverName: string;
  stop: Pick<GuardedProcessOptions, 'stopSignal' | 'hardSignal' | 'stopTimeoutMs'>;
  /** Finds a server by other means than the claim. */
  findServer?: () => ProcessIdentity | undefined;
  log: (line: string) => void;
}): Promise<FolderClaim> {
  const { folder } = options;
  let claim = explainFolderErrors(folder, () => claimFolder(folder));
  const left = claim.leftBehind;
  for (const server of [left?.server, options.findServer?.()]) {
    if (server === undefined || !isProcessRunning(server)) continue;
    const what = `${options.serverName} running in ${folder}`;
    options.log(`An earlier Punctual was killed and left ${what}: stopping that one (process ${server.pid}).`);
    await stopProcess(server, options.stop);
  }
  // A guard that still runs may be about to remove the folder, our claim included: let it finish, and claim afresh.
  if (left?.guard !== undefined && isProcessRunning(left.guard)) {
    await waitForProcessEnd(left.guard, options.stop.stopTimeoutMs);
    claim.release();
    claim = explainFolderErrors(folder, () => {
      createDataFolder(folder);
      return claimFolder(folder);
    });
  }
  try {
    explainFolderErrors(folder, () => clearEphemeral(folder, options.isEphemeral));
  } catch (error) {
    claim.release();
    throw error;
  }
  return claim;
}

/** The names of what a data folder holds, without our own files and those that file systems put there. */
export function listContent(folder: string): string[] {
  const ours = (name: string) => name.startsWith(CLAIM_FILE) || name === EPHEMERAL_MARKER;
  return readdirSync(folder).filter((name) => !ours(name) && !HARMLESS_NAMES.includes(name));
}

/**
 * The marker is written into an empty folder and removed as the last thing, so whatever lies beside it may be removed.
 */
function clearEphemeral(folder: string, isEphemeral: boolean): void {
  const marker = join(folder, EPHEMERAL_MARKER);
  if (existsSync(marker)) {
    for (const name of listContent(folder)) rmSync(join(folder, name), { recursive: true, force: true, maxRetries: 3 });
    rmSync(marker, { force: true });
  }
  if (!isEphemeral) return;
  if (listContent(folder).length > 0) {
    throw new LocalServerError(
      'folder_not_empty',
      `The folder ${folder} holds data, which an ephemeral server would remove at its end: choose an empty folder.`,
    );
  }
  writeFileSync(marker, '');
}

/** Turns failures of the file system into one sentence about the folder. */
export function explainFolderErrors<T>(folder: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw explainFolderError(folder, error);
  }
}

/** The sentence for one failure; an error that is not the file system's comes back as it is. */
export function explainFolderError(folder: string, cause: unknown): unknown {
  const code = systemErrorCode(cause);
  if (cause instanceof LocalServerError || code === undefined || !(cause instanceof Error && 'syscall' in cause))
    return cause;
  if (code === 'ENOSPC' || code === 'EDQUOT') return diskFullError(folder);
  return new LocalServerError(
    'folder_not_writable',
    `The data folder ${folder} cannot be created or written (${code}): choose another folder, or correct its path or permissions.`,
    { cause },
  );
}

export function diskFullError(folder: string): LocalServerError {
  const message = `The disk that holds ${folder} is full: make room, or choose another folder.`;
  return new LocalServerError('disk_full', message, { isRetryable: true });
}
