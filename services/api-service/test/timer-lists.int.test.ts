import { createTimers, type NewTimer } from '@punctual/database';
import { createId } from '@punctual/domain';
import { makeTimer } from '@punctual/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodeCursor } from '../cursor.ts';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { endTimer, startTimer } from './timer-steps.ts';

let api: TestApi;
/** Ids in the order in which lists must show them. */
let ordered: string[];
const AT = Date.parse('2020-05-01T00:00:00Z');
const RUN_ID = createId();
const WORKFLOW_ID = createId();

beforeAll(async () => {
  api = await openTestApi();
  const store = async (count: number, fields: (n: number) => Partial<NewTimer>) => {
    const timers = Array.from({ length: count }, (_, n) => makeTimer(fields(n)));
    await createTimers(api.testDatabase.database.hot, timers);
    return timers;
  };
  // Ten timers share each due time, so the order within must come from their ids.
  const timers = await store(60, (n) => ({
    dueAt: AT + Math.floor(n / 10) * 60_000,
    taskKey: n % 2 ? 'odd' : 'even',
    ...(n % 3 === 0 && { labels: JSON.stringify({ third: 'yes', n: `${n}` }) }),
    ...(n < 12 && { runId: RUN_ID }),
    ...(n >= 50 && { workflowId: WORKFLOW_ID }),
  }));
  for (const [n, { id }] of timers.entries()) {
    if (n % 6 === 1) await endTimer(api, (await startTimer(api, id, 1))!, 'succeeded');
    if (n % 6 === 2) await endTimer(api, (await startTimer(api, id, 1))!, 'dead');
    if (n % 6 === 4 && n >= 12) await api.request('DELETE', `/v1/timers/${id}`);
  }
  ordered = timers.toSorted((a, b) => a.dueAt - b.dueAt || (a.id < b.id ? -1 : 1)).map(({ id }) => id);
});
afterAll(async () => {
  await api.close();
});

async function readAll(query: string): Promise<Record<string, string>[]> {
  const found = [];
  let cursor: string | null = null;
  do {
    const { status, body } = await api.request('GET', `/v1/timers?${query}${cursor ? `&cursor=${cursor}` : ''}`);
    expect(status).toBe(200);
    found.push(...body.data);
    cursor = body.nextCursor;
  } while (cursor !== null);
  return found;
}
const count = async (query: string) => (await api.request('GET', `/v1/timers/count?${query}`)).body;

test.each([1, 7, 30, 60, 200])(
  'pages of %i show each timer once, whichever table holds it, in order of due time and id',
  async (limit) => {
    expect((await readAll(`limit=${limit}`)).map(({ id }) => id)).toEqual(ordered);
  },
);

test.each([
  ['status=succeeded', (timer: Record<string, string>) => timer.status === 'succeeded'],
  ['status=dead,cancelled', (timer: Record<string, string>) => ['dead', 'cancelled'].includes(timer.status!)],
  ['status=dead&status=scheduled', (timer: Record<string, string>) => ['dead', 'scheduled'].includes(timer.status!)],
  ['taskKey=odd', (timer: Record<string, string>) => timer.taskKey === 'odd'],
  [`runId=${RUN_ID}`, (timer: Record<string, string>) => timer.runId === RUN_ID],
  [`workflowId=${WORKFLOW_ID.toUpperCase()}`, (timer: Record<string, string>) => timer.workflowId === WORKFLOW_ID],
  ['label.third=yes', (timer: Record<string, unknown>) => (timer.labels as { third?: string })?.third === 'yes'],
  ['label.third=yes&label.n=6', (timer: Record<string, unknown>) => (timer.labels as { n?: string })?.n === '6'],
  ['label.third=no', () => false],
  [
    'dueAfter=2020-05-01T00:01:00Z&dueBefore=2020-05-01T00:03:00Z',
    ({ dueAt }: Record<string, string>) => dueAt! >= '2020-05-01T00:01:00.000Z' && dueAt! < '2020-05-01T00:03:00.000Z',
  ],
  ['status=skipped', () => false],
  ['status=paused&taskKey=odd', () => false],
])('the filter %s finds what it names, in lists, counts and histograms alike', async (query, matches) => {
  const all = await readAll('limit=200');
  const expected = all.filter(matches as never);
  expect(await readAll(`limit=5&${query}`)).toEqual(expected);
  expect(await count(query)).toEqual({ count: expected.length });
  const { body } = await api.request('GET', `/v1/timers/histogram?bucket=60&${query}`);
  const counts = new Map<string, number>();
  for (const { dueAt } of expected) counts.set(dueAt!, (counts.get(dueAt!) ?? 0) + 1);
  expect(body.bucketSeconds).toBe(60);
  expect(body.buckets.map(({ from, count: timers }: { from: string; count: number }) => [from, timers])).toEqual([
    ...counts,
  ]);
});

