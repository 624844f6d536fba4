import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodeCursor } from '../cursor.ts';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { HOUR } from './timer-steps.ts';

const PAYLOAD = 'p'.repeat(60_000);
const BODY = 'b'.repeat(60_000);
const LARGE = { action: { type: 'http', url: 'https://large.example/', body: BODY }, payload: PAYLOAD, delay: HOUR };
const MANY = 60;
/** What an answer may have besides the 4 MiB of actions and payloads (bytes). */
const ANSWER_BYTES_MAX = 4_500_000;

let api: TestApi;
let ids: string[];
beforeAll(async () => {
  api = await openTestApi();
  const { body } = await api.request('POST', '/v1/timers/batch', { timers: Array(MANY).fill(LARGE) });
  ids = body.results.map(({ timer }: { timer: { id: string } }) => timer.id);
});
afterAll(() => api.close());

const sizeOf = (body: unknown) => Buffer.byteLength(JSON.stringify(body));

test('a page of large timers is shorter than asked for, and the next goes on where it ended', async () => {
  const seen: string[] = [];
  let pages = 0;
  for (let cursor: string | null = ''; cursor !== null; pages += 1) {
    const { body } = await api.request('GET', `/v1/timers?limit=200${cursor && `&cursor=${cursor}`}`);
    expect(sizeOf(body)).toBeLessThan(ANSWER_BYTES_MAX);
    expect(body.data.length).toBeGreaterThan(0);
    for (const timer of body.data) expect(timer.payload).toBe(PAYLOAD);
    seen.push(...body.data.map(({ id }: { id: string }) => id));
    cursor = body.nextCursor;
  }
  expect(seen.toSorted()).toEqual(ids.toSorted());
  expect(pages).toBeGreaterThan(1);
});

test('the answer to a batch leaves out what is large beside many others, and says so; a timer alone is whole', async () => {
  const { body } = await api.request('PATCH', '/v1/timers/batch', { timers: ids.map((id) => ({ id, retry: {} })) });
  expect(sizeOf(body)).toBeLessThan(ANSWER_BYTES_MAX);
  for (const { status, timer } of body.results) {
    expect({ status, omitted: timer.omitted, payload: timer.payload, action: timer.action }).toEqual({
      status: 200,
      omitted: ['action', 'payload'],
      payload: undefined,
      action: undefined,
    });
  }
  const [first] = ids;
  const whole = { payload: PAYLOAD, action: { body: BODY } };
  expect(await api.request('GET', `/v1/timers/${first}`)).toMatchObject({ status: 200, body: whole });
  // However many share its statement.
  const alone = await Promise.all(ids.map((id) => api.request('PATCH', `/v1/timers/${id}`, { retry: {} })));
  for (const answer of alone) expect(answer).toMatchObject({ status: 200, body: whole });
  const cancelled = await api.request('POST', '/v1/timers/batch/cancel', { ids });
  expect(sizeOf(cancelled.body)).toBeLessThan(ANSWER_BYTES_MAX);
  const again = await api.request('POST', '/v1/timers/batch/cancel', { ids });
  expect(sizeOf(again.body)).toBeLessThan(ANSWER_BYTES_MAX);
});

test('a header that makes no sense is refused before anything of its request is done together with others', async () => {
  const { body: timer } = await api.request('POST', '/v1/timers', { ...LARGE, payload: 1 });
  const answers = await Promise.all([
    api.request('PATCH', `/v1/timers/${timer.id}`, { payload: 2 }),
    api.request('PATCH', `/v1/timers/${timer.id}`, { payload: 3 }, { 'if-match': '3' }),
  ]);
  expect(answers.map(({ status }) => status)).toEqual([200, 400]);
  expect((await api.request('GET', `/v1/timers/${timer.id}`)).body.payload).toBe(2);
});

test.each([-1, -Number.MAX_SAFE_INTEGER])('a cursor at an instant that there is not (%s) is refused', async (at) => {
  const cursor = encodeCursor({ at, id: ids[0]! });
  for (const list of ['timers', 'dead-letters', 'runs', 'workflows', 'audit-log']) {
    expect(await api.request('GET', `/v1/${list}?cursor=${cursor}`), list).toMatchObject({ status: 400 });
  }
});
