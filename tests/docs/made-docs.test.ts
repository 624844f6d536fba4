import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { listSettingNames } from '../../scripts/describe-docs/describe-configuration.ts';
import { findStaleDocs, MADE_DOCS } from '../../scripts/describe-docs.ts';
import { listFiles, ROOT } from './markdown-files.ts';

/** What the system, npm or the shell sets; none of it is a setting of ours. */
const SYSTEM_VARIABLES = ['PATH', 'HOME', 'SUDO_UID', 'INIT_CWD'];

const readSource = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const configuration = MADE_DOCS['docs/configuration.md']!();

test('docs that are made say what the code and the lock file say: `npm run docs` would change nothing', () => {
  expect(findStaleDocs()).toEqual([]);
});

test('every environment variable that the code reads is described', () => {
  const sources = ['packages', 'services', 'scripts', 'loadtest'].flatMap((folder) =>
    listFiles(join(ROOT, folder), (name) => /\.(ts|mjs)$/.test(name) && !name.includes('.test.')),
  );
  const read = sources
    .filter((path) => !path.includes('/test/'))
    .flatMap((path) => [...readSource(path).matchAll(/process\.env\.([A-Z_]+)/g)].map(([, name]) => name!));
  expect(read.length).toBeGreaterThan(5);
  const known = [...listSettingNames(), ...SYSTEM_VARIABLES];
  expect(read.filter((name) => !known.includes(name))).toEqual([]);
});

test.each(['api', 'scheduler', 'worker'])('every relation between settings of the %s is described', (service) => {
  // Sentences about one setting begin with its name; those of the schema itself are descriptions.
  const source = readSource(`services/${service}-service/config.ts`).replaceAll(/description:\s*(['"`]).*?\1,/gs, '');
  const sentences = [...source.matchAll(/(['`])([A-Z]+[_=][^'`]*\bmust\b[^'`]*)\1/g)].map(([, , text]) => text!);
  expect(sentences.length).toBeGreaterThan(0);
  // A template's values are not in its source: compare what comes before the first.
  const missing = sentences.filter((text) => !configuration.includes(text.split('${')[0]!));
  expect(missing).toEqual([]);
});
