import type { ApiDocument, ApiOperation, JsonSchema } from '@punctual/testkit';
import fc from 'fast-check';
import { type Actor, type CaseBody, FRAMINGS, type FuzzCase } from './case.ts';
import { renderBody, spoilValue } from './spoil.ts';
import { createValueMaker, idNamed } from './values.ts';

/** Wrong ways to name a path, each of which some server takes for another. */
const PATH_SPOILERS: readonly ((path: string) => string)[] = [
  (path) => `${path}/`,
  (path) => `/${path}`,
  (path) => path.replace('/v1', '//v1'),
  (path) => `${path}/..`,
  (path) => `${path}/%2e%2e`,
  (path) => `${path}%00`,
  (path) => `${path}%zz`,
  (path) => `${path}%C3%28`,
  (path) => `${path};a=b`,
  (path) => `${path}.json`,
  (path) => `${path}#fragment`,
  (path) => path.toUpperCase(),
  (path) => path.replace('timers', '%74imers'),
  (path) => `http://127.0.0.1${path}`,
  (path) => path.replace(/[^/]+$/, 'x'.repeat(257)),
  (path) => path.replace(/[^/]+$/, ''),
  (path) => `${path}/nothing`,
];
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY'] as const;

const CONTENT_TYPES = [
  'application/json; charset=utf-8',
  'application/json; charset=utf-16',
  'APPLICATION/JSON',
  'application/json;',
  'application/json, text/html',
  'application/merge-patch+json',
  'text/plain',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  '*/*',
  'x',
  '',
];

type Header = readonly [string, string];
const header = (name: string, ...values: string[]): fc.Arbitrary<Header> =>
  fc.constantFrom(...values).map((value) => [name, value] as const);

/** Headers that mean something to the api, to what stands before it, or to nobody. */
const EXTRA_HEADERS: fc.Arbitrary<Header> = fc.oneof(
  {
    weight: 4,
    arbitrary: header('idempotency-key', 'k1', 'k2', 'k3', 'k4', 'shared', '', ' ', 'x'.repeat(256), 'a b', '\u00e9'),
  },
  { weight: 3, arbitrary: header('if-match', '"1"', '"2"', '*', 'W/"1"', '1', '', '"1", "2"', '"'.repeat(40)) },
  { weight: 1, arbitrary: header('x-request-id', 'abc', 'bad id', 'x'.repeat(200), '\u00ff') },
  { weight: 1, arbitrary: header('accept', '*/*', 'text/html', 'application/xml') },
  { weight: 1, arbitrary: header('accept-version', '1.x') },
  { weight: 1, arbitrary: header('x-http-method-override', 'DELETE', 'GET') },
  { weight: 1, arbitrary: header('x-original-url', '/v1/tenants') },
  { weight: 1, arbitrary: header('x-forwarded-for', '127.0.0.1', "' OR 1=1") },
  { weight: 1, arbitrary: header('x-tenant-id', '@other.tenant.0@', '01900000-0000-7000-8000-000000000001') },
  { weight: 1, arbitrary: header('cookie', 'scope=admin', 'a='.repeat(2_000)) },
  { weight: 1, arbitrary: header('origin', 'http://evil.example') },
  { weight: 1, arbitrary: header('range', 'bytes=0-1') },
  { weight: 1, arbitrary: header('content-encoding', 'gzip', 'br', 'identity') },
  { weight: 1, arbitrary: header('upgrade', 'websocket', 'h2c') },
  { weight: 1, arbitrary: header('expect', '100-continue', '200-ok') },
  { weight: 1, arbitrary: header('x-large', 'x'.repeat(20_000)) },
);

/** Makes requests of all operations of the document for the actors, sensible ones and others. */
export function createCaseMaker(document: ApiDocument): (actors: readonly Actor[]) => fc.Arbitrary<FuzzCase> {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );
  const makeValue = createValueMaker(document);
  const targets = new Map(operations.map((each) => [each, makeTarget(each.path, each.operation, makeValue)]));
  const bodies = new Map(operations.map((each) => [each, makeBody(each.method, each.path, document, makeValue)]));

  return (actors) =>
    fc.constantFrom(...operations).chain((chosen) =>
      fc.record({
        actor: fc.constantFrom(...actors),
        method: rarely(fc.constantFrom(...METHODS), fc.constant(chosen.method)),
        target: targets.get(chosen)!,
        headers: makeHeaders(),
        body: bodies.get(chosen)!,
        framing: fc.oneof(
          { weight: 60, arbitrary: fc.constant('length' as const) },
          { weight: 2, arbitrary: fc.constant('chunks' as const) },
          { weight: 1, arbitrary: fc.constantFrom(...FRAMINGS) },
        ),
      }),
    );
}

/** One in sixteen. */
function rarely<Value>(rare: fc.Arbitrary<Value>, usual: fc.Arbitrary<Value>): fc.Arbitrary<Value> {
  return fc.oneof({ weight: 1, arbitrary: rare }, { weight: 15, arbitrary: usual });
}

type MakeValue = (schema: JsonSchema, field: string) => fc.Arbitrary<unknown>;

function makeTarget(template: string, operation: ApiOperation, makeValue: MakeValue): fc.Arbitrary<string> {
  const steps = template.split('/').map((step) => makeStep(step, template, operation, makeValue));
  const path = fc.tuple(...steps).map((chosen) => chosen.map(encodeStep).join('/'));
  const spoiled = fc.tuple(path, fc.constantFrom(...PATH_SPOILERS)).map(([good, spoil]) => spoil(good));
  return fc.tuple(rarely(spoiled, path), makeQuery(operation, makeValue)).map((parts) => parts.join(''));
}

