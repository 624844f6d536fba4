import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { listFences, ROOT, readMarkdownFile } from './markdown-files.ts';
import { useStandalone } from './use-standalone.ts';

const PAGE = 'docs/command.md';
/** Some twenty processes, one after the other, on a machine that may do much else. */
const PAGE_LIMIT_MS = 240_000;
/** Stands behind the output of each block. */
const END = '== end of block ==';
/** Stands for what differs each time. */
const ANYTHING = '…';

const standalone = useStandalone();
const folder = mkdtempSync(join(tmpdir(), 'punctual-command-doc-'));
afterAll(() => rmSync(folder, { recursive: true }));

const fences = listFences(readMarkdownFile(PAGE).text).filter(({ info }) => info !== 'text');

/** Runs the blocks in one shell, in a folder of their own, and returns what each said. */
async function runBlocks(blocks: readonly string[]): Promise<string[]> {
  symlinkSync(join(ROOT, 'services/command/main.ts'), join(folder, 'punctual'));
  const script = blocks.map((block) => `{\n${block}\n} 2>&1\necho '${END}'`).join('\n');
  const shell = spawn('bash', ['-c', script], {
    cwd: folder,
    env: {
      PATH: `${folder}:${dirname(process.execPath)}:${process.env.PATH}`,
      HOME: process.env.HOME,
      PUNCTUAL_URL: standalone.url,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  for await (const part of shell.stdout.setEncoding('utf8')) text += part;
  return text.split(`${END}\n`).slice(0, -1);
}

/** Lines as the page shows them; what it leaves open may be anything, of one line or, alone on a line, of several. */
function toPattern(example: string): RegExp {
  const quote = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const lines = example.trimEnd().split('\n');
  const patterns = lines.map((line) =>
    line === ANYTHING ? '(?:.*\\n)*?.*' : line.split(ANYTHING).map(quote).join('.*?'),
  );
  return new RegExp(`^${patterns.join('\\n')}\\n$`);
}

test(
  `every block of ${PAGE} says what the page shows`,
  async () => {
    const blocks = fences.filter(({ info }) => info === 'sh');
    expect(blocks.length).toBeGreaterThan(7);
    expect(fences.map(({ info }) => info)).toEqual(blocks.flatMap(() => ['sh', 'text answer']));
    const said = await runBlocks(blocks.map(({ text }) => text));
    const answers = fences.filter(({ info }) => info === 'text answer');
    for (const [index, { text, line }] of answers.entries()) {
      expect(said[index], `${PAGE}, block at line ${line}`).toMatch(toPattern(text));
    }
  },
  PAGE_LIMIT_MS,
);
