import { TenantPool } from '@punctual/database';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { createStranger } from './stranger.ts';
import { HOUR, NOOP } from './timer-steps.ts';

// What a developer might forget, forgotten: the tenant's condition is cut out of statements on their way to Postgres.
// Everything else, from the request to the rows and back, is as it always is. So what keeps the stranger out below is
// row-level security alone, and the last test shows that nothing else does.

/** The tenant's condition of the statements that name timers by id, and of the lists. */
const CONDITIONS = [/\b(?:t\.)?tenant_id IS NOT DISTINCT FROM \$1::uuid/g, /\b(?:\w\.)?tenant_id = \$(\d+)::uuid/g];
const original = TenantPool.prototype.query;
let strippedCount = 0;

function strip(text: string): string {
  // The parameter stays, or Postgres would not know of what type it is.
  const stripped = text
    .replaceAll(CONDITIONS[0]!, '$$1::uuid IS NOT NULL')
    .replaceAll(CONDITIONS[1]!, '$$$1::uuid IS NOT NULL');
  if (stripped !== text) strippedCount += 1;
  return stripped;
}

let api: TestApi;
let stranger: Record<string, string>;
beforeAll(async () => {
  TenantPool.prototype.query = function query(this: TenantPool, ...[asked, values]: Parameters<typeof original>) {
    const changed = typeof asked === 'string' ? strip(asked) : { ...asked, text: strip(asked.text) };
    return original.call(this, changed, values);
  } as typeof original;
  api = await openTestApi();
  stranger = await createStranger(api);
});
afterAll(async () => {
  TenantPool.prototype.query = original;
  await api.close();
});

const create = async () =>
  (await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR })).body as { id: string };
const idsOf = (body: { data: { id: string }[] }) => body.data.map(({ id }) => id);

test('statements that forgot their tenant show a stranger no row of another tenant, and its owner every one', async () => {
  const { id } = await create();
  strippedCount = 0;
  expect((await api.request('GET', `/v1/timers/${id}`, undefined, stranger)).status).toBe(404);
  expect((await api.request('GET', `/v1/timers/${id}`)).body.id).toBe(id);
  expect(strippedCount).toBe(2);
  expect((await api.request('GET', '/v1/timers', undefined, stranger)).body.data).toEqual([]);
  expect(idsOf((await api.request('GET', '/v1/timers')).body)).toContain(id);
  expect((await api.request('GET', '/v1/timers/count', undefined, stranger)).body).toEqual({ count: 0 });
  expect(strippedCount).toBe(5);
});

test('a cancel that forgot its tenant cancels nothing of another tenant', async () => {
  const { id } = await create();
  strippedCount = 0;
  expect((await api.request('POST', `/v1/timers/${id}/cancel`, undefined, stranger)).status).toBe(404);
  expect(strippedCount).toBeGreaterThanOrEqual(2);
  expect((await api.request('GET', `/v1/timers/${id}`)).body.status).toBe('scheduled');
});

test('an edit that forgot its tenant changes nothing of another tenant', async () => {
  const { id } = await create();
  strippedCount = 0;
  for (const change of [{ payload: 1 }, { payload: 1, version: 1 }]) {
    expect((await api.request('PATCH', `/v1/timers/${id}`, change, stranger)).status).toBe(404);
  }
  expect(strippedCount).toBeGreaterThanOrEqual(3);
  expect((await api.request('GET', `/v1/timers/${id}`)).body.version).toBe(1);
});

test('an audit log that forgot its tenant tells an admin of its own tenant only', async () => {
  await create();
  const admin = await createStranger(api, 'admin');
  strippedCount = 0;
  const { body } = await api.request('GET', '/v1/audit-log?limit=200', undefined, admin);
  expect(body.data).toMatchObject([{ action: 'api-key.create' }]);
  expect(strippedCount).toBe(1);
});

test('without row-level security the same statements show a stranger the rows of everybody', async () => {
  const { id } = await create();
  const { ordinary } = api.context.database;
  const switchAll = async (way: 'DISABLE' | 'ENABLE') => {
    // A cancel also writes the history and the ledger.
    for (const table of ['timers', 'finished_timers', 'ledger_entries']) {
      await ordinary.query(`ALTER TABLE ${table} ${way} ROW LEVEL SECURITY`);
    }
  };
  await switchAll('DISABLE');
  try {
    expect((await api.request('GET', `/v1/timers/${id}`, undefined, stranger)).status).toBe(200);
    expect(idsOf((await api.request('GET', '/v1/timers', undefined, stranger)).body)).toContain(id);
    expect((await api.request('PATCH', `/v1/timers/${id}`, { payload: 1 }, stranger)).status).toBe(200);
    expect((await api.request('POST', `/v1/timers/${id}/cancel`, undefined, stranger)).status).toBe(200);
  } finally {
    await switchAll('ENABLE');
  }
});
