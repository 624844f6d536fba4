import { execFileSync, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { listNodeEnvironment } from '@punctual/local-servers';
import { listFaultEnvironment } from '@punctual/testkit';

export interface ProcessEntry {
  pid: number;
  parentPid: number;
  command: string;
}

/** Every process of this machine that has not ended. */
export function listProcesses(): ProcessEntry[] {
  return process.platform === 'linux' ? listByProc() : listByPs();
}

// Small images have no `ps`.
function listByProc(): ProcessEntry[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.flatMap((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      // "pid (name) state parent …", where the name may hold anything.
      const [state, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
      return state === 'Z' ? [] : [{ pid: Number(pid), parentPid: Number(parent), command }];
    } catch {
      // It ended while it was looked at.
      return [];
    }
  });
}

function listByPs(): ProcessEntry[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,command='], { encoding: 'utf8' }).trim().split('\n');
  return lines.map((line) => {
    const [, pid, parentPid, command] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line)!;
    return { pid: Number(pid), parentPid: Number(parentPid), command: command! };
  });
}

/** A process and all that it started, itself first. */
export function listTree(pid: number): number[] {
  const children = Map.groupBy(listProcesses(), ({ parentPid }) => parentPid);
  const tree = [pid];
  for (const member of tree) tree.push(...(children.get(member) ?? []).map((child) => child.pid));
  return tree;
}

/** Sends a signal to a process and all that it started: what hits a machine hits all of them. Returns their pids. */
export function signalTree(pid: number, signal: NodeJS.Signals): number[] {
  const tree = listTree(pid);
  for (const member of tree) {
    try {
      process.kill(member, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
  return tree;
}

/** Whether a process of that pid has not ended; one that only awaits its parent has. */
export function isRunning(pid: number): boolean {
  return listProcesses().some((entry) => entry.pid === pid);
}

/** A program that a test started, with what it said so far. */
export interface Program {
  pid: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Settles when it has ended and everything it said is here. */
  exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  hasExited(): boolean;
  kill(signal: NodeJS.Signals): void;
}

/** Starts a program of ours with this Node. `env` replaces the environment, but for what Node itself needs. */
export function startProgram(entry: string, args: readonly string[], env: NodeJS.ProcessEnv, cwd?: string): Program {
  const child = spawn(process.execPath, [entry, ...args], {
    env: { ...listNodeEnvironment(), ...listFaultEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd !== undefined && { cwd }),
  });
  if (child.pid === undefined) throw new Error(`${entry} could not be started`);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  let isOver = false;
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on('close', (code, signal) => {
      isOver = true;
      resolve({ code, signal });
    });
  });
  return {
    pid: child.pid,
    get stdout() {
      return stdout;
    },
    get stderr() {
      return stderr;
    },
    exited,
    hasExited: () => isOver,
    kill: (signal) => void child.kill(signal),
  };
}
