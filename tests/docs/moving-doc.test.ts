import { stripTypeScriptTypes } from 'node:module';
import { expect, test } from 'vitest';
import { listFences, readMarkdownFile } from './markdown-files.ts';
import { testPage } from './test-page.ts';

const PAGE = 'docs/moving.md';

testPage(PAGE, ['crontab', 'ts', 'sql']);

test(`every example of code in ${PAGE} can be read`, () => {
  const examples = listFences(readMarkdownFile(PAGE).text).filter(({ info }) => info === 'ts');
  expect(examples.length).toBeGreaterThan(2);
  // Throws where it is no TypeScript.
  for (const { text } of examples) stripTypeScriptTypes(text);
});
