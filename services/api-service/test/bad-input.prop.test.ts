import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestApi, type TestAnswer, type TestApi } from './open-test-api.ts';
import { countEverything, createDeadLetter, HOUR, NOOP, UNKNOWN_ID } from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

/** Inputs tried for each field; each is a request, and two counts of all tables. */
const RUNS_PER_FIELD = 25;

/** Values that have broken servers before. */
const NASTY = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  2 ** 53,
  '',
  ' ',
  '\u0000',
  '\ud800',
  '￿',
  '__proto__',
  'constructor',
  '9999-12-31T23:59:60Z',
  '0000-00-00T00:00:00Z',
  '-000001-01-01T00:00:00Z',
  '+275760-09-13T00:00:00.001Z',
  '2027-01-01T00:00:00+99:99',
  'x'.repeat(70_000),
  'Etc/../UTC',
  'http://[::1',
  'http://user:secret@example.com/',
  'javascript:alert(1)',
  "'; DROP TABLE timers; --",
  [],
  {},
  [[]],
  [null],
  { type: 'http' },
  { type: 'duration' },
  { type: { type: 'duration' } },
];

const anything = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...NASTY) },
  { weight: 2, arbitrary: fc.jsonValue({ maxDepth: 4 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
  { weight: 1, arbitrary: fc.double() },
);

/** Bodies that are good, one for each place in a request that takes a value. */
const DELAYS = [
  { type: 'duration', value: 5, unit: 'hours' },
  { type: 'weekday', days: ['monday'], at: '09:00', timeZone: 'UTC' },
  { type: 'date', month: 12, day: 25, at: '09:00', year: 2027, onPast: 'run', leapDay: 'mar1', timeZone: 'UTC' },
  { type: 'until', at: '2027-01-01T00:00:00Z' },
];
const ACTIONS = [
  { type: 'http', url: 'https://example.com/', method: 'PUT', headers: { 'x-a': 'b' }, body: { a: 1 } },
  { type: 'noop', durationMs: 0 },
];
const RETRY = { maxRetries: 1, backoff: { initialMs: 1, factor: 2, maxMs: 3, jitter: 0.1 } };
const TIMERS = DELAYS.flatMap((delay) =>
  ACTIONS.map((action) => ({
    delay,
    action,
    timeZone: 'UTC',
    payload: 1,
    retry: RETRY,
    timeoutMs: 1000,
    externalId: 'e',
    labels: { a: 'b' },
  })),
);
const FILTER = {
  status: ['dead'],
  workflowId: UNKNOWN_ID,
  runId: UNKNOWN_ID,
  taskKey: 'a',
  labels: { a: 'b' },
  dueAfter: '2027-01-01T00:00:00Z',
  dueBefore: '2027-01-02T00:00:00Z',
};

type Path = (string | number)[];

/** Every place within a value, and the value itself. */
function listPaths(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [
    path,
    ...Object.entries(value).flatMap(([key, inner]) =>
      listPaths(inner, [...path, Array.isArray(value) ? Number(key) : key]),
    ),
  ];
}

function replaceAt(value: unknown, [step, ...rest]: Path, replacement: unknown): unknown {
  if (step === undefined) return replacement;
  const copy = Array.isArray(value) ? [...value] : { ...(value as object) };
  (copy as Record<string, unknown>)[step] = replaceAt((value as Record<string, unknown>)[step], rest, replacement);
  return copy;
}

function expectProblem({ status, body, headers }: TestAnswer): void {
  expect(status).toBeGreaterThanOrEqual(400);
  expect(status).toBeLessThan(500);
  expect(headers['content-type']).toContain('application/problem+json');
  expect(body).toMatchObject({
    status,
    code: expect.any(String),
    title: expect.any(String),
    detail: expect.any(String),
  });
  if (status === 400) expect(body.errors.length).toBeGreaterThan(0);
  // Nothing of the inside may show.
  expect(JSON.stringify(body)).not.toMatch(/node_modules|SELECT |INSERT |\.ts:/);
}

/** Puts each value into each place of a good request: never a 5xx, and after a 4xx everything is as before. */
async function tryEveryField(
  method: string,
  url: () => string | Promise<string>,
  bodies: readonly unknown[],
): Promise<void> {
  const places = bodies.flatMap((body) => listPaths(body).map((path) => ({ body, path })));
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...places), anything, async ({ body, path }, value) => {
      const target = await url();
      const before = await countEverything(api);
      const answer = await api.request(method, target, replaceAt(body, path, value));
      expect(answer.status).toBeLessThan(500);
      if (answer.status >= 400) {
        expectProblem(answer);
        expect(await countEverything(api)).toEqual(before);
      }
    }),
    { numRuns: Math.min(places.length * RUNS_PER_FIELD, 200) },
  );
}

