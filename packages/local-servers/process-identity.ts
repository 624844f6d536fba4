import { execFileSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** One process, told from a later one that was given the same pid. `startedAt` is opaque: compare it, never parse it. */
export type ProcessIdentity = { pid: number; startedAt: string };

/** How often an end is looked for; a person does not notice the wait, and the look costs microseconds. */
const CHECK_INTERVAL_MS = 50;

/** The identity of a running process; undefined when none has that pid, or when it ended and only awaits its parent. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const startedAt = process.platform === 'linux' ? readLinuxStart(pid) : readPsStart(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
}

/** Whether this very process, not just its pid, still runs. */
export function isProcessRunning(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.startedAt === identity.startedAt;
}

/**
 * Whether the process was seen in the process table that we see. That of another container, which may live although we
 * do not see it, gives false, as does one of an earlier boot.
 */
export function isOfThisSystem(identity: ProcessIdentity): boolean {
  return process.platform !== 'linux' || identity.startedAt.endsWith(`@${readLinuxSystem()}`);
}

/** The command line of a running process as one string, empty when unknown. Arguments are separated by spaces. */
export function readCommandLine(pid: number): string {
  try {
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
    return execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' });
  } catch {
    return '';
  }
}

/** Resolves to whether the process ended within the limit. */
export async function waitForProcessEnd(identity: ProcessIdentity, limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs;
  while (isProcessRunning(identity)) {
    if (performance.now() >= deadline) return false;
    await sleep(CHECK_INTERVAL_MS);
  }
  return true;
}

/** Sends a signal, and returns false when the process was gone already. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isProcessRunning(identity)) return false;
  try {
    return process.kill(identity.pid, signal);
  } catch {
    return false;
  }
}

/**
 * Field 22 of /proc/<pid>/stat is the start in clock ticks since boot, so the boot's id and the container's go with it:
 * after a reboot the same pid may well start at the same tick.
 */
function readLinuxStart(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command's name in parentheses and may itself hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state, startTicks] = [fields[0], fields[19]];
    // A zombie holds its pid but nothing else; in a container without an init it may stay one for ever.
    if (state === 'Z' || state === 'X' || startTicks === undefined) return undefined;
    return `${startTicks}@${readLinuxSystem()}`;
  } catch {
    return undefined;
  }
}

/** Tells this boot of this machine, and this container on it, from others. */
function readLinuxSystem(): string {
  return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}@${readlinkSync('/proc/self/ns/pid')}`;
}

function readPsStart(pid: number): string | undefined {
  try {
    const output = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, LC_ALL: 'C' },
    });
    const [state, ...start] = output.trim().split(/\s+/);
    return state === undefined || state === '' || state.startsWith('Z') ? undefined : start.join(' ');
  } catch {
    return undefined;
  }
}
