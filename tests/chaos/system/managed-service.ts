import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { signalTree } from '@punctual/e2e';
import {
  describeExit,
  findFreePort,
  LocalServerError,
  type ProcessExit,
  type RunningService,
  startService,
} from '@punctual/local-servers';
import type { ProcessFault } from '../judge/evidence.ts';
import { describeTweaks } from '../preload/describe-tweaks.ts';
import type { Tweaks } from '../preload/tweaks.ts';

export const ROLES = ['api', 'scheduler', 'worker'] as const;
export type Role = (typeof ROLES)[number];

export interface ManagedServiceOptions {
  name: string;
  role: Role;
  entry: string;
  env: NodeJS.ProcessEnv;
  logFile: string;
  tweaks?: Tweaks | undefined;
  log: (line: string) => void;
}

/** As orchestrators do: at once, and after a failed start a little later (ms). */
const RESPAWN_PAUSE_MS = 200;
const RESPAWN_FAILED_PAUSE_MS = 1_000;
/** A process that is to take another's place is ready by then (ms); the case fails otherwise. */
const READY_LIMIT_MS = 120_000;
/** Of the lines at level warn and above, those that are kept to be shown. */
const WARNINGS_KEPT_MAX = 50;
/** Of those, the ones told of a process that ended by itself: a stack trace, line by line, is among them. */
const LAST_WORDS_COUNT = 20;
/** Of what its processes did by themselves. */
const FAULTS_KEPT_MAX = 20;
/** How V8 ends a process that needs more memory than it may have. */
const OUT_OF_MEMORY: readonly (NodeJS.Signals | null)[] = ['SIGABRT', 'SIGTRAP'];
/**
 * Why a start may fail without a defect: the case keeps Postgres away, or the machine is too busy to answer in time; or
 * another program's connection has taken the port between two processes.
 */
const EXCUSES = /Postgres can not be reached|port \d+ is in use/;
/** Pino's number for the level. */
const WARN_LEVEL = 40;

/** A service as an orchestrator would keep it: when its process ends, another takes its place, on the same port. */
export class ManagedService {
  readonly name: string;
  readonly role: Role;
  /** Ends of its process before `stop`. */
  ends = 0;
  /** For whatever reason. */
  failedStarts = 0;
  /** Those that the case did not ask for, by `kill`, a failpoint or a limit of memory; and starts that failed for no good reason. */
  readonly faults: ProcessFault[] = [];
  /** Bytes logged so far, and the latest lines of some weight. */
  loggedBytes = 0;
  readonly warnings: string[] = [];
  readonly #options: ManagedServiceOptions;
  readonly #port: number;
  #tweaks: Tweaks | undefined;
  /** Of the process that runs, or starts. */
  #present: { tweaks: Tweaks | undefined; isKilled: boolean } = { tweaks: undefined, isKilled: false };
  #running: RunningService | undefined;
  #ready = Promise.withResolvers<void>();
  #isReady = false;
  #isStopping = false;
  /** Settles when a process may take the place of one that ended. */
  #release = Promise.resolve();
  #letGo: (() => void) | undefined;
  #living: Promise<void> | undefined;

  private constructor(options: ManagedServiceOptions, port: number) {
    this.#options = options;
    this.#port = port;
    this.#tweaks = options.tweaks;
    this.name = options.name;
    this.role = options.role;
  }

  /** Resolves when it is ready. Rejects when it does not start. */
  static async start(options: ManagedServiceOptions): Promise<ManagedService> {
    const service = new ManagedService(options, await findFreePort());
    await service.#startProcess();
    service.#living = service.#keepAlive();
    return service;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Of the process at this moment; undefined between two. */
  get pid(): number | undefined {
    return this.#running?.pid;
  }

  /** What the next process is to be like; a defect that was put in from the start stays. */
  tweak(tweaks: Tweaks | undefined): void {
    const edits = this.#options.tweaks?.edits;
    this.#tweaks = edits === undefined ? tweaks : { ...tweaks, edits };
  }

  /** Kills the process, if there is one; another will follow. */
  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    if (!this.#running?.kill(signal)) return;
    this.#present.isKilled = true;
    this.#markGone();
  }

  /** From now on nobody takes the place of a process that ends. */
  hold(): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#release = promise;
    this.#letGo = resolve;
  }

