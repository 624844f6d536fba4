import { listHostileUrls, ODD_PUBLIC_URLS } from '@punctual/hostile-urls';
import type { ApiDocument, JsonSchema } from '@punctual/testkit';
import fc from 'fast-check';
import { nameId, POOL_SIZES, type PoolName } from './case.ts';

/** Strings are shorter than their schemas allow as a rule; the limits themselves are tried now and then. */
const STRING_LENGTH_USUAL = 24;
const ITEMS_USUAL = 4;
/** Nothing listens there; no worker runs that could call it. */
const HOSTILE_PORT = 9;

/** The name of an id of the pool that a field's name suggests, mostly one's own. */
export function idNamed(field: string): fc.Arbitrary<string> {
  const pool = guessPool(field);
  const index = fc.nat(POOL_SIZES[pool] - 1);
  return fc.oneof(
    { weight: 6, arbitrary: index.map((at) => nameId('own', pool, at)) },
    { weight: 3, arbitrary: index.map((at) => nameId('other', pool, at)) },
    { weight: 1, arbitrary: fc.uuid() },
    { weight: 1, arbitrary: fc.constantFrom('00000000-0000-0000-0000-000000000000', 'x', '..', "1'--") },
  );
}

function guessPool(field: string): PoolName {
  const lower = field.toLowerCase();
  if (lower.includes('dead-letters')) return 'deadLetter';
  return (['workflow', 'run', 'key', 'tenant'] as const).find((pool) => lower.includes(pool)) ?? 'timer';
}

const instants = fc.oneof(
  fc.date({ min: new Date(0), max: new Date('2040-01-01'), noInvalidDate: true }).map((date) => date.toISOString()),
  fc.constantFrom(
    '2027-01-01T00:00:00Z',
    '2028-02-29T23:59:59.999Z',
    '2027-03-28T02:30:00+01:00',
    '1970-01-01T00:00:00Z',
    '2016-12-31T23:59:60Z',
    '9999-12-31T23:59:59Z',
    '2027-01-01t00:00:00z',
    '2027-01-01T00:00:00.000000001Z',
  ),
);
const urls = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('https://example.com/hook', ...ODD_PUBLIC_URLS) },
  { weight: 1, arbitrary: fc.constantFrom(...listHostileUrls(HOSTILE_PORT).map(({ url }) => url)) },
);
const cursors = fc.oneof(
  fc.nat(POOL_SIZES.cursor - 1).map((at) => nameId('own', 'cursor', at)),
  fc.nat(POOL_SIZES.cursor - 1).map((at) => nameId('other', 'cursor', at)),
  fc.constantFrom('MTA', 'x'.repeat(200), '====', 'LTEuMDE5'),
);

/** What makes sense in fields of these names, where the schema alone would let next to nothing sensible come about. */
const BY_FIELD: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  url: urls,
  cursor: cursors,
  // Nobody is to wait for long; no token can be guessed.
  waitSeconds: fc.constantFrom(0, 0, 0, 1),
  timeZone: fc.constantFrom(
    'UTC',
    'Europe/Paris',
    'Asia/Kolkata',
    'Etc/GMT+12',
    'europe/paris',
    'Nowhere/City',
    '../etc',
  ),
  // Few, so that they meet.
  externalId: fc.constantFrom('e1', 'e2', 'e3', 'é', '\u{1f600}'),
  key: fc.constantFrom('a', 'b', 'c', 'd', 'a.b-c_D'),
  after: fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 3 }),
  taskKey: fc.constantFrom('a', 'b', 'nothing'),
  version: fc.constantFrom(1, 2, 3),
  bucket: fc.constantFrom('minute', 'hour', 'day', '1', '900', '86400000', '0'),
  status: fc.constantFrom('scheduled', 'dead', 'running,paused', 'active', 'failed', 'nonsense', ''),
  signingSecret: fc.constantFrom('generate', `whsec_${'A'.repeat(44)}`, 'whsec_AAAA', 'whsec_'),
  value: fc.oneof(fc.nat(100), fc.integer({ min: 0, max: 400_000_000 }), fc.maxSafeInteger()),
};

