import type { SourceEdit } from './tweaks.ts';

/** Whether a module, by its path or URL, is the one that an edit means. */
export function isEdited(path: string, { file }: SourceEdit): boolean {
  return path.endsWith(`/${file}`);
}

/** One module's text with the edits that mean it, each on what the ones before left. Throws where there is no such text. */
export function applyEdits(path: string, source: string, edits: readonly SourceEdit[]): string {
  return edits
    .filter((edit) => isEdited(path, edit))
    .reduce((text, { file, find, replace }) => {
      if (!text.includes(find)) throw new Error(`${file} has no text ${JSON.stringify(find)} to break`);
      return text.replace(find, () => replace);
    }, source);
}