test('histograms have stretches of a minute, an hour, a day of UTC or any number of seconds', async () => {
  for (const [bucket, from, to] of [
    ['hour', '2020-05-01T00:00:00.000Z', '2020-05-01T01:00:00.000Z'],
    ['day', '2020-05-01T00:00:00.000Z', '2020-05-02T00:00:00.000Z'],
    ['7200', '2020-05-01T00:00:00.000Z', '2020-05-01T02:00:00.000Z'],
  ]) {
    const { body } = await api.request('GET', `/v1/timers/histogram?bucket=${bucket}`);
    expect(body.buckets).toEqual([{ from, to, count: 60 }]);
  }
});

test('a histogram of more stretches than allowed is refused', async () => {
  const timers = Array.from({ length: 1000 }, (_, n) =>
    makeTimer({ dueAt: AT + 86_400_000 * (n + 2), taskKey: 'spread' }),
  );
  await createTimers(api.testDatabase.database.hot, timers);
  const url = '/v1/timers/histogram?taskKey=spread&bucket';
  expect((await api.request('GET', `${url}=day`)).body.buckets).toHaveLength(1000);
  await createTimers(api.testDatabase.database.hot, [makeTimer({ dueAt: AT + 86_400_000 * 2000, taskKey: 'spread' })]);
  expect(await api.request('GET', `${url}=day`)).toMatchObject({
    status: 400,
    body: { errors: [{ pointer: '/query/bucket' }] },
  });
});

test('counts are exact up to ten thousand and capped beyond', async () => {
  const store = (length: number) =>
    createTimers(
      api.testDatabase.database.hot,
      Array.from({ length }, () => makeTimer({ taskKey: 'many' })),
    );
  for (let n = 0; n < 10; n += 1) await store(1000);
  expect(await count('taskKey=many')).toEqual({ count: 10_000 });
  await store(1);
  expect(await count('taskKey=many')).toEqual({ count: 10_000, capped: true });
});

test.each([
  'limit=0',
  'limit=201',
  'limit=1.5',
  'limit=x',
  'limit=1&limit=2',
  'status=asleep',
  'status=',
  'status=dead,',
  'runId=1',
  'dueAfter=yesterday-at-the-latest',
  'dueBefore=2020-02-30T00:00:00Z',
  'colour=red',
  'label.=x',
  `label.a=${'x'.repeat(257)}`,
  'label.a=1&label.a=2',
  'taskKey=%00',
  'bucket=minute',
])('a list with %s is refused with a pointer to it', async (query) => {
  const { status, body } = await api.request('GET', `/v1/timers?${query}`);
  expect({ status, code: body.code }).toEqual({ status: 400, code: 'invalid_request' });
  expect(body.errors).toHaveLength(1);
});

test('a cursor that was tampered with is refused', async () => {
  const { body } = await api.request('GET', '/v1/timers?limit=1');
  const good: string = body.nextCursor;
  const forged = Buffer.from('0.01900000-0000-7000-8000-00000000dead.x').toString('base64url');
  const bad = [
    good.slice(0, -3),
    `${good}x`,
    `A${good.slice(1)}`,
    'x',
    forged,
    '....',
    encodeCursor({ at: Number.NaN, id: 'x' }),
  ];
  for (const cursor of bad) {
    expect(await api.request('GET', `/v1/timers?cursor=${cursor}`)).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/query/cursor' }] },
    });
  }
  expect(await api.request('GET', `/v1/timers?cursor=${good}`)).toMatchObject({ status: 200 });
});
