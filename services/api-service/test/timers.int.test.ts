import { Attempt, DeadLetter, listOf, Problem, Timer } from '@punctual/contracts';
import type { TSchema } from 'typebox';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compileCheck } from '../plugins/validation.ts';
import { openTestApi, type TestApi } from './open-test-api.ts';
import {
  countEverything,
  endTimer,
  HOUR,
  NOOP,
  readBalance,
  retryTimer,
  startDueTimer,
  startTimer,
  UNKNOWN_ID,
} from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

const create = async (fields: Record<string, unknown> = {}, headers?: Record<string, string>) =>
  api.request('POST', '/v1/timers', { action: NOOP, ...fields }, headers);

test('a new timer is answered as it is stored', async () => {
  const request = {
    action: {
      type: 'http',
      url: 'https://example.com/hook',
      headers: { 'x-a': 'ü'.replace('ü', 'u') },
      body: { a: [1, '"'] },
    },
    delay: { type: 'weekday', days: ['monday'], at: '09:00' },
    timeZone: 'europe/paris',
    payload: { text: 'line\n"quoted" 🙂', none: null },
    retry: { maxRetries: 1, backoff: { jitter: 0 } },
    timeoutMs: 1234,
    externalId: 'order "7"',
    labels: { team: 'a/b', 'two words': '' },
  };
  const { status, body, headers } = await api.request('POST', '/v1/timers', request);
  expect(status).toBe(201);
  expect(headers.location).toBe(`/v1/timers/${body.id}`);
  expect(body).toMatchObject({ ...request, timeZone: 'Europe/Paris', status: 'scheduled', version: 1, attempt: 0 });
  expect(new Date(body.dueAt).getUTCDay()).toBe(1);
  const read = await api.request('GET', `/v1/timers/${body.id.toUpperCase()}`);
  expect(read).toMatchObject({ status: 200, body });
});

test('a timer with neither delay nor due time is due at once', async () => {
  const { body } = await create();
  expect(body.dueAt).toBe(body.createdAt);
});

test('a due time in the past is kept as it was asked for and is due at once', async () => {
  const { body } = await create({ dueAt: '2001-02-03T04:05:06.789+01:00' });
  expect(body.dueAt).toBe('2001-02-03T03:05:06.789Z');
  expect(await startTimer(api, body.id, 1)).toBeDefined();
});

test('a date that is past is skipped, refused or due at once, as its rule says', async () => {
  const past = { type: 'date', month: 1, day: 2, year: 2020 };
  const skipped = await create({ delay: { ...past, onPast: 'skip' } });
  expect(skipped).toMatchObject({ status: 201, body: { status: 'skipped', attempt: 0 } });
  expect(skipped.body.finishedAt).toBeDefined();
  const before = await countEverything(api);
  const rejected = await create({ delay: { ...past, onPast: 'reject' } });
  expect(rejected).toMatchObject({ status: 400, body: { errors: [{ pointer: '/delay' }] } });
  expect(await countEverything(api)).toEqual(before);
  const run = await create({ delay: past });
  expect(run).toMatchObject({ status: 201, body: { status: 'scheduled', dueAt: run.body.createdAt } });
});

