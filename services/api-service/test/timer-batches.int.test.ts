import { withoutFaults } from '@punctual/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { countEverything, HOUR, NOOP, startDueTimer, UNKNOWN_ID } from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

type Results = { status: number; timer?: Record<string, unknown>; error?: Record<string, unknown> }[];
const post = async (path: string, body: unknown, headers?: Record<string, string>) => {
  const answer = await api.request('POST', path, body, headers);
  return { ...answer, results: answer.body.results as Results };
};
const statuses = (results: Results) => results.map(({ status }) => status);

test('a batch stores what makes sense and says in order what does not', async () => {
  await post('/v1/timers', { action: NOOP, externalId: 'known', delay: HOUR });
  const { status, results } = await post('/v1/timers/batch', {
    timers: [
      { action: NOOP, delay: HOUR, payload: 'first' },
      { action: { type: 'noop' }, delay: { type: 'date', month: 6, day: 31 } },
      'no timer',
      { action: NOOP, externalId: 'known' },
      { action: NOOP, delay: { type: 'date', month: 1, day: 1, year: 2020, onPast: 'skip' }, externalId: 'skipped' },
      { action: NOOP, externalId: 'twice', delay: HOUR },
      { action: NOOP, externalId: 'twice' },
    ],
  });
  expect(status).toBe(207);
  expect(statuses(results)).toEqual([201, 400, 400, 200, 201, 201, 200]);
  expect(results[1]!.error).toMatchObject({ code: 'invalid_request', errors: [{ pointer: '/timers/1/delay/day' }] });
  expect(results[2]!.error).toMatchObject({ errors: [{ pointer: '/timers/2' }] });
  expect(results[4]!.timer).toMatchObject({ status: 'skipped' });
  expect(results[6]!.timer).toEqual(results[5]!.timer);
  const read = await api.request('GET', `/v1/timers/${results[0]!.timer!.id}`);
  expect(read.body).toEqual(results[0]!.timer);
});

test('a thousand timers go in one batch and one ledger entry a partition; more are refused', async () => {
  const timers = Array.from({ length: 1000 }, () => ({ action: NOOP, delay: HOUR }));
  const { results } = await post('/v1/timers/batch', { timers });
  expect(statuses(results)).toEqual(Array(1000).fill(201));
  expect(new Set(results.map(({ timer }) => timer!.id)).size).toBe(1000);
  const before = await countEverything(api);
  expect(await api.request('POST', '/v1/timers/batch', { timers: [...timers, timers[0]] })).toMatchObject({
    status: 400,
    body: { errors: [{ pointer: '/timers' }] },
  });
  expect(await countEverything(api)).toEqual(before);
});

test('an external id in a batch whose timer retention has dropped can be used again', async () => {
  const timers = [
    { action: NOOP, delay: HOUR, externalId: 'dropped' },
    { action: NOOP, delay: HOUR },
  ];
  const first = await post('/v1/timers/batch', { timers });
  for (const headers of [{}, { 'idempotency-key': 'dropped' }] as Record<string, string>[]) {
    await api.testDatabase.database.ordinary.query('DELETE FROM timers');
    const again = await post('/v1/timers/batch', { timers }, headers);
    expect(statuses(again.results)).toEqual([201, 201]);
    expect(again.results[0]!.timer!.id).not.toBe(first.results[0]!.timer!.id);
  }
});

// With an idempotency key, which requests have while faults are injected, a batch is stored as a whole.
test('a row that Postgres refuses does not spoil the rest of its batch', () =>
  withoutFaults(async () => {
    // A constraint that no check of the api knows of.
    const { ordinary } = api.testDatabase.database;
    await ordinary.query(`ALTER TABLE timers ADD CONSTRAINT picky CHECK (payload::text <> '"bad"')`);
    try {
      const timers = ['good', 'bad', 'better'].map((payload) => ({ action: NOOP, delay: HOUR, payload }));
      expect(statuses((await post('/v1/timers/batch', { timers })).results)).toEqual([201, 500, 201]);
      const singles = await Promise.all(timers.map((timer) => post('/v1/timers', timer)));
      expect(singles.map(({ status }) => status)).toEqual([201, 500, 201]);
      expect(JSON.stringify(singles[1]!.body)).not.toMatch(/picky|constraint|timers/);
    } finally {
      await ordinary.query('ALTER TABLE timers DROP CONSTRAINT picky');
    }
  }));

