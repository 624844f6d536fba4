import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Folders that hold nothing of ours. */
const SKIPPED = new Set(['node_modules', '.git', '.punctual', 'coverage']);

/** One Markdown file. `path` is relative to the repository. */
export interface MarkdownFile {
  path: string;
  text: string;
}

/** A fenced block. `info` is what stands behind the opening fence. */
export interface Fence {
  info: string;
  text: string;
  /** Of the opening fence, from 1. */
  line: number;
}

/** Every Markdown file of the repository. */
export function listMarkdownFiles(): MarkdownFile[] {
  return listFiles(ROOT, (name) => name.endsWith('.md')).map(readMarkdownFile);
}

export function readMarkdownFile(path: string): MarkdownFile {
  return { path, text: readFileSync(join(ROOT, path), 'utf8') };
}

/** Paths, relative to the repository, of the files below `folder` whose names do. */
export function listFiles(folder: string, isWanted: (name: string) => boolean): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : listFiles(path, isWanted);
    return isWanted(entry.name) ? [relative(ROOT, path)] : [];
  });
}

/** The fenced blocks of a text, also those that are indented in a list. */
export function listFences(text: string): Fence[] {
  const fences: Fence[] = [];
  let open: (Fence & { indent: string }) | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    const [, indent = '', info = ''] = /^( *)```(.*)$/.exec(line) ?? [];
    if (!line.trimStart().startsWith('```')) {
      if (open) open.text += `${line.startsWith(open.indent) ? line.slice(open.indent.length) : line}\n`;
    } else if (open) {
      fences.push({ info: open.info, text: open.text, line: open.line });
      open = undefined;
    } else {
      open = { info, text: '', line: index + 1, indent };
    }
  }
  return fences;
}

/** The text without its fenced blocks, line for line. */
export function withoutFences(text: string): string {
  let isOpen = false;
  return text
    .split('\n')
    .map((line) => {
      const isFence = line.trimStart().startsWith('```');
      if (isFence) isOpen = !isOpen;
      return isOpen || isFence ? '' : line;
    })
    .join('\n');
}
