import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findProgram } from '../../packages/local-servers/index.ts';
import { ROOT } from '../docs/markdown-files.ts';

/** The release whose grammar the tests read PromQL by (`@prometheus-io/lezer-promql` 0.315), as a Go module counts it. */
const VERSION = 'v0.315.0';
/** Where Go puts what it builds. */
const BUILT = join(ROOT, '.punctual/tools');
/** Some hundred modules are fetched and compiled: minutes on a small machine. */
const BUILD_TIMEOUT_MS = 30 * 60_000;

const execute = promisify(execFile);

/** A program of Prometheus: of the PATH, or as Go built it here. Built when `mayBuild`; undefined when it is not to be had. */
export async function findTool(name: 'promtool' | 'prometheus', mayBuild: boolean): Promise<string | undefined> {
  const found = findProgram(name, [BUILT]);
  if (found !== undefined || !mayBuild) return found;
  mkdirSync(BUILT, { recursive: true });
  console.log(`Building ${name} ${VERSION} with Go; this takes minutes, once.`);
  await execute('go', ['install', `github.com/prometheus/prometheus/cmd/${name}@${VERSION}`], {
    env: { ...process.env, GOBIN: BUILT },
    timeout: BUILD_TIMEOUT_MS,
  });
  return findProgram(name, [BUILT]);
}

/** What a tool says of itself, in one line. */
export async function readVersion(tool: string): Promise<string> {
  const { stdout, stderr } = await execute(tool, ['--version']);
  return `${stdout}${stderr}`.split('\n')[0]!;
}
