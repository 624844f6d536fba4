import { execFile, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { waitUntil } from '../../packages/testkit/index.ts';
import { ROOT } from '../docs/markdown-files.ts';
import type { PostgresTools } from './postgres-tools.ts';

/** A copy of a gigabyte, on a slow disk (ms). */
const STEP_LIMIT_MS = 300_000;
/** Of one step's output; a server that starts tells a dozen. */
const LINES_MAX = 30;
const WIDTH_MAX = 300;
/** Where the page has its folders: in the operator's own file system they are folders of ours. */
const DATA = '/var/lib';
const MOUNTS = { [DATA]: 'var-lib', '/mnt': 'mnt' };
/** Where the tools are seen that are not the system's own: the user whom Postgres runs as may not enter our checkout. */
const TOOLS = '/opt';

/**
 * Carries out the steps of a runbook as they stand there: in a shell, as a user who is not root, who sees folders of ours in
 * place of /var/lib and /mnt. What was typed, and what came of it, is kept.
 */
export class Operator {
  readonly #folder = mkdtempSync(join(tmpdir(), 'punctual-runbook-'));
  readonly #tools: PostgresTools;
  readonly #user: { uid: number; gid: number };
  /** What was typed and what came of it, as a terminal shows it. */
  readonly transcript: string[] = [];
  #steps = 0;

  private constructor(tools: PostgresTools, user: { uid: number; gid: number }) {
    this.#tools = tools;
    this.#user = user;
    chmodSync(this.#folder, 0o755);
    for (const name of [...Object.values(MOUNTS), 'mnt/backup', 'var-lib/postgresql']) {
      mkdirSync(join(this.#folder, name));
      chownSync(join(this.#folder, name), user.uid, user.gid);
    }
  }

  static async create(tools: PostgresTools): Promise<Operator> {
    const [uid, gid] = await Promise.all(['-u', '-g'].map((flag) => promisify(execFile)('id', [flag, 'nobody'])));
    return new Operator(tools, { uid: Number(uid!.stdout), gid: Number(gid!.stdout) });
  }

  /** Notes what was done beside the commands, or seen. */
  note(sentence: string): void {
    this.transcript.push(`# ${sentence}`);
  }

  /** Carries out a step and returns its output. Rejects when a command of it fails. */
  async run(step: string, variables: Record<string, string> = {}): Promise<string> {
    const output = await this.#type(step, variables);
    this.#record(step, output);
    return output;
  }

  /** Repeats a step that looks at something, until it has been seen. */
  async runUntil(pattern: RegExp, step: string, variables: Record<string, string> = {}): Promise<void> {
    let output = '';
    await waitUntil(
      `${pattern} is seen by ${step}`,
      async () => {
        output = await this.#type(step, variables);
        return pattern.test(output);
      },
      STEP_LIMIT_MS,
    );
    this.#record(step, output);
  }

  /** Ends whatever Postgres still runs in the folders, and removes them. */
  async close(): Promise<void> {
    for (const cluster of readdirSync(join(this.#folder, MOUNTS[DATA], 'postgresql')).map(
      (name) => `${DATA}/postgresql/${name}`,
    ))
      await this.#type(`! pg_ctl -D ${cluster} status > /dev/null || pg_ctl -D ${cluster} stop -m immediate`, {});
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 3 });
  }

  /** Carries out a step as ourselves, in a folder of ours: the checkout unless told. */
  async runHere(step: string, variables: Record<string, string> = {}, folder = ROOT): Promise<void> {
    const env = { ...process.env, ...variables };
    this.#record(step, await this.#execute(step, ['bash', '-euo', 'pipefail', '-c', step], { env, cwd: folder }));
  }

  #record(step: string, output: string): void {
    const lines = output.split('\n').map((line) => line.split('\r').at(-1)!.trimEnd());
    const told = lines.filter((line) => line !== '');
    const left = told.length - LINES_MAX;
    this.transcript.push(
      ...step
        .trimEnd()
        .split('\n')
        .map((line, index) => `${index === 0 ? '$' : '>'} ${line}`),
      ...told.slice(0, LINES_MAX).map((line) => (line.length > WIDTH_MAX ? `${line.slice(0, WIDTH_MAX)} …` : line)),
      ...(left > 0 ? [`(${left} lines more)`] : []),
    );
  }

  #type(step: string, variables: Record<string, string>): Promise<string> {
    const { bin, installed } = this.#tools;
    const tools = installed === undefined ? bin : join(TOOLS, bin);
    const env = { PATH: `${tools}:/usr/bin:/bin`, LC_ALL: 'C.UTF-8', TZ: 'UTC', ...variables };
    return this.#execute(step, ['unshare', '--mount', 'sh', '-euc', this.#makeEntrance(), 'sh', step], { env });
  }

  // To a file: a server that a step starts keeps its output open.
  async #execute(step: string, [program, ...args]: string[], options: SpawnOptions): Promise<string> {
    this.#steps += 1;
    const path = join(this.#folder, `step-${this.#steps}`);
    const file = openSync(path, 'w');
    try {
      const shell = spawn(program!, args, { stdio: ['ignore', file, file], timeout: STEP_LIMIT_MS, ...options });
      const [code, signal] = (await once(shell, 'exit')) as [number | null, NodeJS.Signals | null];
      const output = readFileSync(path, 'utf8');
      if (code !== 0) throw new Error(`This step ended with ${code ?? signal}:\n${step}\n${output}`);
      return output;
    } finally {
      closeSync(file);
    }
  }

  #makeEntrance(): string {
    const mounts = Object.entries(MOUNTS).map(([at, name]) => `mount --bind '${join(this.#folder, name)}' ${at}`);
    if (this.#tools.installed !== undefined) mounts.push(`mount --bind '${this.#tools.installed}' ${TOOLS}`);
    const { uid, gid } = this.#user;
    return [
      ...mounts,
      `cd /mnt && exec setpriv --reuid=${uid} --regid=${gid} --clear-groups bash -euo pipefail -c "$1"`,
    ].join('\n');
  }
}
