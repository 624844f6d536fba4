import { inTransaction } from '@punctual/database';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { withoutFaults } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestApi, type TestAnswer, type TestApi } from './open-test-api.ts';
import { createDeadLetter, HOUR, NOOP, UNKNOWN_ID } from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(() => api.close());

const createTimer = async (): Promise<string> =>
  (await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR })).body.id;
const WORKFLOW = { name: 'w', tasks: [{ key: 'only', action: NOOP }] };
const createWorkflow = async (): Promise<string> => (await api.request('POST', '/v1/workflows', WORKFLOW)).body.id;

interface Change {
  method: string;
  url: string;
  body?: unknown;
  /** Makes it impossible to do the same once more: who is answered as before was not asked to. */
  spoil: () => Promise<unknown>;
}

const forget = (table: string, id: string) =>
  api.testDatabase.database.ordinary.query(`DELETE FROM ${table} WHERE id = $1`, [id]);

/** Every way to change something that is no POST. */
const CHANGES: Record<string, () => Promise<Change>> = {
  'PATCH of a timer': async () => {
    const id = await createTimer();
    return { method: 'PATCH', url: `/v1/timers/${id}`, body: { payload: 1 }, spoil: () => forget('timers', id) };
  },
  'PATCH of a batch of timers': async () => {
    const ids = [await createTimer(), await createTimer()];
    const timers = ids.map((id) => ({ id, payload: 1 }));
    return { method: 'PATCH', url: '/v1/timers/batch', body: { timers }, spoil: () => forget('timers', ids[0]!) };
  },
  'DELETE of a timer': async () => {
    const id = await createTimer();
    return { method: 'DELETE', url: `/v1/timers/${id}`, spoil: () => forget('finished_timers', id) };
  },
  'PUT of a workflow': async () => {
    const id = await createWorkflow();
    const spoil = () => api.request('DELETE', `/v1/workflows/${id}`);
    return { method: 'PUT', url: `/v1/workflows/${id}`, body: { ...WORKFLOW, name: 'new' }, spoil };
  },
  'DELETE of a workflow': async () => {
    const id = await createWorkflow();
    const spoil = async () => {
      await api.testDatabase.database.ordinary.query('DELETE FROM workflow_versions WHERE workflow_id = $1', [id]);
      await forget('workflows', id);
    };
    return { method: 'DELETE', url: `/v1/workflows/${id}`, spoil };
  },
  'DELETE of a dead letter': async () => {
    const id = await createDeadLetter(api);
    return { method: 'DELETE', url: `/v1/dead-letters/${id}`, spoil: () => forget('finished_timers', id) };
  },
  'DELETE of an API key': async () => {
    const { body } = await api.request('POST', '/v1/api-keys', { name: 'key', scope: 'read' });
    return { method: 'DELETE', url: `/v1/api-keys/${body.id}`, spoil: () => forget('api_keys', body.id) };
  },
  'DELETE of a signing secret': async () => {
    const url = `/v1/tenants/${DEFAULT_TENANT_ID}/signing-secrets`;
    const { body } = await api.request('POST', url, {});
    // It is gone already: without the key the next answer is a 404.
    return { method: 'DELETE', url: `${url}/${body.id}`, spoil: async () => {} };
  },
};

const send = (change: Omit<Change, 'spoil'>, key: string): Promise<TestAnswer> =>
  api.request(change.method, change.url, change.body, { 'idempotency-key': key });
const show = ({ status, headers, body }: TestAnswer) => ({ status, body, etag: headers.etag });

describe.each(Object.keys(CHANGES))('%s with an idempotency key', (name) => {
  test('is made once, and a repeat gets the first answer', async () => {
    const change = await CHANGES[name]!();
    const key = createId();
    const first = await send(change, key);
    expect(first.status).toBeLessThan(300);
    await change.spoil();
    expect(show(await send(change, key))).toEqual(show(first));
    const other = await send(change, createId());
    expect(show(other), 'without the key it would be answered otherwise').not.toEqual(show(first));
  });

  test('waits for nobody while the first request is under way, and is no other request', async () => {
    const change = await CHANGES[name]!();
    const key = createId();
    await inTransaction(api.testDatabase.database.ordinary, async (client) => {
      await client.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`${DEFAULT_TENANT_ID} ${key}`]);
      // A client that expects faults would come again until it is answered otherwise.
      const answer = await withoutFaults(() => send(change, key));
      expect(answer).toMatchObject({ status: 409, body: { code: 'idempotency_in_progress' } });
    });
    expect((await send(change, key)).status).toBeLessThan(300);
    expect(await send({ method: 'POST', url: '/v1/workflows', body: WORKFLOW }, key)).toMatchObject({
      status: 422,
      body: { code: 'idempotency_mismatch' },
    });
  });
});

/** All rows that any of the changes may touch. */
async function dumpTables(): Promise<string[]> {
  const tables = ['timers', 'finished_timers', 'dead_letters', 'workflows', 'workflow_versions', 'api_keys'];
  const others = ['signing_secrets', 'ledger_entries', 'audit_log', 'idempotency_keys'];
  const rows = [...tables, ...others].map((name) => `SELECT '${name} ' || t::text AS row FROM ${name} AS t`);
  const found = await api.testDatabase.database.ordinary.query<{ row: string }>(rows.join(' UNION ALL '));
  return found.rows.map(({ row }) => row).toSorted();
}

describe('a change whose answer can not be kept', () => {
  const alter = (action: string) => api.testDatabase.database.ordinary.query(`ALTER TABLE idempotency_keys ${action}`);
  beforeAll(() => alter(`ADD CONSTRAINT picky CHECK (key NOT LIKE 'unkept%')`));
  afterAll(() => alter('DROP CONSTRAINT picky'));

  test.each(Object.keys(CHANGES))('is not made: %s', async (name) => {
    const change = await CHANGES[name]!();
    const before = await dumpTables();
    expect((await send(change, `unkept ${name}`.replaceAll(' ', '-'))).status).toBe(500);
    expect(await dumpTables()).toEqual(before);
  });
});

test('a change that is refused keeps no key', async () => {
  const key = createId();
  expect(await send({ method: 'PATCH', url: `/v1/timers/${UNKNOWN_ID}`, body: { payload: 1 } }, key)).toMatchObject({
    status: 404,
  });
  const id = await createTimer();
  expect(await send({ method: 'PATCH', url: `/v1/timers/${id}`, body: { payload: 1 } }, key)).toMatchObject({
    status: 200,
    body: { version: 2 },
  });
  expect(await send({ method: 'PATCH', url: `/v1/timers/${id}`, body: { payload: 1 } }, key)).toMatchObject({
    status: 200,
    body: { version: 2 },
  });
});

test('a batch of changes with a key is made as a whole, and answers for each of its timers', async () => {
  const ids = [await createTimer(), await createTimer()];
  const timers = [...ids, UNKNOWN_ID].map((id) => ({ id, delay: HOUR, payload: 'new' }));
  const change = { method: 'PATCH', url: '/v1/timers/batch', body: { timers } };
  const key = createId();
  const first = await send(change, key);
  const results = first.body.results as { status: number; timer?: { version: number } }[];
  expect(results.map(({ status, timer }) => [status, timer?.version])).toEqual([
    [200, 2],
    [200, 2],
    [404, undefined],
  ]);
  expect((await send(change, key)).body).toEqual(first.body);
  expect((await api.request('GET', `/v1/timers/${ids[0]}`)).body.version).toBe(2);
});
