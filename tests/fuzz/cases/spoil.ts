import fc from 'fast-check';
import type { CaseBody } from './case.ts';

/** More than the api of a fuzz run takes (bytes): see `api.ts`. */
const TOO_LARGE_BYTES = 300_000;
/** Beyond what the api takes (32), and beyond what a stack takes. */
const DEPTHS = [31, 32, 33, 100, 20_000] as const;

/** Values that have broken servers before. */
export const NASTY: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  2 ** 53,
  -(2 ** 31) - 1,
  '',
  ' ',
  '\u0000',
  '\ud800',
  '\uffff',
  '\u202e',
  '__proto__',
  'constructor',
  'x'.repeat(5_000),
  "'; DROP TABLE timers; --",
  '#{7*7}{{7*7}}%s%n',
  '../../../../etc/passwd',
  '<script>alert(1)</script>',
  '9999-12-31T23:59:60Z',
  '+275760-09-13T00:00:00.001Z',
  '2027-01-01T00:00:00+99:99',
  [],
  {},
  [[]],
  [null],
  { type: 'http' },
  { type: { type: 'duration' } },
  { $ref: '#' },
  { toString: 1, length: -1 },
];

/** Any UTF-16 units, halves of pairs included. */
const units = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 16 })
  .map((codes) => String.fromCharCode(...codes));

const anything = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...NASTY) },
  { weight: 2, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  { weight: 1, arbitrary: units },
);

type Path = readonly (string | number)[];

function listPaths(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  const isArray = Array.isArray(value);
  return [
    path,
    ...Object.entries(value).flatMap(([key, inner]) => listPaths(inner, [...path, isArray ? Number(key) : key])),
  ];
}

function changeAt(value: unknown, [step, ...rest]: Path, change: (inner: unknown) => unknown): unknown {
  if (step === undefined) return change(value);
  const copy: Record<string | number, unknown> = Array.isArray(value)
    ? ([...value] as never)
    : { ...(value as object) };
  const changed = changeAt(copy[step], rest, change);
  if (changed === undefined) delete copy[step];
  else copy[step] = changed;
  return copy;
}

/** Spoils a value in one place: puts something else there, takes it away, or adds a field. */
export function spoilValue(value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const kind = fc.constantFrom('replace', 'replace', 'replace', 'remove', 'add', 'wrap');
  return fc.tuple(value, fc.nat(), kind, anything).map(([good, at, how, other]) => {
    const paths = listPaths(good);
    return changeAt(good, paths[at % paths.length]!, (inner) => {
      if (how === 'remove') return undefined;
      if (how === 'wrap') return [inner];
      if (how === 'add' && typeof inner === 'object' && inner !== null) {
        return { ...inner, [typeof other === 'string' ? other : (JSON.stringify(other) ?? '')]: other };
      }
      return other;
    });
  });
}

/** A body as JSON, or as something that is nearly JSON. */
export function renderBody(value: fc.Arbitrary<unknown>): fc.Arbitrary<CaseBody> {
  const sound = value.map((each): CaseBody => ({ text: JSON.stringify(each) ?? '' }));
  const spoiled = fc.tuple(value, fc.nat(SPOILERS.length - 1), fc.nat()).map(([each, which, at]): CaseBody => {
    return SPOILERS[which]!(JSON.stringify(each) ?? '', at);
  });
  return fc.oneof({ weight: 6, arbitrary: sound }, { weight: 1, arbitrary: spoiled });
}

const bytes = (...parts: (string | Uint8Array)[]): CaseBody => ({
  base64: Buffer.concat(parts.map((part) => Buffer.from(part as string))).toString('base64'),
});
const replaceNumber = (text: string, number: string): string => text.replace(/(?<=[:[,])-?\d+(?:\.\d+)?/, number);

/** Ways to spoil JSON text; `at` chooses a place. */
const SPOILERS: readonly ((text: string, at: number) => CaseBody)[] = [
  (text, at) => ({ text: text.slice(0, at % (text.length + 1)) }),
  (text) => ({ text: `${text}${text}` }),
  (text) => ({ text: `\ufeff${text}` }),
  (text) => ({ text: text.replace(/^\{("(?:[^"\\]|\\.)*":)/, '{$1null,$1') }),
  (text) => ({ text: text.replace('{', '{"__proto__":{"scope":"admin"},') }),
  (text) => ({ text: text.replace('{', '{"constructor":{"prototype":{"scope":"admin"}},') }),
  (text) => ({ text: replaceNumber(text, '1e400') }),
  (text) => ({ text: replaceNumber(text, '-0') }),
  (text) => ({ text: replaceNumber(text, '007') }),
  (text) => ({ text: replaceNumber(text, '123456789012345678901234567890.5') }),
  (text) => ({ text: replaceNumber(text, 'NaN') }),
  (text) => ({ text: text.replace('"', '"\\u0000') }),
  (text) => ({ text: text.replace('"', '"\\ud800') }),
  (text) => ({ text: text.replaceAll('"', "'") }),
  (text) => ({ text: text.replace(/[}\]]$/, ',$&') }),
  (text) => ({ text: `/* */ ${text} // ` }),
  (text, at) => {
    const depth = DEPTHS[at % DEPTHS.length]!;
    return { text: `${'['.repeat(depth)}${text}${']'.repeat(depth)}` };
  },
  (text, at) => ({ text: text.replace('{', `{"payload":${'{"a":'.repeat(at % 40)}1${'}'.repeat(at % 40)},`) }),
  (text) => ({ text: JSON.stringify([text, 'x'.repeat(TOO_LARGE_BYTES)]) }),
  (text, at) => bytes(text.slice(0, at % (text.length + 1)), Uint8Array.of(0xff), text.slice(at % (text.length + 1))),
  (text) => bytes(Uint8Array.of(0xff, 0xfe), Buffer.from(text, 'utf16le')),
  (text) => bytes(Uint8Array.of(0x1f, 0x8b, 8, 0), text),
  (text) => bytes(text, Uint8Array.of(0)),
];