test.each([
  ['both delay and dueAt', { delay: HOUR, dueAt: '2030-01-01T00:00:00Z' }, '/dueAt'],
  ['a wait of more than ten years', { delay: { type: 'duration', value: 3654, unit: 'days' } }, '/delay/value'],
  ['a due time in more than ten years', { dueAt: '2199-01-01T00:00:00Z' }, '/dueAt'],
  ['31 June', { delay: { type: 'date', month: 6, day: 31 } }, '/delay/day'],
  ['no days', { delay: { type: 'weekday', days: [] } }, '/delay/days'],
  ['an unknown zone', { delay: HOUR, timeZone: 'Mars/Olympus' }, '/timeZone'],
  [
    'an unknown zone of a rule',
    { delay: { type: 'weekday', days: ['monday'], timeZone: '+02:00' } },
    '/delay/timeZone',
  ],
  ['a negative duration', { delay: { ...HOUR, value: -1 } }, '/delay/value'],
  ['half a duration', { delay: { ...HOUR, value: 1.5 } }, '/delay/value'],
  ['an endless duration', { delay: { ...HOUR, value: 1e300 } }, '/delay/value'],
  ['an unknown unit', { delay: { ...HOUR, unit: 'weeks' } }, '/delay/unit'],
  ['an unknown rule', { delay: { type: 'cron' } }, '/delay/type'],
  ['no action', { action: undefined }, '/action'],
  ['an unknown field', { colour: 1 }, '/colour'],
  ['an unknown field within', { action: { type: 'noop', x: 1 } }, '/action/x'],
  ['a private address', { action: { type: 'http', url: 'http://10.1.2.3/' } }, '/action/url'],
  ['a disguised private address', { action: { type: 'http', url: 'http://0x0a.1.2.3/' } }, '/action/url'],
  ['another scheme', { action: { type: 'http', url: 'ftp://example.com/' } }, '/action/url'],
  [
    'a header of ours',
    { action: { type: 'http', url: 'http://example.com/', headers: { 'webhook-id': '1' } } },
    '/action/headers/webhook-id',
  ],
  ['a large payload', { payload: 'x'.repeat(65_535) }, '/payload'],
  [
    'a large action body',
    { action: { type: 'http', url: 'http://example.com/', body: 'é'.repeat(32_768) } },
    '/action/body',
  ],
  ['a long external id', { externalId: 'x'.repeat(256) }, '/externalId'],
  ['too many labels', { labels: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`l${n}`, ''])) }, '/labels'],
  ['a label that is no text', { labels: { a: 1 } }, '/labels/a'],
  ['too many retries', { retry: { maxRetries: 101 } }, '/retry/maxRetries'],
  ['a time-out of nothing', { timeoutMs: 0 }, '/timeoutMs'],
])('%s is refused with a pointer and nothing is stored', async (_name, fields, pointer) => {
  const before = await countEverything(api);
  const { status, body, headers } = await create(fields);
  expect({ status, pointer: body.errors?.[0]?.pointer }).toEqual({ status: 400, pointer });
  expect(body).toMatchObject({ code: 'invalid_request', requestId: headers['x-request-id'] });
  expect(headers['content-type']).toContain('application/problem+json');
  expect(await countEverything(api)).toEqual(before);
});

test('a repeated external id answers 200 with the timer that has it, even after it ended', async () => {
  const first = await create({ externalId: 'repeat', delay: HOUR });
  const second = await create({ externalId: 'repeat', payload: 'other' });
  expect(second).toMatchObject({ status: 200, body: first.body });
  await api.request('DELETE', `/v1/timers/${first.body.id}`);
  const third = await create({ externalId: 'repeat' });
  expect(third).toMatchObject({ status: 200, body: { id: first.body.id, status: 'cancelled' } });
});

test('of many requests with one external id exactly one makes a timer', async () => {
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, n) =>
      create({ externalId: 'race' }, n % 4 === 0 ? { 'idempotency-key': `race-${n}` } : {}),
    ),
  );
  expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1);
  expect(answers.map(({ status }) => status).toSorted()).toEqual([...Array(39).fill(200), 201]);
});

test('an external id whose timer retention has dropped can be used again', async () => {
  const { body } = await create({ externalId: 'dropped', delay: HOUR });
  await api.testDatabase.database.ordinary.query('DELETE FROM timers WHERE id = $1', [body.id]);
  const again = await create({ externalId: 'dropped', delay: HOUR });
  expect(again.status).toBe(201);
  expect((await create({ externalId: 'dropped' })).body.id).toBe(again.body.id);
  await api.testDatabase.database.ordinary.query(
    'DELETE FROM ledger_entries WHERE ctid = (SELECT min(ctid) FROM ledger_entries WHERE created = 1)',
  );
});

test('an idempotency key makes a repeat answer the same, and refuses another request', async () => {
  const headers = { 'idempotency-key': 'same' };
  const first = await create({ payload: 1 }, headers);
  const again = await create({ payload: 1 }, headers);
  expect(again).toMatchObject({ status: 201, body: first.body });
  expect(again.headers.location).toBe(first.headers.location);
  expect(await create({ payload: 2 }, headers)).toMatchObject({ status: 422, body: { code: 'idempotency_mismatch' } });
  expect(await create({}, { 'idempotency-key': 'ü' })).toMatchObject({ status: 400 });
});

