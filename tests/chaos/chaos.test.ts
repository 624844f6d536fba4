import { readFileSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BREAKAGES } from './breakages.ts';
import { FAILPOINTS } from './cases/failpoints.ts';
import { CASES } from './cases/index.ts';
import { applyEdits, isEdited } from './preload/apply-edits.ts';
import { isNoticed } from './run.ts';
import { runCase } from './run-case.ts';

const ROOT = join(import.meta.dirname, '../..');
/** Each takes some twenty seconds; on a machine that does much else, several times that. */
const LIMIT_MS = 300_000;
const OPTIONS = { isShort: true, rate: 60, log: () => {} };

const chooseSeed = () => 1 + Math.floor(Math.random() * 2 ** 30);

describe.each(CASES.filter(({ isInTests }) => isInTests))('$name: $summary, in short', (chaosCase) => {
  it(
    'breaks no guarantee',
    async () => {
      const result = await runCase(chaosCase, { ...OPTIONS, seed: chooseSeed() });
      const { name, seed, acknowledged, repeats, recoveryMs, processEnds, offences } = result;
      console.log(JSON.stringify({ name, seed, acknowledged, repeats, recoveryMs, processEnds }));
      expect(offences).toEqual([]);
      expect(acknowledged).toBeGreaterThan(100);
    },
    LIMIT_MS,
  );
});

describe.each(BREAKAGES.filter(({ isInTests }) => isInTests))('a defect: $summary', (breakage) => {
  it(
    `is noticed by ${breakage.case}`,
    async () => {
      const { isRed, seen } = await isNoticed(breakage, { ...OPTIONS, seed: chooseSeed() });
      expect(isRed, seen.join('\n')).toBe(true);
    },
    LIMIT_MS,
  );
});

/** What services may load, by path. */
async function readSources(): Promise<Map<string, string>> {
  const sources = new Map<string, string>();
  for await (const path of glob('{packages,services}/**/*.ts', { cwd: ROOT, exclude: ['**/node_modules'] })) {
    sources.set(`/${path}`, readFileSync(join(ROOT, path), 'utf8'));
  }
  return sources;
}

it('every failpoint of the matrix is in the code, and every one in the code is in the matrix', async () => {
  const found = [...(await readSources()).values()].flatMap((text) =>
    [...text.matchAll(/\/\/ failpoint: ([\w.-]+)/g)].map(([, name]) => name!),
  );
  expect(found.toSorted()).toEqual(FAILPOINTS.map(({ name }) => name).toSorted());
});

describe.each(BREAKAGES)('the defect $name', ({ edits, case: name }) => {
  it('names a case, and text of one module of the code each', async () => {
    const sources = await readSources();
    expect(CASES.map((chaosCase) => chaosCase.name)).toContain(name);
    expect(edits.length).toBeGreaterThan(0);
    for (const edit of edits) {
      const paths = [...sources.keys()].filter((path) => isEdited(path, edit));
      expect(paths, edit.file).toHaveLength(1);
      expect(applyEdits(paths[0]!, sources.get(paths[0]!)!, edits)).not.toBe(sources.get(paths[0]!));
    }
  });
});