test('a batch with an idempotency key is stored once', async () => {
  const timers = [{ action: NOOP, delay: HOUR }, 7, { action: NOOP, externalId: 'keyed' }];
  const headers = { 'idempotency-key': 'batch' };
  const first = await post('/v1/timers/batch', { timers }, headers);
  const before = await countEverything(api);
  const again = await post('/v1/timers/batch', { timers }, headers);
  expect(again.body).toEqual(first.body);
  expect(await countEverything(api)).toEqual(before);
});

test('a batch of changes changes each by itself', async () => {
  const [one, two, three] = (
    await post('/v1/timers/batch', { timers: Array(3).fill({ action: NOOP, delay: HOUR }) })
  ).results.map(({ timer }) => timer!.id as string);
  await api.request('DELETE', `/v1/timers/${two}`);
  const answer = await api.request('PATCH', '/v1/timers/batch', {
    timers: [
      { id: one, payload: { n: 1 } },
      { id: two, payload: 2 },
      { id: three!.toUpperCase(), delay: { type: 'duration', value: -1, unit: 'hours' } },
      { id: UNKNOWN_ID, payload: 4 },
      { id: one, payload: 5 },
      { payload: 6 },
      { id: three, delay: { type: 'date', month: 2, day: 30 } },
      { id: three },
    ],
  });
  expect(answer.status).toBe(207);
  const results = answer.body.results as Results;
  expect(statuses(results)).toEqual([200, 409, 400, 404, 400, 400, 400, 400]);
  expect(results[0]!.timer).toMatchObject({ version: 2, payload: { n: 1 } });
  expect(results.map(({ error }) => (error?.errors as { pointer: string }[])?.[0]?.pointer)).toEqual([
    undefined,
    undefined,
    '/timers/2/delay/value',
    undefined,
    '/timers/4/id',
    '/timers/5/id',
    '/timers/6/delay/day',
    '/timers/7',
  ]);
});

test('a batch of cancels cancels each by itself, and names may repeat', async () => {
  const ids = (await post('/v1/timers/batch', { timers: Array(3).fill({ action: NOOP }) })).results.map(
    ({ timer }) => timer!.id as string,
  );
  await startDueTimer(api, ids[1]!, 1);
  const { status, results } = await post('/v1/timers/batch/cancel', { ids: [...ids, ids[0], UNKNOWN_ID] });
  expect(status).toBe(207);
  expect(statuses(results)).toEqual([200, 409, 200, 200, 404]);
  expect(results[1]!.error).toMatchObject({ code: 'timer_already_started' });
  expect(await api.request('POST', '/v1/timers/batch/cancel', { ids: ['x'] })).toMatchObject({
    status: 400,
    body: { errors: [{ pointer: '/ids/0', detail: 'It must be a UUID.' }] },
  });
});

test('a batch may be larger than other bodies, up to a limit of its own', async () => {
  const payload = 'x'.repeat(60_000);
  const timers = Array.from({ length: 30 }, () => ({ action: NOOP, delay: HOUR, payload }));
  expect(statuses((await post('/v1/timers/batch', { timers })).results)).toEqual(Array(30).fill(201));
  const large = { timers: [{ action: NOOP, payload: 'x'.repeat(8_400_000) }] };
  expect(await api.request('POST', '/v1/timers/batch', large)).toMatchObject({ status: 413 });
  expect(await api.request('POST', '/v1/timers', { action: NOOP, payload: 'x'.repeat(1_100_000) })).toMatchObject({
    status: 413,
    body: { code: 'body_too_large' },
  });
});
