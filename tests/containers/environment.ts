import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { listFences, readMarkdownFile } from '../docs/markdown-files.ts';

/** The page that says how to make the passwords. */
const PAGE = 'docs/deploying.md';

/** Runs what the page says makes `.env`, in a folder of its own. Returns the variables, and the file's mode. */
export function makeEnvironment(): { variables: Record<string, string>; mode: number } {
  const step = listFences(readMarkdownFile(PAGE).text).find(
    ({ info, text }) => info === 'sh' && text.includes('> .env'),
  );
  if (step === undefined) throw new Error(`${PAGE} does not say how .env is made`);
  const folder = mkdtempSync(join(tmpdir(), 'punctual-env-'));
  try {
    execFileSync('/bin/sh', ['-e', '-c', step.text], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
    const path = join(folder, '.env');
    return {
      variables: parseEnv(readFileSync(path, 'utf8')) as Record<string, string>,
      mode: statSync(path).mode & 0o777,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
