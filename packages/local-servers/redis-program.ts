import { LocalServerError } from './local-server-error.ts';
import { canInstallPackages, findProgram, installPackage } from './system-packages.ts';

/** Valkey is the Redis fork that some systems ship instead; BullMQ runs on both. */
const PROGRAMS = ['redis-server', 'valkey-server'];
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
  if (!canInstallPackages()) throw new LocalServerError('redis_not_found', NOT_FOUND);
  options.log('Installing Redis with apt-get, because no redis-server is on the PATH.');
  try {
    await installPackage('redis-server');
  } catch (cause) {
    const output = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : String(cause);
    const last = output.split('\n').slice(-LAST_LINES_MAX).join('\n');
    throw new LocalServerError(
      'redis_install_failed',
      `Redis could not be installed with apt-get. ${NOT_FOUND}\n${last}`,
      { cause },
    );
  }
  const installed = findRedisServer();
  if (installed === undefined) throw new LocalServerError('redis_not_found', NOT_FOUND);
  return installed;
}

function findRedisServer(): string | undefined {
  return PROGRAMS.map((name) => findProgram(name)).find((path) => path !== undefined);
}
