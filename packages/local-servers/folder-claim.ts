import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LocalServerError } from './local-server-error.ts';
import { identifyProcess, isOfThisSystem, isProcessRunning, type ProcessIdentity } from './process-identity.ts';

/** Who works in a data folder. `guard` and `server` are added once they run. */
type ClaimRecord = {
  owner: ProcessIdentity;
  guard?: ProcessIdentity;
  server?: ProcessIdentity;
};

export type FolderClaim = {
  /** What an owner that was killed left behind, or undefined after an orderly end. */
  leftBehind: Omit<ClaimRecord, 'owner'> | undefined;
  /** Writes down the processes to stop if we are killed together with the guard. */
  record(processes: { guard: ProcessIdentity; server: ProcessIdentity }): void;
  /** Gives the folder free. Safe when it was removed already, and twice. */
  release(): void;
};

/** The claim's file name inside the folder. */
export const CLAIM_FILE = 'owner.json';

/** A claim is refused or succeeds at the first or second go; more only when several starts race on a stale claim. */
const CLAIM_TRIES_MAX = 5;

/**
 * Makes this process the folder's only owner, or throws `folder_in_use` naming the pid of the live one.
 *
 * A claim holds pid and start time, so a pid that was reused does not count as alive. It is judged by this machine's
 * process table: two containers that share a volume do not see each other.
 */
export function claimFolder(folder: string): FolderClaim {
  const path = join(folder, CLAIM_FILE);
  const owner = identifyProcess(process.pid);
  if (owner === undefined) throw new Error('This process cannot read its own start time.');
  let leftBehind: ClaimRecord | undefined;

  for (let tries = 0; tries < CLAIM_TRIES_MAX; tries += 1) {
    // What was left behind stays on record until it is dealt with: we might be killed meanwhile, too.
    const mine: ClaimRecord = { ...leftBehind, owner };
    if (createExclusively(path, mine)) return makeClaim(path, mine, leftBehind);
    const found = readRecord(path);
    if (found !== undefined && isProcessRunning(found.owner)) {
      const who =
        found.owner.pid === process.pid ? 'this very process' : `another Punctual, process ${found.owner.pid}`;
      throw new LocalServerError(
        'folder_in_use',
        `The data folder ${folder} is in use by ${who}: stop that one first, or choose another folder.`,
      );
    }
    if (found !== undefined) leftBehind = found;
    removeStale(path, found);
  }
  throw new LocalServerError(
    'folder_in_use',
    `Several processes try to take the data folder ${folder} at the same time: start only one of them.`,
    { isRetryable: true },
  );
}

/** Whether the folder's owner, and whatever it started there, ended without removing it. False when nobody can tell. */
export function isAbandoned(folder: string): boolean {
  const record = readRecord(join(folder, CLAIM_FILE));
  if (record === undefined || !isOfThisSystem(record.owner)) return false;
  return ![record.owner, record.guard, record.server].some((one) => one !== undefined && isProcessRunning(one));
}

function makeClaim(path: string, mine: ClaimRecord, leftBehind: ClaimRecord | undefined): FolderClaim {
  let isReleased = false;
  return {
    leftBehind,
    record: (processes) => {
      const draft = `${path}.${process.pid}`;
      writeFileSync(draft, JSON.stringify({ owner: mine.owner, ...processes }));
      renameSync(draft, path);
    },
    release: () => {
      if (!isReleased) rmSync(path, { force: true });
      isReleased = true;
    },
  };
}

/** Writes a whole file or none, and only where there is none: a link, unlike a rename, never replaces. */
function createExclusively(path: string, content: ClaimRecord): boolean {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, JSON.stringify(content));
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * Two starts may judge the same claim stale, and the slower one must not remove the claim that the faster one has made
 * since. So the file is moved aside first, looked at, and put back when it is not the one that was judged.
 */
function removeStale(path: string, judged: ClaimRecord | undefined): void {
  const aside = `${path}.stale-${process.pid}`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  const moved = readRecord(aside);
  if (moved !== undefined && JSON.stringify(moved) !== JSON.stringify(judged)) {
    try {
      linkSync(aside, path);
    } catch {
      // A third start has claimed the folder in between; Postgres' own pid file still keeps the two apart.
    }
  }
  rmSync(aside, { force: true });
}

/** Undefined when there is no claim, or none that can be read: such a file is stale by definition. */
function readRecord(path: string): ClaimRecord | undefined {
  try {
    const record: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof record !== 'object' || record === null || !('owner' in record)) return undefined;
    return record as ClaimRecord;
  } catch {
    return undefined;
  }
}
