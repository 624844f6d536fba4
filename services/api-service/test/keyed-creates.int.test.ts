import { createId } from '@punctual/domain';
import { withoutFaults } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestApi, type TestAnswer, type TestApi } from './open-test-api.ts';
import { createStranger } from './stranger.ts';
import { countEverything, HOUR, NOOP, readBalance } from './timer-steps.ts';

const APIS = 3;
/** Long enough that what a test sends at once meets in one batch. */
const SETTINGS = { API_BATCH_WINDOW_MS: '100' };

let apis: TestApi[];
let api: TestApi;
beforeAll(async () => {
  api = await openTestApi(SETTINGS);
  apis = [api];
  while (apis.length < APIS) apis.push(await openTestApi(SETTINGS, api));
});
afterAll(async () => {
  for (const opened of apis.toReversed()) await opened.close();
});

const create = (key: string, fields: Record<string, unknown> = {}, headers: Record<string, string> = {}, on = api) =>
  on.request('POST', '/v1/timers', { action: NOOP, delay: HOUR, ...fields }, { 'idempotency-key': key, ...headers });

/** How many connections of the pool that creates use were taken while `work` ran: each transaction takes one, if it does not fail. */
async function countTransactions(work: () => Promise<unknown>): Promise<number> {
  const { hot } = api.context.database;
  let count = 0;
  const listener = () => {
    count += 1;
  };
  hot.on('acquire', listener);
  await withoutFaults(work);
  hot.off('acquire', listener);
  return count;
}

describe('creates with idempotency keys', () => {
  test('share transactions, at most a hundred in each', async () => {
    const keys = Array.from({ length: 400 }, () => createId());
    let answers: TestAnswer[] = [];
    const transactions = await countTransactions(async () => {
      answers = await Promise.all(keys.map((key) => create(key)));
    });
    expect(new Set(answers.map(({ status, body }) => `${status} ${body.id}`)).size).toBe(400);
    expect(answers.every(({ status }) => status === 201)).toBe(true);
    expect(transactions).toBeGreaterThanOrEqual(4);
    // A few more when the requests did not arrive all at once.
    expect(transactions).toBeLessThanOrEqual(10);
    const again = await countTransactions(async () => {
      expect(await Promise.all(keys.map((key) => create(key)))).toEqual(
        answers.map(({ status, body }) => expect.objectContaining({ status, body })),
      );
    });
    expect(again).toBeLessThanOrEqual(10);
  });

  test('make one timer a key, whatever meets in the batches of several api processes', async () => {
    const names = Array.from({ length: 30 }, () => createId());
    const requests = Array.from({ length: 60 }, () => createId()).flatMap((key, index) => {
      // Two keys share an external id, and their pairs stand in opposite order.
      const externalId = names[index < 30 ? index : 59 - index]!;
      const same = { key, fields: { payload: 'one', ...(index % 2 === 0 && { externalId }) } };
      return [same, same, same, same, { key, fields: { payload: 'another' } }];
    });
    const sent = requests
      .map((request) => ({ request, place: Math.random() }))
      .toSorted((a, b) => a.place - b.place)
      .map(({ request }) => request);
    const before = await readBalance(api);
    const answers = await Promise.all(
      sent.map(async ({ key, fields }, index) => ({
        key,
        fields,
        ...(await create(key, fields, {}, apis[index % APIS])),
      })),
    );
    const repeats = await Promise.all(answers.map(({ key, fields }) => create(key, fields)));
    const made = new Set(answers.filter(({ status }) => status === 201).map(({ body }) => body.id));
    const pairs = answers.map((answer, index) => ({ ...answer, again: repeats[index]! }));
    for (const [key, ofKey] of Map.groupBy(pairs, (pair) => pair.key)) {
      const done = ofKey.filter(({ status }) => status < 300);
      expect(new Set(done.map(({ status, body }) => `${status} ${body.id}`)).size, key).toBe(1);
      expect(new Set(done.map(({ fields }) => fields)).size, 'bodies that were taken for one').toBe(1);
      for (const { status, body } of ofKey) {
        expect([200, 201, 409, 422]).toContain(status);
        if (status === 409) expect(body.code).toBe('idempotency_in_progress');
        if (status === 422) expect(body.code).toBe('idempotency_mismatch');
      }
      for (const { fields, again } of ofKey) {
        if (fields === done[0]!.fields) expect(again).toMatchObject({ status: done[0]!.status, body: done[0]!.body });
        else expect(again).toMatchObject({ status: 422, body: { code: 'idempotency_mismatch' } });
      }
    }
    const after = await readBalance(api);
    expect(after.live! - before.live!).toBe(made.size);
    expect(after.created! - before.created!).toBe(made.size);
    expect(api.logged).toEqual([]);
  });

  test('answer a key that comes twice in one batch as a repeat', async () => {
    const key = createId();
    const transactions = await countTransactions(async () => {
      const [first, repeat, other] = await Promise.all([
        create(key, { payload: 1 }),
        create(key, { payload: 1 }),
        create(key, { payload: 2 }),
      ]);
      expect(first).toMatchObject({ status: 201, headers: { location: `/v1/timers/${first.body.id}` } });
      expect(repeat).toMatchObject({ status: 201, body: first.body, headers: { location: first.headers.location } });
      expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_mismatch' } });
    });
    expect(transactions).toBe(1);
  });

  test('keep no key of a refused request, also when a good one with the same key came with it', async () => {
    const key = createId();
    const bad = { delay: { ...HOUR, value: 1e6, unit: 'days' } };
    const [first, second] = await Promise.all([create(key, bad), create(key)]);
    expect(first).toMatchObject({ status: 400, body: { errors: [{ pointer: '/delay/value' }] } });
    expect(second.status).toBe(201);
    expect(await create(key, bad)).toMatchObject({ status: 422 });
    expect(await create(key)).toMatchObject({ status: 201, body: second.body });
  });

  test('tell tenants apart that use one key', async () => {
    const key = createId();
    const stranger = await createStranger(api);
    const [own, others] = await Promise.all([
      create(key, { externalId: key }),
      create(key, { externalId: key }, stranger),
    ]);
    expect([own.status, others.status]).toEqual([201, 201]);
    expect(own.body.id).not.toBe(others.body.id);
    expect((await create(key, { externalId: key }, stranger)).body).toEqual(others.body);
    expect(await api.request('GET', `/v1/timers/${own.body.id}`, undefined, stranger)).toMatchObject({ status: 404 });
  });

  test('repeat the first answer although the request would be refused by now', async () => {
    const key = createId();
    const action = { type: 'http', url: 'http://127.0.0.1:9/hook' };
    const first = await create(key, { action });
    expect(first.status).toBe(201);
    const strict = await openTestApi({ ...SETTINGS, EGRESS_ALLOW: '' }, api);
    try {
      expect(await create(createId(), { action }, {}, strict)).toMatchObject({ status: 400 });
      expect(await create(key, { action }, {}, strict)).toMatchObject({ status: 201, body: first.body });
    } finally {
      await strict.close();
    }
  });

  test('fail alone when Postgres refuses their data, and can be sent again with the same key', async () => {
    const { ordinary } = api.testDatabase.database;
    const keys = [createId(), createId(), createId()];
    const send = () => Promise.all(keys.map((key, index) => create(key, { payload: index === 1 ? 'bad' : 'good' })));
    await ordinary.query(`ALTER TABLE timers ADD CONSTRAINT picky CHECK (payload::text <> '"bad"')`);
    const refused = await send();
    await ordinary.query('ALTER TABLE timers DROP CONSTRAINT picky');
    expect(refused.map(({ status }) => status)).toEqual([201, 500, 201]);
    api.logged.length = 0;
    const again = await send();
    expect(again.map(({ status }) => status)).toEqual([201, 201, 201]);
    for (const index of [0, 2]) expect(again[index]!.body).toEqual(refused[index]!.body);
  });

  test('answer with the timer that has the external id, new, stored before, or dropped by retention', async () => {
    const externalId = createId();
    const answers = await Promise.all([1, 2].map((n) => create(createId(), { externalId, payload: n })));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 201]);
    expect(answers[1]!.body).toEqual(answers[0]!.body);
    const key = createId();
    const later = await create(key, { externalId });
    expect(later).toMatchObject({ status: 200, body: answers[0]!.body });
    await api.testDatabase.database.ordinary.query('DELETE FROM timers WHERE id = $1', [later.body.id]);
    expect(await create(key, { externalId })).toMatchObject({ status: 200, body: answers[0]!.body });
    expect(await create(createId(), { externalId })).toMatchObject({ status: 201 });
  });

  test('end at once when their date is past and is to be skipped, once a key', async () => {
    const key = createId();
    const delay = { type: 'date', month: 1, day: 2, year: 2020, onPast: 'skip' };
    const first = await create(key, { delay });
    expect(first).toMatchObject({ status: 201, body: { status: 'skipped' } });
    const before = await countEverything(api);
    expect(await create(key, { delay })).toMatchObject({ status: 201, body: first.body });
    expect(await countEverything(api)).toEqual(before);
  });
});