// What is stored is shown again: a stranger's id has no place in it, or every list would seem to give it away.
const json = fc.oneof(
  { weight: 3, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  { weight: 1, arbitrary: fc.constant(nameId('own', 'timer', 0)) },
);

/** Makes values that a schema lets through, most of the time. `field` is the name under which the value will stand. */
export function createValueMaker({
  components,
}: ApiDocument): (schema: JsonSchema, field: string) => fc.Arbitrary<unknown> {
  const make = (schema: JsonSchema, field: string): fc.Arbitrary<unknown> => {
    if (typeof schema.$ref === 'string') return make(components.schemas[schema.$ref.split('/').at(-1)!]!, field);
    const known = BY_FIELD[field];
    if (known && schema.type !== 'object' && (schema.type !== 'array' || field === 'after')) return known;
    if (Array.isArray(schema.enum)) return fc.constantFrom(...(schema.enum as unknown[]));
    const branches = (schema.oneOf ?? schema.anyOf) as JsonSchema[] | undefined;
    if (branches) return fc.oneof(...branches.map((branch) => make(branch, field)));
    switch (schema.type) {
      case 'null':
        return fc.constant(null);
      case 'boolean':
        return fc.boolean();
      case 'integer':
      case 'number':
        return makeNumber(schema);
      case 'string':
        return makeString(schema, field);
      case 'array':
        return makeArray(schema, field, make);
      case 'object':
        return makeObject(schema, make);
      default:
        return json;
    }
  };
  return make;
}

function makeNumber({ type, minimum = 0, maximum }: JsonSchema): fc.Arbitrary<number> {
  const min = minimum as number;
  const max = (maximum as number | undefined) ?? min + 100_000;
  const whole = { min: Math.ceil(min), max: Math.floor(max) };
  const usual = fc.integer({ ...whole, max: Math.min(whole.max, whole.min + 20) });
  const limits = fc.constantFrom(min, max);
  return type === 'integer'
    ? fc.oneof(usual, limits, fc.integer(whole))
    : fc.oneof(usual, limits, fc.double({ min, max, noNaN: true }));
}

function makeString(schema: JsonSchema, field: string): fc.Arbitrary<string> {
  if (schema.format === 'uuid') return idNamed(field);
  if (schema.format === 'date-time') return instants;
  if (typeof schema.pattern === 'string') return fc.stringMatching(new RegExp(schema.pattern));
  const minLength = (schema.minLength as number | undefined) ?? 0;
  const limit = schema.maxLength as number | undefined;
  const maxLength = Math.min(limit ?? STRING_LENGTH_USUAL, STRING_LENGTH_USUAL);
  const usual = fc.string({ minLength, maxLength, unit: 'grapheme' });
  if (limit === undefined) return usual;
  return fc.oneof({ weight: 20, arbitrary: usual }, { weight: 1, arbitrary: fc.constantFrom('x'.repeat(limit)) });
}

function makeArray(
  { items, minItems = 0, maxItems = ITEMS_USUAL }: JsonSchema,
  field: string,
  make: (schema: JsonSchema, field: string) => fc.Arbitrary<unknown>,
): fc.Arbitrary<unknown[]> {
  const maxLength = Math.max(minItems as number, Math.min(maxItems as number, ITEMS_USUAL));
  return fc.array(make(items as JsonSchema, field), { minLength: minItems as number, maxLength });
}

function makeObject(
  schema: JsonSchema,
  make: (schema: JsonSchema, field: string) => fc.Arbitrary<unknown>,
): fc.Arbitrary<object> {
  const { properties, required = [], additionalProperties } = schema;
  if (typeof additionalProperties === 'object' && additionalProperties !== null) {
    const key = fc.oneof(
      fc.constantFrom('a', 'x-a', 'label.k', '__proto__', ''),
      fc.string({ minLength: 1, maxLength: 12 }),
    );
    return fc.dictionary(key, make(additionalProperties as JsonSchema, 'value of a field'), { maxKeys: ITEMS_USUAL });
  }
  const fields = Object.entries((properties ?? {}) as Record<string, JsonSchema>);
  const makeField = ([name, inner]: [string, JsonSchema]): [string, fc.Arbitrary<unknown>] => {
    const value = make(inner, name);
    // With half of all fields in it hardly any request would make sense as a whole. JSON leaves the absent ones out.
    return [name, (required as string[]).includes(name) ? value : fc.oneof(ABSENT, { weight: 1, arbitrary: value })];
  };
  return fc.record(Object.fromEntries(fields.map(makeField)));
}

const ABSENT = { weight: 2, arbitrary: fc.constant(undefined) };
