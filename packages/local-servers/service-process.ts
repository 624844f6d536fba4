import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { findFreePort, LOOPBACK } from './free-port.ts';
import { type GuardedProcess, type ProcessExit, startGuardedProcess } from './guarded-process.ts';
import { LocalServerError } from './local-server-error.ts';

export type ServiceOptions = {
  /** Shown to people: "worker-2". */
  name: string;
  /** Path of the service's main.ts. */
  entry: string;
  /** The service's whole environment, but for PORT. */
  env: NodeJS.ProcessEnv;
  /** Port of 127.0.0.1 given to the service as PORT; by default a free one. */
  port?: number;
  /** Gets the service's output; emptied first. */
  logFile: string;
  /** Gets each line of output instead of the file. */
  onLine?: (line: string) => void;
  /** How long it may take until it is ready (ms). */
  readyTimeoutMs?: number;
  /** Gets one line when the service ends without having been asked to by `stop()`. */
  log: (line: string) => void;
};

export type RunningService = {
  name: string;
  pid: number;
  port: number;
  /** Without a path: "http://127.0.0.1:41234". */
  url: string;
  logFile: string;
  /** Sends one signal, SIGKILL and SIGSTOP included; false when the service has ended already. */
  kill(signal: NodeJS.Signals): boolean;
  /** SIGTERM, so that it drains; SIGKILL after 45 s. Resolves when it has ended; safe twice. */
  stop(): Promise<ProcessExit>;
  /** Settles when the service ends, for whatever reason. */
  exited: Promise<ProcessExit>;
};

/** An attempt may take 60 s but is given up after the drain's own limit (25 s); this is the limit of the limit. */
const SERVICE_STOP_TIMEOUT_MS = 45_000;
/** Starting takes a second; fifteen services and three Postgres side by side took 24 s on two cores. */
const READY_TIMEOUT_MS_DEFAULT = 120_000;
const READY_INTERVAL_MS = 50;
const READY_REQUEST_TIMEOUT_MS = 5_000;
const LAST_LINES_MAX = 20;
/** Characters of an answer that says no: all its checks. */
const ANSWER_SHOWN_MAX = 1_000;

/**
 * Starts one service as a process of its own and resolves when it says that it is ready. It ends with this process,
 * however that ends. Throws `start_failed` with the last lines of its log, or `start_timed_out`.
 */
export async function startService(options: ServiceOptions): Promise<RunningService> {
  const port = options.port ?? (await findFreePort());
  const url = `http://${LOOPBACK}:${port}`;
  writeFileSync(options.logFile, '');
  const lines: string[] = [];
  const { onLine, readyTimeoutMs = READY_TIMEOUT_MS_DEFAULT } = options;
  const keepLine = (line: string) => {
    lines.push(line);
    if (lines.length > LAST_LINES_MAX) lines.shift();
    onLine?.(line);
  };
  const child = await startGuardedProcess({
    command: process.execPath,
    args: [options.entry],
    env: { ...options.env, PORT: String(port) },
    cwd: process.cwd(),
    stopSignal: 'SIGTERM',
    hardSignal: 'SIGKILL',
    stopTimeoutMs: SERVICE_STOP_TIMEOUT_MS,
    output: onLine === undefined ? { file: options.logFile } : { onLine: keepLine },
  });
  let isStopping = false;
  const stop = () => {
    isStopping = true;
    return child.stop();
  };
  const readLastLines = () =>
    onLine === undefined ? readFileSync(options.logFile, 'utf8').trimEnd().split('\n').slice(-LAST_LINES_MAX) : lines;

  const obstacle = await waitUntilReady(child, `${url}/v1/health/ready`, readyTimeoutMs);
  if (obstacle !== undefined) {
    const { hasEnded, lastAnswer } = obstacle;
    const ending = hasEnded
      ? `ended with ${describeExit(await child.exited)}`
      : `was not ready after ${readyTimeoutMs / 1000} s (asked whether it is, it ${lastAnswer})`;
    await stop();
    throw new LocalServerError(
      hasEnded ? 'start_failed' : 'start_timed_out',
      `${options.name} ${ending}. The end of its log, ${options.logFile}:\n${readLastLines().join('\n')}`,
    );
  }
  void child.exited.then((exit) => {
    if (!isStopping) options.log(`${options.name} (process ${child.identity.pid}) ended with ${describeExit(exit)}.`);
  });
  const { name, logFile } = options;
  return { name, pid: child.identity.pid, port, url, logFile, kill: child.kill, stop, exited: child.exited };
}

/** "exit code 1" or "signal SIGKILL". */
export function describeExit(exit: ProcessExit): string {
  return exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`;
}

/** Undefined once the service is ready; otherwise what stood in the way. */
async function waitUntilReady(
  child: GuardedProcess,
  readyUrl: string,
  timeoutMs: number,
): Promise<{ hasEnded: boolean; lastAnswer: string } | undefined> {
  let hasEnded = false;
  void child.exited.then(() => {
    hasEnded = true;
  });
  const deadline = performance.now() + timeoutMs;
  let lastAnswer = 'was never asked';
  while (!hasEnded && performance.now() < deadline) {
    const answer = await askReady(readyUrl);
    if (answer === undefined) return undefined;
    lastAnswer = answer;
    await sleep(READY_INTERVAL_MS);
  }
  return { hasEnded, lastAnswer };
}

/** Undefined when it says that it is ready; otherwise what it answered, as the end of a sentence about it. */
async function askReady(readyUrl: string): Promise<string | undefined> {
  try {
    const response = await fetch(readyUrl, { signal: AbortSignal.timeout(READY_REQUEST_TIMEOUT_MS) });
    const text = await response.text();
    return response.status === 200 ? undefined : `answered ${response.status}: ${text.slice(0, ANSWER_SHOWN_MAX)}`;
  } catch (error) {
    const { message, cause } = error as Error;
    return `did not answer: ${cause instanceof Error ? cause.message : message}`;
  }
}