describe('runs with idempotency keys', () => {
  test('share transactions, one run a key, and what is refused keeps no key', async () => {
    const { body: workflow } = await api.request('POST', '/v1/workflows', {
      name: createId(),
      tasks: [{ key: 'only', action: NOOP, delay: HOUR }],
    });
    const begin = (key: string, fields: Record<string, unknown> = {}) =>
      api.request('POST', '/v1/runs', { workflowId: workflow.id, ...fields }, { 'idempotency-key': key });
    const keys = Array.from({ length: 120 }, () => createId());
    const unknown = createId();
    const externalId = createId();
    const transactions = await countTransactions(async () => {
      const [first, repeats, [mismatch, refused, named, same]] = await Promise.all([
        Promise.all(keys.map((key) => begin(key, { input: 1 }))),
        Promise.all(keys.map((key) => begin(key, { input: 1 }))),
        Promise.all([
          begin(keys[0]!, { input: 2 }),
          begin(unknown, { workflowId: createId() }),
          begin(createId(), { externalId }),
          begin(createId(), { externalId }),
        ]),
      ]);
      expect(new Set(first.map(({ status, body }) => `${status} ${body.id}`)).size).toBe(keys.length);
      for (const [index, { status, body }] of repeats.entries()) {
        expect({ status, body }).toEqual({ status: 201, body: first[index]!.body });
      }
      expect(mismatch).toMatchObject({ status: 422, body: { code: 'idempotency_mismatch' } });
      expect(refused).toMatchObject({ status: 404 });
      expect([named!.status, same!.status].toSorted()).toEqual([200, 201]);
      expect(same!.body.id).toBe(named!.body.id);
    });
    expect(transactions).toBeLessThanOrEqual(10);
    expect(await begin(unknown)).toMatchObject({ status: 201 });
    const { rows } = await api.testDatabase.database.ordinary.query<{ count: number }>(
      'SELECT count(*) AS count FROM runs WHERE workflow_id = $1',
      [workflow.id],
    );
    expect(rows).toEqual([{ count: keys.length + 2 }]);
  });
});
