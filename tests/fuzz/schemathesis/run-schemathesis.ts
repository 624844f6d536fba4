import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Origin, writeReport } from '@punctual/loadtest-command';
import { startService } from '@punctual/local-servers';
import type { FuzzCommand } from '../options.ts';
import { findSchemathesis, type Schemathesis } from './find-schemathesis.ts';

const ROOT = join(import.meta.dirname, '../../..');
/** Outside git, and gone with the installation. */
const CACHE = join(ROOT, 'node_modules/.cache/punctual-schemathesis');
const STANDALONE = join(ROOT, 'tests/docs/ephemeral-standalone.ts');
const CONFIG = join(import.meta.dirname, 'schemathesis.toml');
/** Requests under way at once: it spends most of its time thinking. */
const WORKERS = 2;
/** Of its output, the end is what counts (characters). */
const OUTPUT_LENGTH_MAX = 200_000;

/** Lets Schemathesis at a standalone of its own, which asks for keys. 1 when it found anything. */
export async function runSchemathesis(options: FuzzCommand, origin: Origin): Promise<number> {
  const tool = await findSchemathesis({ cacheFolder: CACHE, env: process.env, log: writeLine });
  const folder = mkdtempSync(join(tmpdir(), 'punctual-schemathesis-'));
  const key = `fuzz-${randomBytes(24).toString('hex')}`;
  try {
    writeLine('Starting Punctual, to be thrown away …');
    const service = await startService({
      name: 'standalone',
      entry: STANDALONE,
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        AUTH: 'on',
        BOOTSTRAP_API_KEY: key,
        // Whatever URLs are drawn, nothing is called.
        EGRESS_DENY: '0.0.0.0/0,::/0',
      },
      logFile: join(folder, 'standalone.log'),
      log: writeLine,
    });
    try {
      const { code, output } = await run(tool, options, service.url, key, folder);
      const faults = await checkEnd(service.url, key);
      for (const fault of faults) writeLine(fault);
      if (options.out !== undefined) writeSummary(options, origin, tool, output, faults);
      return code === 0 && faults.length === 0 ? 0 : 1;
    } finally {
      await service.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What it prints goes on as it comes. */
function run(
  tool: Schemathesis,
  { examples, seed }: FuzzCommand,
  url: string,
  key: string,
  folder: string,
): Promise<{ code: number | null; output: string }> {
  const args = [
    ['--config-file', CONFIG, '--no-color', 'run', `${url}/v1/openapi.json`],
    ['--max-examples', String(examples), '--seed', String(seed), '--workers', String(WORKERS)],
  ].flat();
  return new Promise((resolve, reject) => {
    let output = '';
    const child = spawn(tool.program, args, {
      // It keeps notes in its working folder.
      cwd: folder,
      env: { ...process.env, SCHEMATHESIS_KEY: key },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-OUTPUT_LENGTH_MAX);
      process.stdout.write(text);
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

async function checkEnd(url: string, key: string): Promise<string[]> {
  const health = await fetch(`${url}/v1/health`);
  const ledger = await fetch(`${url}/v1/ledger`, { headers: { authorization: `Bearer ${key}` } });
  const { isBalanced } = (await ledger.json()) as { isBalanced?: boolean };
  return [
    ...(health.status === 200 ? [] : [`The health is ${health.status} at the end.`]),
    ...(isBalanced === true ? [] : ['The ledger is not balanced at the end.']),
  ];
}

function writeSummary(
  { out, seed, note }: FuzzCommand,
  origin: Origin,
  { version }: Schemathesis,
  output: string,
  faults: readonly string[],
): void {
  const summary = output.slice(Math.max(0, output.search(/^=+ SUMMARY =+$/m))).trim();
  const text = [
    `\`${origin.command}\` at \`${origin.commit}\`, ${origin.measuredAt.slice(0, 10)}`,
    '',
    `${origin.machine}; Schemathesis ${version}, seed ${seed}.${note === undefined ? '' : ` ${note}`}`,
    '',
    '```',
    summary,
    '```',
    '',
    ...(faults.length === 0 ? ['Healthy at the end, and the ledger balanced.'] : faults),
  ].join('\n');
  writeReport(out!, text, { ...origin, schemathesis: version, seed, summary, faults });
}

function writeLine(line: string): void {
  process.stderr.write(`${line}\n`);
}