const createTimer = async () =>
  (await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR })).body.id as string;

test('no value in any field of a new timer makes the api fail or leave something behind', async () => {
  await tryEveryField('POST', () => '/v1/timers', TIMERS);
}, 120_000);

test('none of the values that have broken servers does so in any field of a new timer', async () => {
  const before = await countEverything(api);
  const stored = { timers: 0, finished_timers: 0 };
  // One request for each kind of place: the same field of another rule or action is the same to the api.
  const bodies = [TIMERS[0]!, ...TIMERS.slice(2).filter((_, n) => n % 2 === 0), TIMERS[1]!].map(
    ({ externalId, ...rest }) => rest,
  );
  const seen = new Set<string>();
  const places = bodies.flatMap((body) =>
    listPaths(body)
      .filter((path) => {
        const kind = `${path.join('/')} ${path[0] === 'delay' ? body.delay.type : ''}${path[0] === 'action' ? body.action.type : ''}`;
        return !seen.has(kind) && seen.add(kind);
      })
      .map((path) => ({ body, path })),
  );
  places.push({ body: { ...bodies[0]!, externalId: 'e' } as never, path: ['externalId'] });
  expect(places.length).toBeGreaterThan(40);
  for (const { body, path } of places) {
    const answers = await Promise.all(
      NASTY.map((value) => api.request('POST', '/v1/timers', replaceAt(body, path, value))),
    );
    for (const [n, answer] of answers.entries()) {
      expect(answer.status, `${JSON.stringify(NASTY[n])?.slice(0, 50)} at ${path.join('/')}`).toBeLessThan(500);
      if (answer.status >= 400) expectProblem(answer);
      if (answer.status === 201) stored[answer.body.status === 'skipped' ? 'finished_timers' : 'timers'] += 1;
    }
  }
  const after = await countEverything(api);
  expect(after.timers! - before.timers!).toBe(stored.timers);
  expect(after.finished_timers! - before.finished_timers!).toBe(stored.finished_timers);
}, 120_000);

test('no value in any field of a batch makes the api fail, and a refused item stores nothing', async () => {
  const places = TIMERS.flatMap((body) => listPaths(body).map((path) => ({ body, path })));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom(...places), anything), { minLength: 1, maxLength: 8 }),
      async (items) => {
        const timers = items.map(([{ body, path }, value]) => replaceAt(body, path, value));
        const before = await countEverything(api);
        const answer = await api.request('POST', '/v1/timers/batch', { timers });
        if (answer.status !== 207) {
          expectProblem(answer);
          return;
        }
        const statuses: number[] = answer.body.results.map(({ status }: { status: number }) => status);
        expect(statuses).toHaveLength(timers.length);
        for (const status of statuses) expect([200, 201, 400]).toContain(status);
        const after = await countEverything(api);
        const stored = after.timers! + after.finished_timers! - before.timers! - before.finished_timers!;
        expect(stored).toBe(statuses.filter((status) => status === 201).length);
      },
    ),
    { numRuns: 150 },
  );
}, 120_000);

