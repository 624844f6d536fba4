import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { LocalServerError } from './local-server-error.ts';

const run = promisify(execFile);

/** How to start a program as a user other than root, or as ourselves when we are not root. */
export type RunAs = {
  /** Put before the command: a program that changes the user and then becomes the command, keeping its pid. */
  prefix: readonly string[];
  /** Used by `spawn` where there is no such program. */
  user?: { uid: number; gid: number };
  /** To whom the data folder must belong; undefined when we are not root. */
  owner?: { uid: number; gid: number };
};

/** Each probe starts two tiny programs; a machine that needs longer has other problems. */
const PROBE_TIMEOUT_MS = 10_000;

/**
 * Finds a way to run `binary` as one of the users, with access to `folder`, and proves it by running the binary.
 * Postgres refuses to run as root, and the usual checkout of a root user lies in a folder that only root may enter.
 *
 * In order: change the user with setpriv; the same and keep one capability, so that folders which the user may not
 * enter do not matter (reading them is enough, so that is tried first; containers often grant only the wider one);
 * change the user with spawn. `no_setuid_fixup` is needed because Postgres asks access(2) about its own binary, which
 * drops the capabilities of every real user but root unless told not to. They survive nothing else: the data folder's
 * owner and mode are checked as always. Measured with util-linux 2.38: 15 ms a probe.
 *
 * `prepare` is called before each user is tried and gives the folder to that user.
 */
export async function planRunAs(options: {
  binary: string;
  folder: string;
  /** In order of preference: a name or number that the machine must know, or ids that are taken as they are. */
  users: readonly (string | { uid: number; gid: number })[];
  prepare: (owner: { uid: number; gid: number }) => void;
}): Promise<RunAs> {
  if (process.geteuid?.() !== 0) return { prefix: [] };
  for (const name of options.users) {
    const owner = typeof name === 'string' ? await lookUpUser(name) : { uid: name.uid, gid: name.gid };
    if (owner === undefined) continue;
    try {
      options.prepare(owner);
    } catch {
      // A container may map only some users; to the others nothing can be given.
      continue;
    }
    for (const runAs of listWays(owner)) {
      if (await canRun(runAs, options.binary, options.folder)) return runAs;
    }
  }
  throw new LocalServerError(
    'no_unprivileged_user',
    `Postgres does not run as root, and no other user of this machine can be used to run ${options.binary} in ` +
      `${options.folder}: start Punctual as an ordinary user, or set DATABASE_URL to a Postgres that already runs.`,
  );
}

function listWays(owner: { uid: number; gid: number }): RunAs[] {
  const setpriv = ['setpriv', `--reuid=${owner.uid}`, `--regid=${owner.gid}`, '--clear-groups'];
  const keep = (capability: string) => [
    ...setpriv,
    '--securebits=+no_setuid_fixup',
    `--inh-caps=+${capability}`,
    `--ambient-caps=+${capability}`,
  ];
  return [
    { prefix: setpriv, owner },
    { prefix: keep('dac_read_search'), owner },
    { prefix: keep('dac_override'), owner },
    { prefix: [], user: owner, owner },
  ];
}

/** The ids of a user by name or number, when the machine knows it: initdb wants the user to have a name. */
async function lookUpUser(name: string): Promise<{ uid: number; gid: number } | undefined> {
  try {
    const [uid, gid] = await Promise.all(['-u', '-g'].map((flag) => run('id', [flag, name])));
    const user = { uid: Number(uid?.stdout), gid: Number(gid?.stdout) };
    return Number.isInteger(user.uid) && Number.isInteger(user.gid) && user.uid !== 0 ? user : undefined;
  } catch {
    return undefined;
  }
}

async function canRun(runAs: RunAs, binary: string, folder: string): Promise<boolean> {
  const script = 'cd -- "$1" && test -w . && exec "$2" --version';
  const [command = '/bin/sh', ...args] = [...runAs.prefix, '/bin/sh', '-c', script, 'probe', folder, binary];
  try {
    await run(command, args, { cwd: '/', timeout: PROBE_TIMEOUT_MS, ...runAs.user });
    return true;
  } catch {
    return false;
  }
}
