import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { explainFolderError, makeTemporaryFolder, openClaimedFolder } from './data-folder.ts';
import { isPortFree, portInUseError } from './free-port.ts';
import type { ProcessExit } from './guarded-process.ts';
import { LocalServerError } from './local-server-error.ts';
import { findPostgresBinaries, type PostgresBinaries } from './postgres-binaries.ts';
import {
  findOrphanServer,
  giveDataFolder,
  initCluster,
  openDataFolder,
  readDataOwner,
  removeLeftovers,
} from './postgres-folder.ts';
import { POSTGRES_STOP, startOnCluster } from './postgres-server.ts';
import { planRunAs, type RunAs } from './unprivileged-user.ts';

export type PostgresOptions = {
  /** Holds the data and nothing else; created when missing. An ephemeral server may do without: it gets a temporary one. */
  dataDir?: string;
  /** Port of 127.0.0.1; by default a free one. */
  port?: number;
  /** Remove the folder at the end, however this process ends. Refused for a folder that holds data. */
  ephemeral?: boolean;
  /** Added to the defaults, and stronger than them. */
  settings?: Record<string, string>;
  /** Gets each line that Postgres logs, and a line for everything unusual that is done for it. */
  log: (line: string) => void;
};

export type RunningPostgres = {
  /** With password, and with the database `punctual`, which exists. */
  url: string;
  port: number;
  dataDir: string;
  pid: number;
  /** Fast shutdown: open transactions are rolled back. By force after 30 s. Resolves when it has ended; safe twice. */
  stop(): Promise<void>;
  /** Settles when Postgres ends, for whatever reason. */
  exited: Promise<ProcessExit>;
};

/** A free port may be taken by another program before Postgres has it; five times in a row is no accident. */
const PORT_TRIES_MAX = 5;

/**
 * Starts the Postgres that is installed with this package on a data folder of its own, as an unprivileged user when we
 * are root. What an owner that was killed left running there is stopped first; a live owner is respected.
 * Throws `LocalServerError`.
 */
export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await startOnce(options);
    } catch (error) {
      const isPortLost =
        error instanceof LocalServerError && error.code === 'port_in_use' && options.port === undefined;
      if (!isPortLost || tries >= PORT_TRIES_MAX) throw error;
    }
  }
}

async function startOnce(options: PostgresOptions): Promise<RunningPostgres> {
  const isEphemeral = options.ephemeral ?? false;
  const binaries = await findPostgresBinaries();
  if (options.port !== undefined && !(await isPortFree(options.port))) throw portInUseError(options.port);
  const dataDir = chooseFolder(options.dataDir, isEphemeral);
  openDataFolder(dataDir, binaries.majorVersion);
  const claim = await openClaimedFolder({
    folder: dataDir,
    isEphemeral,
    serverName: 'Postgres',
    stop: POSTGRES_STOP,
    findServer: () => findOrphanServer(dataDir),
    log: options.log,
  });
  const clear = async () => {
    claim.release();
    if (isEphemeral) await rm(dataDir, { recursive: true, force: true, maxRetries: 3 });
  };
  try {
    removeLeftovers(dataDir);
    const { hasCluster } = openDataFolder(dataDir, binaries.majorVersion);
    const runAs = await chooseUser(dataDir, binaries);
    if (!hasCluster) await initCluster({ dataDir, binaries, runAs, claim, isEphemeral });
    const { server, url, port } = await startOnCluster({ ...options, dataDir, binaries, runAs, claim, isEphemeral });
    const exited = server.exited.then(async (exit) => {
      await clear();
      return exit;
    });
    const stop = async () => {
      await server.stop();
      await exited;
    };
    return { url, port, dataDir, pid: server.identity.pid, stop, exited };
  } catch (error) {
    // What went wrong first is what matters, even when clearing up meets the same obstacle.
    await clear().catch(() => {});
    throw explainFolderError(dataDir, error);
  }
}

function chooseFolder(dataDir: string | undefined, isEphemeral: boolean): string {
  if (dataDir !== undefined) return resolve(dataDir);
  if (!isEphemeral) throw new TypeError('A Postgres that is not ephemeral needs a dataDir.');
  return makeTemporaryFolder('postgres');
}

/** Data that exists stays with its owner. Otherwise: the folder's owner, who called sudo, or a user that systems have. */
async function chooseUser(dataDir: string, binaries: PostgresBinaries): Promise<RunAs> {
  const owner = readDataOwner(dataDir);
  const candidates = owner === undefined ? [] : [owner.isFixed ? owner : String(owner.uid)];
  const sudoUser = process.env.SUDO_UID;
  if (owner?.isFixed !== true) candidates.push(...(sudoUser === undefined ? [] : [sudoUser]), 'postgres', 'nobody');
  return await planRunAs({
    binary: binaries.postgres,
    folder: dataDir,
    users: candidates,
    prepare: (user) => giveDataFolder(dataDir, user),
  });
}
