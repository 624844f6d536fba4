import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  identifyProcess,
  isProcessRunning,
  type ProcessIdentity,
  signalProcess,
  waitForProcessEnd,
} from './process-identity.ts';

/** How a process ended: one of the two is set, as in Node's own `exit` event. */
export type ProcessExit = { code: number | null; signal: NodeJS.Signals | null };

export type GuardedProcessOptions = {
  command: string;
  args: readonly string[];
  env: NodeJS.ProcessEnv;
  cwd: string;
  /** First request to stop; what is still there after `stopTimeoutMs` gets `hardSignal`, and then KILL. */
  stopSignal: NodeJS.Signals;
  hardSignal: NodeJS.Signals;
  stopTimeoutMs: number;
  /** Removed with all its content once the process has ended, by the guard, so that it also happens when we are gone. */
  removeFolder?: string;
  /** Where standard output and error go: line by line to a function, or to a file without passing through us. */
  output: { onLine: (line: string) => void } | { file: string };
  /** Run the guard and its command as this user instead of ours. */
  user?: { uid: number; gid: number };
};

export type GuardedProcess = {
  /** The command's own process, not its guard. */
  identity: ProcessIdentity;
  guard: ProcessIdentity;
  /** Settles when the command has ended and its output has been read; never rejects. */
  exited: Promise<ProcessExit>;
  /** Sends one signal to the command; false when it has ended already. */
  kill(signal: NodeJS.Signals): boolean;
  /** Stops the command: within `stopTimeoutMs`, or by force a few seconds after it. May be called at any time, twice too. */
  stop(): Promise<ProcessExit>;
};

const GUARD_SCRIPT = fileURLToPath(new URL('./guard.sh', import.meta.url));

/** The same wait as in guard.sh between the hard signal and KILL. */
const HARD_STOP_TIMEOUT_MS = 10_000;

/** Output of a process that has ended is read for this long; a grandchild that kept the pipe open is not waited for. */
const LAST_OUTPUT_TIMEOUT_MS = 500;

/**
 * Starts a command under a guard process (guard.sh), in a session of its own, so that Ctrl-C at the terminal reaches us
 * alone. When this process ends in any way, kill -9 included, the guard stops the command. When the guard is killed
 * instead, we stop the command. When both are killed at once the command is left behind: the folder's next owner stops it.
 */
export async function startGuardedProcess(options: GuardedProcessOptions): Promise<GuardedProcess> {
  const file = 'file' in options.output ? openSync(options.output.file, 'a') : undefined;
  let guard: ChildProcess;
  try {
    guard = spawn('/bin/sh', guardArguments(options), {
      cwd: options.cwd,
      detached: true,
      env: options.env,
      // The fourth pipe is where the guard tells the command's pid.
      stdio: ['pipe', file ?? 'pipe', file ?? 'pipe', 'pipe'],
      ...options.user,
    });
  } finally {
    if (file !== undefined) closeSync(file);
  }
  const ended = once(guard, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  // The pipe only tells the guard that we live; that it may break when the guard is killed is no news to anybody.
  guard.stdin?.on('error', () => {});
  const outputRead =
    'onLine' in options.output ? readLines([guard.stdout, guard.stderr], options.output.onLine) : undefined;

  const pid = await readPid(guard, ended);
  const gone = { startedAt: 'ended before it was looked at' };
  const identity = identifyProcess(pid) ?? { pid, ...gone };
  const guardPid = guard.pid ?? 0;
  const guardIdentity = identifyProcess(guardPid) ?? { pid: guardPid, ...gone };

  const exited = ended.then(async ([code, signal]): Promise<ProcessExit> => {
    if (signal !== null) await stopAbandoned(identity, options);
    if (outputRead !== undefined)
      await Promise.race([outputRead, sleep(LAST_OUTPUT_TIMEOUT_MS, undefined, { ref: false })]);
    return signal === null ? decodeExitCode(code) : { code: null, signal };
  });
  return {
    identity,
    guard: guardIdentity,
    exited,
    kill: (signal) => signalProcess(identity, signal),
    stop: () => {
      guard.stdin?.destroy();
      return exited;
    },
  };
}

/**
 * Stops a process that no guard watches any more: `stopSignal`, `hardSignal`, KILL, each with its time.
 * Does nothing when it has ended. Resolves when it is gone, or after the last limit all the same.
 */
export async function stopProcess(
  identity: ProcessIdentity,
  stop: Pick<GuardedProcessOptions, 'stopSignal' | 'hardSignal' | 'stopTimeoutMs'>,
): Promise<void> {
  if (!signalProcess(identity, stop.stopSignal)) return;
  if (await waitForProcessEnd(identity, stop.stopTimeoutMs)) return;
  signalProcess(identity, stop.hardSignal);
  if (await waitForProcessEnd(identity, HARD_STOP_TIMEOUT_MS)) return;
  signalProcess(identity, 'SIGKILL');
  await waitForProcessEnd(identity, HARD_STOP_TIMEOUT_MS);
}

function guardArguments(options: GuardedProcessOptions): string[] {
  const stopSeconds = String(Math.max(1, Math.ceil(options.stopTimeoutMs / 1000)));
  // POSIX `kill -s` takes names without SIG.
  const [stopSignal, hardSignal] = [options.stopSignal.slice(3), options.hardSignal.slice(3)];
  return [
    GUARD_SCRIPT,
    stopSignal,
    stopSeconds,
    hardSignal,
    options.removeFolder ?? '',
    options.command,
    ...options.args,
  ];
}

async function readPid(guard: ChildProcess, ended: Promise<unknown>): Promise<number> {
  const channel = guard.stdio[3] as Readable;
  const line = (async () => {
    let text = '';
    for await (const chunk of channel) text += String(chunk);
    return text;
  })();
  // `ended` rejects when the guard could not be spawned at all; the channel then ends without a line.
  const [text] = await Promise.all([line, Promise.race([ended, line])]);
  const pid = Number.parseInt(text, 10);
  if (!Number.isInteger(pid)) throw new Error('The guard process ended before it had started its command.');
  return pid;
}

async function stopAbandoned(identity: ProcessIdentity, options: GuardedProcessOptions): Promise<void> {
  if (isProcessRunning(identity)) await stopProcess(identity, options);
  if (options.removeFolder !== undefined)
    await rm(options.removeFolder, { recursive: true, force: true, maxRetries: 3 });
}

async function readLines(streams: (Readable | null)[], onLine: (line: string) => void): Promise<void> {
  const open = streams.filter((stream) => stream !== null);
  await Promise.all(open.map((input) => once(createInterface({ input }).on('line', onLine), 'close')));
}

/** A shell reports the end by signal N as exit code 128 + N. */
function decodeExitCode(code: number | null): ProcessExit {
  const signal = Object.entries(constants.signals).find(([, number]) => number + 128 === code)?.[0];
  return signal === undefined ? { code, signal: null } : { code: null, signal: signal as NodeJS.Signals };
}
