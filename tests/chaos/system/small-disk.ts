import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Surroundings } from './surroundings.ts';

/** A new cluster with its log, and room for the traffic of a case. */
const DISK_MEGABYTES = 768;
const FILLER_PIECE_BYTES = 64 * 1_024;

/** Why no disk of our own can be made here; undefined when one can. */
export function findDiskObstacle(): string | undefined {
  if (process.platform !== 'linux' || process.geteuid?.() !== 0) return 'A small disk is mounted by root, on Linux.';
  try {
    execFileSync('mount', ['--version'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'There is no mount command.';
  }
}

/** A disk for Postgres alone, small enough to be filled. */
export async function mountSmallDisk(folder: string): Promise<Surroundings> {
  const disk = join(folder, 'disk');
  mkdirSync(disk);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MEGABYTES}m`, 'tmpfs', disk]);
  const filler = join(disk, 'filler');
  const postgresFolder = join(disk, 'postgres');
  return {
    postgresFolder,
    async strike() {
      const file = openSync(filler, 'w');
      const piece = Buffer.alloc(FILLER_PIECE_BYTES, 1);
      try {
        for (let bytes = 0; bytes < DISK_MEGABYTES * 2 ** 20; bytes += piece.length) writeSync(file, piece);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      } finally {
        closeSync(file);
      }
    },
    heal: () => Promise.resolve(rmSync(filler, { force: true })),
    stop: () => Promise.resolve(void execFileSync('umount', ['-l', disk])),
  };
}
