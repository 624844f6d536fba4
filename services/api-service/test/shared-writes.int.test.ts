import { inTransaction } from '@punctual/database';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { waitUntil, withoutFaults } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { createStranger } from './stranger.ts';
import { HOUR, NOOP } from './timer-steps.ts';

let api: TestApi;
let stranger: Record<string, string>;
beforeAll(async () => {
  // Long enough that what a test sends at once meets in one batch.
  api = await openTestApi({ API_BATCH_WINDOW_MS: '50', API_INSERTS_MAX: '1' });
  stranger = await createStranger(api);
});
afterAll(() => api.close());

const create = async (fields: object = {}, headers: Record<string, string> = {}) => {
  const answer = await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR, ...fields }, headers);
  expect(answer.status).toBe(201);
  return answer.body as { id: string; version: number };
};
const createMany = (count: number) => Promise.all(Array.from({ length: count }, () => create()));
const change = (id: string, body: object, headers: Record<string, string> = {}) =>
  api.request('PATCH', `/v1/timers/${id}`, body, headers);
const cancel = (id: string, headers: Record<string, string> = {}) =>
  api.request('POST', `/v1/timers/${id}/cancel`, undefined, headers);

/** Times a statement takes a connection of the pool for, while `work` runs. What fails takes more, and so does what has a key. */
async function countStatements(work: () => Promise<unknown>): Promise<number> {
  let count = 0;
  const listener = () => {
    count += 1;
  };
  api.context.database.hot.on('acquire', listener);
  await withoutFaults(work);
  api.context.database.hot.off('acquire', listener);
  return count;
}

describe('edits of single timers that come at the same time', () => {
  test('share their statements, and each gets its own answer', async () => {
    const timers = await createMany(200);
    const gone = createId();
    let answers: Awaited<ReturnType<typeof change>>[] = [];
    const statements = await countStatements(async () => {
      answers = await Promise.all([
        ...timers.map(({ id }, index) => change(id, { payload: index })),
        change(gone, { payload: 1 }),
        change(timers[0]!.id, { payload: 1, version: 7 }),
      ]);
    });
    expect(statements).toBeLessThan(40);
    expect(answers.slice(0, 200).map(({ status, body }) => [status, body.version, body.payload])).toEqual(
      timers.map((_, index) => [200, 2, index]),
    );
    expect(answers.slice(200).map(({ status }) => status)).toEqual([404, 412]);
    const cancels = await countStatements(async () => {
      answers = await Promise.all(timers.map(({ id }) => cancel(id)));
    });
    expect(cancels).toBeLessThan(40);
    expect(answers.every(({ status, body }) => status === 200 && body.status === 'cancelled')).toBe(true);
  });

  test('of one and the same timer all take effect, one after the other', async () => {
    const { id } = await create();
    const answers = await Promise.all(Array.from({ length: 5 }, (_, index) => change(id, { payload: index })));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(answers.map(({ body }) => body.version).toSorted()).toEqual([2, 3, 4, 5, 6]);
    const ended = await Promise.all([cancel(id), cancel(id), change(id, { payload: 9 })]);
    expect(ended.slice(0, 2).map(({ status }) => status)).toEqual([200, 200]);
    expect([200, 409]).toContain(ended[2]!.status);
  });
});

describe("a tenant whose writes wait for a lock of its own doesn't hold up another's", () => {
  test('edits', async () => {
    const mine = await create();
    const theirs = await create({}, stranger);
    let waiting: Promise<{ status: number }> | undefined;
    await inTransaction(api.testDatabase.database.ordinary, async (client) => {
      await client.query('SELECT FROM timers WHERE id = $1 FOR UPDATE', [mine.id]);
      waiting = change(mine.id, { payload: 1 });
      await waitForLock();
      expect((await change(theirs.id, { payload: 1 }, stranger)).status).toBe(200);
      expect((await cancel(theirs.id, stranger)).status).toBe(200);
    });
    expect((await waiting!).status).toBe(200);
  });

  test('creates, with or without names of their own', async () => {
    let waiting: Promise<{ status: number }> | undefined;
    await inTransaction(api.testDatabase.database.ordinary, async (client) => {
      await client.query(
        `INSERT INTO external_ids (tenant_id, kind, external_id, target_id) VALUES ($1, 'timer', 'taken', $2)`,
        [DEFAULT_TENANT_ID, createId()],
      );
      const body = { action: NOOP, delay: HOUR, externalId: 'taken' };
      waiting = api.request('POST', '/v1/timers', body);
      await waitForLock();
      await create({}, stranger);
      await create({ externalId: 'taken' }, stranger);
      await create({}, { ...stranger, 'idempotency-key': createId() });
      // Nor its own that need no name.
      await create();
      await client.query(`DELETE FROM external_ids WHERE external_id = 'taken' AND tenant_id = $1`, [
        DEFAULT_TENANT_ID,
      ]);
    });
    expect((await waiting!).status).toBe(201);
  });

  test('runs', async () => {
    const workflow = { name: 'w', tasks: [{ key: 'only', action: NOOP }] };
    const [mine, theirs] = await Promise.all([
      api.request('POST', '/v1/workflows', workflow),
      api.request('POST', '/v1/workflows', workflow, stranger),
    ]);
    let waiting: Promise<{ status: number }> | undefined;
    await inTransaction(api.testDatabase.database.ordinary, async (client) => {
      await client.query(
        `INSERT INTO external_ids (tenant_id, kind, external_id, target_id) VALUES ($1, 'run', 'taken', $2)`,
        [DEFAULT_TENANT_ID, createId()],
      );
      waiting = api.request('POST', '/v1/runs', { workflowId: mine.body.id, externalId: 'taken' });
      await waitForLock();
      const run = { workflowId: theirs.body.id, externalId: 'taken' };
      expect((await api.request('POST', '/v1/runs', run, stranger)).status).toBe(201);
      await client.query(`DELETE FROM external_ids WHERE kind = 'run' AND tenant_id = $1`, [DEFAULT_TENANT_ID]);
    });
    expect((await waiting!).status).toBe(201);
  });
});

async function waitForLock(): Promise<void> {
  await waitUntil('somebody waits for the lock', async () => {
    const { rows } = await api.testDatabase.database.hot.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return rows.length > 0;
  });
}