test('no value in any field of a change makes the api fail', async () => {
  const change = { payload: 1, retry: RETRY, version: 1 };
  const changes = [
    ...DELAYS.map((delay) => ({ ...change, delay })),
    { ...change, dueAt: '2027-01-01T00:00:00Z' },
    ...ACTIONS.map((action) => ({ ...change, action })),
  ];
  await tryEveryField('PATCH', async () => `/v1/timers/${await createTimer()}`, changes);
  const id = await createTimer();
  await tryEveryField(
    'PATCH',
    () => '/v1/timers/batch',
    changes.map((fields) => ({ timers: [{ id, ...fields }] })),
  );
}, 120_000);

test('no value in any field of a cancel, a redrive or a preview makes the api fail', async () => {
  await createDeadLetter(api);
  await tryEveryField('POST', () => '/v1/timers/batch/cancel', [{ ids: [UNKNOWN_ID, UNKNOWN_ID] }]);
  await tryEveryField('POST', () => '/v1/dead-letters/redrive', [{ ids: [UNKNOWN_ID] }, { filter: FILTER }]);
  await tryEveryField(
    'POST',
    () => '/v1/delays/preview',
    DELAYS.map((delay) => ({ delay, timeZone: 'UTC', from: '2027-01-01T00:00:00Z' })),
  );
  for (const path of ['cancel', 'fire']) {
    await tryEveryField('POST', async () => `/v1/timers/${await createTimer()}/${path}`, [{}]);
  }
}, 120_000);

const text = fc.oneof(
  fc.constantFrom(...NASTY.map(String)),
  fc.string({ unit: 'binary' }),
  fc.stringMatching(/^[%&=?#/+.\\]{1,8}$/),
);

test('nothing in a query string makes the api fail', async () => {
  const names = [
    'limit',
    'cursor',
    'status',
    'workflowId',
    'runId',
    'taskKey',
    'dueAfter',
    'dueBefore',
    'bucket',
    'label.a',
    'label.',
    'x',
  ];
  const parameter = fc.tuple(fc.oneof(fc.constantFrom(...names), text), text, fc.boolean());
  const urls = [
    '/v1/timers',
    '/v1/timers/count',
    '/v1/timers/histogram',
    '/v1/dead-letters',
    `/v1/timers/${UNKNOWN_ID}/attempts`,
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...urls),
      fc.array(parameter, { minLength: 1, maxLength: 4 }),
      async (url, parameters) => {
        const query = parameters
          .map(([name, value, isRaw]) => `${encode(name)}=${isRaw ? value.replaceAll(/[^!-~]/g, '') : encode(value)}`)
          .join('&');
        // More than a server takes as the head of a request.
        fc.pre(query.length < 8_000);
        const answer = await api.request('GET', `${url}?${query}`);
        if (answer.status !== 200) expectProblem(answer);
      },
    ),
    { numRuns: 400 },
  );
}, 120_000);

test('nothing in a path makes the api fail', async () => {
  const paths = [
    '/v1/timers/:',
    '/v1/timers/:/attempts',
    '/v1/dead-letters/:/redrive',
    '/v1/timers/:/cancel',
    '/v1/timers/:/fire',
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...paths),
      fc.constantFrom('GET', 'POST', 'PATCH', 'DELETE', 'PUT'),
      text,
      async (path, method, id) => {
        // Dots are steps within the path, not a part of it.
        fc.pre(id.length < 8_000 && !/^\.*$/.test(id));
        const answer = await api.request(
          method,
          path.replace(':', encode(id)),
          method === 'PATCH' ? { payload: 1 } : undefined,
        );
        expectProblem(answer);
      },
    ),
    { numRuns: 200 },
  );
}, 120_000);

test('no bytes as a body make the api fail', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
      expectProblem(await api.request('POST', '/v1/timers', Buffer.from(bytes)));
    }),
    { numRuns: 300 },
  );
}, 120_000);

test('nothing of all that was logged as a defect', () => {
  expect(api.logged).toEqual([]);
});

function encode(value: string): string {
  return encodeURIComponent(value.toWellFormed());
}