test('a refused request does not use up its idempotency key', async () => {
  const headers = { 'idempotency-key': 'refused' };
  expect((await create({ delay: { ...HOUR, value: -1 } }, headers)).status).toBe(400);
  expect((await create({ dueAt: 'never-ever-at-all-00' }, headers)).status).toBe(400);
  expect((await create({}, headers)).status).toBe(201);
});

test('of requests at once with one idempotency key one is done and the others repeat it or are told to wait', async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => create({ payload: 'x' }, { 'idempotency-key': 'at-once' })),
  );
  const done = answers.filter(({ status }) => status === 201);
  expect(new Set(done.map(({ body }) => body.id)).size).toBe(1);
  for (const answer of answers) expect([201, 409]).toContain(answer.status);
});

test('a new delay counts from the anchor, and the version rises by one', async () => {
  const { body } = await create({ delay: HOUR });
  const { status, body: changed } = await api.request('PATCH', `/v1/timers/${body.id}`, {
    delay: { type: 'duration', value: 3, unit: 'hours' },
  });
  expect(status).toBe(200);
  expect(changed.version).toBe(2);
  expect(Date.parse(changed.dueAt)).toBe(Date.parse(body.createdAt) + 3 * 3_600_000);
});

test('a change of payload, action or retry moves no retry that is waited for', async () => {
  const { body } = await create({ payload: 1 });
  await retryTimer(api, await startDueTimer(api, body.id, 1), 60_000);
  const waiting = (await api.request('GET', `/v1/timers/${body.id}`)).body;
  expect(waiting).toMatchObject({ status: 'scheduled', attempt: 1, dueAt: body.dueAt });
  expect(Date.parse(waiting.nextAttemptAt)).toBeGreaterThan(Date.parse(body.dueAt) + 50_000);
  const change = { payload: null, action: { type: 'noop', durationMs: 5 }, retry: { maxRetries: 9 } };
  const { body: changed } = await api.request('PATCH', `/v1/timers/${body.id}`, change);
  expect(changed).toEqual({ ...waiting, ...change, version: waiting.version + 1 });
});

test('a new due time replaces the wait for a retry', async () => {
  const { body } = await create();
  await retryTimer(api, await startDueTimer(api, body.id, 1), 60_000);
  const dueAt = new Date(Date.now() + 600_000).toISOString();
  const { body: changed } = await api.request('PATCH', `/v1/timers/${body.id}`, { dueAt });
  expect(changed).toMatchObject({ dueAt, nextAttemptAt: dueAt });
});

test('a change for another version than the present one is refused', async () => {
  const { body } = await create({ delay: HOUR });
  const url = `/v1/timers/${body.id}`;
  expect(await api.request('PATCH', url, { payload: 1, version: 2 })).toMatchObject({ status: 412 });
  expect(await api.request('PATCH', url, { payload: 1 }, { 'if-match': '"2"' })).toMatchObject({ status: 412 });
  expect(await api.request('PATCH', url, { payload: 1 }, { 'if-match': '"1"' })).toMatchObject({ status: 200 });
});

test.each([
  ['PATCH', '', { payload: 1 }],
  ['POST', '/fire', undefined],
  ['POST', '/cancel', undefined],
  ['DELETE', '', undefined],
])('%s %s of a timer that started or ended answers 409, of one that never was 404', async (method, path, body) => {
  const timer = (await create()).body;
  const act = (id = timer.id) => api.request(method, `/v1/timers/${id}${path}`, body);
  const started = await startDueTimer(api, timer.id, 1);
  expect(await act()).toMatchObject({ status: 409, body: { code: 'timer_already_started' } });
  await endTimer(api, started, 'succeeded');
  expect(await act()).toMatchObject({ status: 409, body: { code: 'timer_finished' } });
  expect(await act(UNKNOWN_ID)).toMatchObject({ status: 404, body: { code: 'not_found' } });
});