// A stranger's id as the name of something of one's own, a queue for example, would be shown again, and be no leak.
function makeStep(
  step: string,
  template: string,
  { parameters = [] }: ApiOperation,
  makeValue: MakeValue,
): fc.Arbitrary<string> {
  if (!step.startsWith('{')) return fc.constant(step);
  if (/id}$/i.test(step)) return idNamed(template);
  const { name, schema } = parameters.find(({ in: place, name }) => place === 'path' && step === `{${name}}`)!;
  return makeValue(schema, name).map(String);
}

// The names of ids stay as they are: what they stand for needs no escapes.
function encodeStep(step: string): string {
  return /^@.*@$/.test(step) ? step : encodeURIComponent(step);
}

function makeQuery({ parameters = [] }: ApiOperation, makeValue: MakeValue): fc.Arbitrary<string> {
  const described = parameters.filter(({ in: place }) => place === 'query');
  const fields = described.map(({ name, schema, required }) => {
    const value = makeValue(schema, name);
    const absent = { weight: 2, arbitrary: fc.constant(undefined) };
    return required ? value : fc.oneof(absent, { weight: 1, arbitrary: value });
  });
  const odd = fc.constantFrom(
    'limit=0',
    'limit=1e2',
    'limit=1&limit=2',
    'cursor=',
    'x=1',
    '__proto__=1',
    '%00',
    'a[]=1',
    '&&=',
    '%',
  );
  return fc.tuple(fc.tuple(...fields), rarely(odd, fc.constant(''))).map(([values, extra]) => {
    const parts = values.flatMap((value, index) => renderParameter(described[index]!.name, value));
    const query = [...parts, ...(extra === '' ? [] : [extra])].join('&');
    return query === '' ? '' : `?${query}`;
  });
}

function renderParameter(name: string, value: unknown): string[] {
  if (value === undefined) return [];
  if (Array.isArray(value)) return value.flatMap((each) => renderParameter(name, each));
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).map(([key, inner]) => `label.${encode(key)}=${encode(inner)}`);
  }
  return [`${name}=${encode(value)}`];
}

function encode(value: unknown): string {
  const text = String(value);
  return /^@.*@$/.test(text) ? text : encodeURIComponent(text.toWellFormed());
}

function makeBody(
  method: string,
  path: string,
  document: ApiDocument,
  makeValue: MakeValue,
): fc.Arbitrary<CaseBody | undefined> {
  const schema = findBodySchema(method, path, document);
  // A body where none is wanted: a GET ignores it, a DELETE reads it.
  if (!schema)
    return rarely<CaseBody | undefined>(fc.constantFrom({ text: '{}' }, { text: '{' }), fc.constant(undefined));
  const good = makeValue(schema, '');
  const body = renderBody(fc.oneof({ weight: 3, arbitrary: good }, { weight: 2, arbitrary: spoilValue(good) }));
  return fc.oneof<fc.WeightedArbitrary<CaseBody | undefined>[]>(
    { weight: 20, arbitrary: body },
    { weight: 1, arbitrary: fc.constant(undefined) },
    {
      weight: 1,
      arbitrary: fc.uint8Array({ maxLength: 60 }).map((each) => ({ base64: Buffer.from(each).toString('base64') })),
    },
  );
}

/** The schema of a body; that of a batch with the schema of its items, which the api looks at one by one. */
function findBodySchema(method: string, path: string, document: ApiDocument): JsonSchema | undefined {
  const read = (ofMethod: string, ofPath: string) =>
    document.paths[ofPath]?.[ofMethod]?.requestBody?.content['application/json']?.schema;
  const schema = read(method.toLowerCase(), path);
  const item = BATCH_ITEMS[`${method} ${path}`];
  if (!schema || !item) return schema;
  const { properties } = schema as { properties: Record<string, JsonSchema> };
  const single = read(...item.like) as { properties: Record<string, JsonSchema> };
  const items = { ...single, properties: { ...single.properties, ...item.fields } };
  return { ...schema, properties: { ...properties, [item.list]: { ...properties[item.list], items } } };
}

const ID_FIELD = { id: { type: 'string', format: 'uuid' } };
const BATCH_ITEMS: Readonly<
  Record<string, { list: string; like: [string, string]; fields: Record<string, JsonSchema> }>
> = {
  'POST /v1/timers/batch': { list: 'timers', like: ['post', '/v1/timers'], fields: {} },
  'PATCH /v1/timers/batch': { list: 'timers', like: ['patch', '/v1/timers/{id}'], fields: ID_FIELD },
  'POST /v1/runs/batch': { list: 'runs', like: ['post', '/v1/runs'], fields: {} },
};

function makeHeaders(): fc.Arbitrary<Header[]> {
  const contentType = fc.oneof(
    { weight: 12, arbitrary: fc.constant<Header[]>([['content-type', 'application/json']]) },
    { weight: 1, arbitrary: header('content-type', ...CONTENT_TYPES).map((each) => [each]) },
    { weight: 1, arbitrary: fc.constant<Header[]>([]) },
  );
  const extras = fc.oneof(
    { weight: 3, arbitrary: fc.constant<Header[]>([]) },
    { weight: 2, arbitrary: fc.array(EXTRA_HEADERS, { maxLength: 3 }) },
  );
  return fc.tuple(contentType, extras).map((parts) => parts.flat());
}
