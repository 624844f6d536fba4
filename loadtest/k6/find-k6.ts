import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Runs TypeScript as it is, as all from 1.0 do. Version 2 has another module path; its source could not be had from the
 * Go module proxy when this was written.
 */
export const K6_VERSION = 'v1.8.1';
const K6_MAJOR_MIN = 1;
/** A build on two cores takes three to five minutes, the download of its 200 modules included. */
const BUILD_TIMEOUT_MS = 20 * 60_000;
const ASK_TIMEOUT_MS = 30_000;
/** Of what Go prints, enough to see why a build failed. */
const OUTPUT_BYTES_MAX = 4_000;

export interface FindOptions {
  /** Keeps what was built, a folder for each version. */
  cacheFolder: string;
  /** Environment of the programs, with the PATH on which they are looked for. */
  env: NodeJS.ProcessEnv;
  /** Ends a build. */
  signal?: AbortSignal;
  /** Gets a line when it takes long, or when a k6 is passed over. */
  log: (line: string) => void;
}

/** Says in one sentence why there is no k6, and what to do. */
export class NoK6Error extends Error {}

/** A program that may be started, and its version: "v1.8.1". */
export interface K6 {
  program: string;
  version: string;
}

/** Takes k6 from the PATH, else from an earlier build, else builds the pinned release. Throws `NoK6Error`. */
export async function findK6({ cacheFolder, env, signal, log }: FindOptions): Promise<K6> {
  const onPath = await readVersion('k6', env);
  if (onPath !== undefined) {
    if (readMajor(onPath) >= K6_MAJOR_MIN) return { program: 'k6', version: onPath };
    log(`The k6 on the PATH is ${onPath}, which does not run TypeScript: it is passed over.`);
  }
  const folder = join(cacheFolder, K6_VERSION);
  const built = { program: join(folder, 'k6'), version: K6_VERSION };
  if ((await readVersion(built.program, env)) !== undefined) return built;

  if ((await run('go', ['version'], env, ASK_TIMEOUT_MS)).code !== 0) {
    throw new NoK6Error(
      `There is no k6 v${K6_MAJOR_MIN}.0 or later on the PATH and no Go to build it with: install k6 (https://grafana.com/docs/k6/latest/set-up/install-k6/) or Go (https://go.dev/dl/), and run this again.`,
    );
  }
  log(`There is no k6 on the PATH: building ${K6_VERSION} with Go, once, which takes some minutes.`);
  mkdirSync(folder, { recursive: true });
  const result = await run(
    'go',
    ['install', `go.k6.io/k6@${K6_VERSION}`],
    // Go refuses to install into GOBIN for another platform than its own.
    { ...env, GOBIN: folder, GOOS: '', GOARCH: '' },
    BUILD_TIMEOUT_MS,
    signal,
  );
  if (result.code === 0 && (await readVersion(built.program, env)) !== undefined) return built;
  if (result.output !== '') log(result.output.trimEnd());
  throw new NoK6Error(
    `k6 ${K6_VERSION} could not be built with Go (what it said is above): install k6 by hand (https://grafana.com/docs/k6/latest/set-up/install-k6/) and run this again.`,
  );
}

/** "v1.8.1"; undefined when there is no such program, or when it is something else. */
async function readVersion(program: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const { code, output } = await run(program, ['version'], env, ASK_TIMEOUT_MS);
  return code === 0 ? /^k6(?:\.exe)? (v\d+\.\d+\.\d+)/m.exec(output)?.[1] : undefined;
}

function readMajor(version: string): number {
  return Number(/^v(\d+)/.exec(version)?.[1]);
}

/** Never rejects: a program that is not there has no exit code. */
function run(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    let output = '';
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-OUTPUT_BYTES_MAX);
    };
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs, signal });
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', () => resolve({ code: null, output }));
    child.on('close', (code) => resolve({ code, output }));
  });
}