test('a cancelled timer stays cancelled and readable, and cancelling again answers 200', async () => {
  const { body } = await create({ delay: HOUR, payload: { keep: 1 } });
  const { body: cancelled } = await api.request('POST', `/v1/timers/${body.id}/cancel`);
  expect(cancelled).toMatchObject({ ...body, status: 'cancelled', version: 2, finishedAt: expect.any(String) });
  expect(await api.request('DELETE', `/v1/timers/${body.id}`)).toMatchObject({ status: 200, body: cancelled });
  expect(await api.request('POST', `/v1/timers/${body.id}/cancel`, {}, { 'idempotency-key': 'c1' })).toMatchObject({
    status: 200,
    body: cancelled,
  });
  expect(await startTimer(api, body.id, 1)).toBeUndefined();
});

test('a fired timer is due now', async () => {
  const { body } = await create({ delay: HOUR });
  const { status, body: fired } = await api.request('POST', `/v1/timers/${body.id}/fire`);
  expect(status).toBe(200);
  expect(fired.version).toBe(2);
  expect(Date.parse(fired.dueAt)).toBeLessThan(Date.parse(body.dueAt));
  expect(await startTimer(api, body.id, 1)).toBeUndefined();
  await startDueTimer(api, body.id, 2);
});

test('attempts are listed in order, the last from the row of the timer that ended', async () => {
  const { body } = await create();
  await retryTimer(api, await startDueTimer(api, body.id, 1), 0);
  const url = `/v1/timers/${body.id}/attempts`;
  expect((await api.request('GET', url)).body.data).toMatchObject([
    { attempt: 1, outcome: 'retryable', httpStatus: 500, latenessMs: 2, durationMs: 30, responseBody: 'oops' },
  ]);
  await endTimer(api, await startDueTimer(api, body.id, 3), 'succeeded');
  const { data } = (await api.request('GET', url)).body;
  expect(data.map(({ attempt, outcome }: Record<string, unknown>) => [attempt, outcome])).toEqual([
    [1, 'retryable'],
    [2, 'succeeded'],
  ]);
  const first = (await api.request('GET', `${url}?limit=1`)).body;
  expect(first.data).toEqual([data[0]]);
  const second = (await api.request('GET', `${url}?limit=1&cursor=${first.nextCursor}`)).body;
  expect(second).toEqual({ data: [data[1]], nextCursor: null });
  expect(await api.request('GET', `/v1/timers/${UNKNOWN_ID}/attempts`)).toMatchObject({ status: 404 });
});

test('a label with every kind of character in it is stored and found', async () => {
  const labels = { 'a.b/c "d"': 'é & = ? 🙂' };
  const { body } = await create({ labels, delay: HOUR });
  const query = `label.${encodeURIComponent('a.b/c "d"')}=${encodeURIComponent('é & = ? 🙂')}`;
  expect((await api.request('GET', `/v1/timers?${query}`)).body.data).toEqual([body]);
});

test('answers are what the OpenAPI document says', async () => {
  const checks: [string, TSchema][] = [
    ['/v1/timers', listOf(Timer)],
    ['/v1/timers?status=succeeded', listOf(Timer)],
    ['/v1/dead-letters', listOf(DeadLetter)],
  ];
  const { body: ended } = await api.request('GET', '/v1/timers?status=succeeded');
  for (const { id } of ended.data)
    checks.push([`/v1/timers/${id}`, Timer], [`/v1/timers/${id}/attempts`, listOf(Attempt)]);
  expect(checks.length).toBeGreaterThan(4);
  for (const [url, schema] of checks) {
    expect(compileCheck(schema)((await api.request('GET', url)).body), url).toBeUndefined();
  }
  const problem = await api.request('GET', `/v1/timers/${UNKNOWN_ID}`);
  expect(compileCheck(Problem)(problem.body)).toBeUndefined();
});

test('nothing is lost and nothing invented: what the ledger says is what the tables hold', async () => {
  const balance = await readBalance(api);
  expect(balance.live! + balance.finished! + balance.letters!).toBe(balance.created);
  expect([balance.succeeded, balance.cancelled, balance.dead]).toEqual([
    balance.storedSucceeded,
    balance.storedCancelled,
    balance.storedDead,
  ]);
});
