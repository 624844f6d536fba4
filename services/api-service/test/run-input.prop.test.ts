import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';

let api: TestApi;
let workflowId: string;
beforeAll(async () => {
  api = await openTestApi();
  workflowId = (await api.request('POST', '/v1/workflows', { name: 'w', tasks: [] })).body.id;
});
afterAll(async () => {
  await api.close();
});

const HTTP = { type: 'http', url: 'https://example.com/', method: 'PUT', headers: { 'x-a': 'b' }, body: { a: [1] } };
const WORKFLOW = {
  name: 'w',
  timeZone: 'UTC',
  labels: { a: 'b' },
  tasks: [
    { key: 'a', delay: { type: 'duration', value: 5, unit: 'hours' }, action: HTTP, timeoutMs: 5 },
    {
      key: 'b',
      after: ['a'],
      delay: { type: 'weekday', days: ['monday'], at: '09:00' },
      action: { type: 'noop', durationMs: 1 },
    },
    {
      key: 'c',
      after: ['a', 'b'],
      delay: { type: 'date', month: 2, day: 29, year: 2028, onPast: 'skip', leapDay: 'mar1', timeZone: 'Asia/Tokyo' },
      action: { type: 'noop' },
      retry: { maxRetries: 1, backoff: { initialMs: 1, factor: 2, maxMs: 3, jitter: 0.1 } },
    },
  ],
};
const RUN = { input: { a: ['b'] }, externalId: 'e', labels: { a: 'b' } };

/** Good requests: route, path and body. Each place in the body is filled with whatever comes. */
const REQUESTS: [string, () => string, () => object][] = [
  ['POST /v1/workflows', () => '/v1/workflows', () => WORKFLOW],
  ['PUT /v1/workflows/{id}', () => `/v1/workflows/${workflowId}`, () => WORKFLOW],
  [
    'POST /v1/workflows/{id}/tasks',
    () => `/v1/workflows/${workflowId}/tasks`,
    () => ({ ...WORKFLOW.tasks[0], key: 'new' }),
  ],
  ['POST /v1/runs', () => '/v1/runs', () => ({ workflowId, ...RUN })],
  ['POST /v1/runs/batch', () => '/v1/runs/batch', () => ({ workflowId, runs: [RUN, {}] })],
  ['POST /v1/tenants', () => '/v1/tenants', () => ({ name: 't', signingSecret: 'generate' })],
  [
    'POST /v1/api-keys',
    () => '/v1/api-keys',
    () => ({ name: 'k', scope: 'read', tenantId: '00000000-0000-7000-8000-000000000001' }),
  ],
];

const NASTY = [
  null,
  true,
  -1,
  1.5,
  2 ** 53,
  1e308,
  '',
  '\0',
  '\ud800',
  '__proto__',
  '9999-12-31T23:59:60Z',
  '0000-00-00T00:00:00Z',
  'x'.repeat(70_000),
  'http://[::1',
  "'; DROP TABLE runs; --",
  [],
  {},
  [null],
  { type: 'http' },
  { type: { type: 'duration' } },
];

type Path = (string | number)[];

/** Every place within a value, and the value itself. */
function listPaths(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  const steps: Path = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
  return [path, ...steps.flatMap((step) => listPaths((value as Record<string, unknown>)[step], [...path, step]))];
}

function replaceAt(value: unknown, [step, ...rest]: Path, replacement: unknown): unknown {
  if (step === undefined) return replacement;
  const copy = structuredClone(value) as Record<string, unknown>;
  copy[step] = replaceAt(copy[step], rest, replacement);
  return copy;
}

async function countVersionsAndRuns(): Promise<string> {
  const { rows } = await api.testDatabase.database.ordinary.query(
    `SELECT (SELECT count(*) FROM workflow_versions) AS versions, (SELECT count(*) FROM runs) AS runs,
       (SELECT count(*) FROM timers) AS timers, (SELECT count(*) FROM tenants) AS tenants,
       (SELECT count(*) FROM api_keys) AS keys, (SELECT count(*) FROM external_ids) AS names`,
  );
  return JSON.stringify(rows[0]);
}

test.each(REQUESTS)(
  '%s %s: whatever stands in a field, the api does not fail, and refuses whole',
  async (route, path, body) => {
    const paths = listPaths(body());
    const anything = fc.oneof(
      fc.constantFrom(...NASTY),
      fc.jsonValue({ maxDepth: 3 }),
      fc.string({ unit: 'binary' }),
      fc.double(),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), anything, async (place, value) => {
        const before = await countVersionsAndRuns();
        const answer = await api.request(
          route.split(' ')[0]!,
          path(),
          JSON.stringify(replaceAt(body(), place, value)) ?? '',
        );
        expect(answer.status).toBeLessThan(500);
        if (answer.status < 400) return;
        expect(answer.body).toMatchObject({
          status: answer.status,
          code: expect.any(String),
          detail: expect.any(String),
        });
        expect(await countVersionsAndRuns()).toBe(before);
      }),
      { numRuns: 250 },
    );
    expect(api.logged).toEqual([]);
  },
  60_000,
);
