import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Writes `name`.md, for people, and `name`.json, with all figures; folders are made. */
export function writeReport(name: string, text: string, figures: object): void {
  mkdirSync(dirname(name), { recursive: true });
  writeFileSync(`${name}.md`, `${text}\n`);
  writeFileSync(`${name}.json`, `${JSON.stringify(figures, undefined, 2)}\n`);
}