  /** The end of `hold`. */
  release(): void {
    this.#letGo?.();
  }

  freeze(): void {
    if (this.pid !== undefined) signalTree(this.pid, 'SIGSTOP');
  }

  thaw(): void {
    if (this.pid !== undefined) signalTree(this.pid, 'SIGCONT');
  }

  /** Resolves when there is a process that says it is ready; rejects when there is none for too long. */
  async waitUntilReady(): Promise<void> {
    const waiting = new AbortController();
    const late = sleep(READY_LIMIT_MS, undefined, { signal: waiting.signal }).then(() => {
      throw new Error(`${this.name} was not ready within ${READY_LIMIT_MS} ms`);
    });
    await Promise.race([this.#ready.promise, late]).finally(() => {
      late.catch(() => {});
      waiting.abort();
    });
  }

  /** Ends it for good, in order. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.release();
    this.thaw();
    await this.#running?.stop();
    await this.#living;
  }

  async #keepAlive(): Promise<void> {
    while (!this.#isStopping) {
      const exit = await this.#running?.exited;
      if (this.#isStopping) return;
      this.#running = undefined;
      this.ends += 1;
      if (exit && !this.#isAskedFor(exit)) {
        const lastWords = this.warnings.slice(-LAST_WORDS_COUNT).join('\n');
        this.#keepFault('end', `${this.name} ended with ${describeExit(exit)}. It said last:\n${lastWords}`);
      }
      this.#markGone();
      await Promise.all([sleep(RESPAWN_PAUSE_MS), this.#release]);
      while (!this.#isStopping && this.#running === undefined) {
        await this.#startProcess().catch(async (error: unknown) => {
          if (!(error instanceof LocalServerError)) this.#options.log(`${this.name}: ${error}`);
          this.#judgeFailedStart(String(error));
          await sleep(RESPAWN_FAILED_PAUSE_MS);
        });
      }
    }
  }

  async #startProcess(): Promise<void> {
    const { name, entry, env, logFile } = this.#options;
    const tweaks = this.#tweaks;
    this.#present = { tweaks, isKilled: false };
    const running = await startService({
      name,
      entry,
      env: { ...env, ...describeTweaks(tweaks) },
      port: this.#port,
      logFile,
      onLine: (line) => this.#keepLine(line),
      log: () => {},
    });
    this.#running = running;
    this.#isReady = true;
    this.#ready.resolve();
    if (this.#isStopping) await running.stop();
  }

  #isAskedFor({ signal }: ProcessExit): boolean {
    const { tweaks, isKilled } = this.#present;
    if (isKilled) return true;
    if (tweaks?.failpoint !== undefined && signal === 'SIGKILL') return true;
    return tweaks?.heapMegabytes !== undefined && OUT_OF_MEMORY.includes(signal);
  }

  // A failpoint, and a want of memory, may come before the service is ready.
  #judgeFailedStart(text: string): void {
    const { tweaks } = this.#present;
    this.failedStarts += 1;
    if (this.#isStopping || tweaks?.failpoint !== undefined || tweaks?.heapMegabytes !== undefined) return;
    if (!EXCUSES.test(text)) this.#keepFault('start', text);
  }

  #keepFault(kind: ProcessFault['kind'], text: string): void {
    if (this.faults.length < FAULTS_KEPT_MAX) this.faults.push({ kind, text });
  }

  #markGone(): void {
    if (this.#isReady) this.#ready = Promise.withResolvers<void>();
    this.#isReady = false;
  }

  #keepLine(line: string): void {
    this.loggedBytes += line.length + 1;
    appendFileSync(this.#options.logFile, `${line}\n`);
    const level = Number(/"level":(\d+)/.exec(line)?.[1] ?? WARN_LEVEL);
    if (level < WARN_LEVEL) return;
    this.warnings.push(`${this.name}: ${line}`);
    if (this.warnings.length > WARNINGS_KEPT_MAX) this.warnings.shift();
  }
}
