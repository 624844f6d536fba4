import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';

/** How long a helper process may take to answer one line (ms): a percentile over a million receipts takes some seconds. */
const ANSWER_TIMEOUT_MS_DEFAULT = 60_000;

/**
 * A process of the benchmark's own that is asked in lines and answers each with one line of JSON. It ends when its
 * standard input does, so it can not outlive the benchmark.
 */
export class Child {
  readonly process: ChildProcess;
  readonly #lines: Interface;
  readonly #waiting: ((line: string) => void)[] = [];

  /** Resolves when the process has ended, however it did. */
  readonly ended: Promise<void>;

  constructor(script: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
    this.process = spawn(process.execPath, [script, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
    });
    this.ended = new Promise((resolve) => this.process.on('exit', () => resolve()));
    this.#lines = createInterface({ input: this.process.stdout! });
    this.#lines.on('line', (line) => this.#waiting.shift()?.(line));
  }

  get pid(): number {
    return this.process.pid!;
  }

  /** The next line that it prints. */
  read<Answer>(timeoutMs: number = ANSWER_TIMEOUT_MS_DEFAULT): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no answer from ${this.process.spawnargs.join(' ')}`)),
        timeoutMs,
      );
      this.#waiting.push((line) => {
        clearTimeout(timer);
        resolve(JSON.parse(line) as Answer);
      });
    });
  }

  ask<Answer>(line: string, timeoutMs?: number): Promise<Answer> {
    const answer = this.read<Answer>(timeoutMs);
    this.process.stdin!.write(`${line}\n`);
    return answer;
  }

  stop(): void {
    this.process.stdin?.end();
  }
}
