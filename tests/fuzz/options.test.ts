import { expect, test } from 'vitest';
import { readOptions } from './options.ts';

test('without arguments ten thousand cases of a seed of their own are asked for', () => {
  expect(readOptions([])).toMatchObject({ kind: 'own', cases: 10_000, round: 0, seed: expect.any(Number) });
});

test('what was asked for is read, with and without the dashes that npm leaves', () => {
  expect(readOptions(['--', '--cases', '100000', '--seed', '42', '--round', '7', '--out', 'x'])).toMatchObject({
    cases: 100_000,
    seed: 42,
    round: 7,
    out: 'x',
  });
  expect(readOptions(['--schemathesis', '--examples', '5'])).toMatchObject({ kind: 'schemathesis', examples: 5 });
  expect(readOptions(['--help'])).toBeUndefined();
});

test.each([
  [['--cases', '0']],
  [['--cases', 'x']],
  [['--seed', '-1']],
  [['--round', '3']],
  [['--nonsense']],
  [['now']],
])('%j is refused', (args) => {
  expect(() => readOptions(args)).toThrow();
});
