import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../../..');
/** A slow line and an empty cache. */
const INSTALL_LIMIT_MS = 15 * 60_000;

/** Version N−1 of the release after it: the last commit that was given out. To be moved with each release. */
export const PREVIOUS_COMMIT = '903d83dcd79833c0d253b23b4bc150df94ab3649';

/** Another version of this repository, with its packages installed. */
export interface OtherVersion {
  folder: string;
  remove(): Promise<void>;
}

/** Whether the history of this checkout is there: a shallow clone has no other version. */
export async function hasHistory(): Promise<boolean> {
  const { stdout } = await run('git', ['rev-parse', '--is-shallow-repository'], { cwd: ROOT }).catch(() => ({
    stdout: '',
  }));
  return stdout.trim() === 'false';
}

/** Puts a commit into a temporary folder and has it install its packages, as it does by itself. Throws when there is no such commit. */
export async function openVersion(commit: string): Promise<OtherVersion> {
  const folder = await mkdtemp(join(tmpdir(), 'punctual-version-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    await run('git', ['clone', '--quiet', '--no-checkout', ROOT, folder]);
    await run('git', ['checkout', '--quiet', '--detach', commit], { cwd: folder });
    // Any command installs what is missing before it begins; this one only says how it is used.
    await run(process.execPath, [join(folder, 'scripts/bootstrap.mjs'), 'bench', '--help'], {
      cwd: folder,
      timeout: INSTALL_LIMIT_MS,
    });
    return { folder, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
