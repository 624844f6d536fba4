import { hash } from 'node:crypto';
import { acquirePartitionLeases, beatServiceInstance, createTimers } from '@punctual/database';
import { createId, DEFAULT_TENANT_ID, describeSigningSecret } from '@punctual/domain';
import { makeKeyring, makeTimer } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { askForSecret } from './stranger.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

const query = async (text: string, values: unknown[] = []) =>
  (await api.testDatabase.database.ordinary.query(text, values)).rows;
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

async function createTenant(fields: object = {}) {
  const answer = await api.request('POST', '/v1/tenants', { name: 'tenant', ...fields });
  expect(answer).toMatchObject({ status: 201 });
  return answer.body;
}

async function createKey(fields: object = {}) {
  const body = { name: 'key', scope: 'write', ...fields };
  const answer = await askForSecret('key', () => api.request('POST', '/v1/api-keys', body));
  expect(answer).toMatchObject({ status: 201 });
  return answer.body;
}

/** Every text that the database holds in rows of these tables. */
async function dumpTables(...tables: string[]): Promise<string> {
  const dumps = await Promise.all(tables.map((table) => query(`SELECT t::text AS row FROM ${table} AS t`)));
  return dumps
    .flat()
    .map(({ row }) => row)
    .join('\n');
}

describe('tenants', () => {
  test('a signing secret is shown once, when it is made, and never again', async () => {
    const generated = await createTenant({ signingSecret: 'generate' });
    expect(generated).toMatchObject({
      name: 'tenant',
      isSigned: true,
      signingSecret: expect.stringMatching(/^whsec_/),
    });
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    expect((await createTenant({ signingSecret: secret })).signingSecret).toBe(secret);
    const [row] = await query('SELECT id, key_id, ciphertext FROM signing_secrets WHERE tenant_id = $1', [
      generated.id,
    ]);
    const context = describeSigningSecret(generated.id, row.id);
    expect(makeKeyring().open({ keyId: row.key_id, ciphertext: row.ciphertext }, context)).toBe(
      generated.signingSecret,
    );
    expect(await dumpTables('tenants', 'signing_secrets')).not.toContain('whsec_');
    const list = await api.request('GET', '/v1/tenants?limit=200');
    expect(JSON.stringify(list.body)).not.toContain('whsec_');
    expect(list.body.data).toContainEqual({
      id: generated.id,
      name: 'tenant',
      isSigned: true,
      requestsPerSecondMax: null,
      liveTimersMax: null,
      retentionDays: null,
      createdAt: generated.createdAt,
    });
  });

  test('a tenant without a secret is not signed', async () => {
    const plain = await createTenant();
    expect(plain.isSigned).toBe(false);
    expect('signingSecret' in plain).toBe(false);
  });

  test('a repeat with the same Idempotency-Key makes no second tenant, and does not keep the secret anywhere', async () => {
    const headers = { 'idempotency-key': createId() };
    const body = { name: 'once', signingSecret: 'generate' };
    const first = await api.request('POST', '/v1/tenants', body, headers);
    const again = await api.request('POST', '/v1/tenants', body, headers);
    const { signingSecret, ...rest } = first.body;
    expect(signingSecret).toMatch(/^whsec_/);
    expect(again).toMatchObject({ status: 201 });
    expect(again.body).toEqual(rest);
    expect(await query(`SELECT id FROM tenants WHERE name = 'once'`)).toEqual([{ id: rest.id }]);
    expect(await dumpTables('idempotency_keys')).not.toContain(signingSecret);
  });

  test('the list shows each once, page by page', async () => {
    for (let index = 0; index < 5; index += 1) await createTenant({ name: `listed ${index}` });
    const seen: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const { body } = await api.request('GET', `/v1/tenants?limit=2${cursor && `&cursor=${cursor}`}`);
      seen.push(...body.data.map(({ id }: { id: string }) => id));
      cursor = body.nextCursor;
    }
    const rows = await query('SELECT id FROM tenants ORDER BY created_at, id');
    expect(seen).toEqual(rows.map(({ id }) => id));
    expect(seen).toContain(DEFAULT_TENANT_ID);
  });

  test.each<[string, unknown, string]>([
    ['no body', undefined, ''],
    ['no name', {}, '/name'],
    ['an empty name', { name: '' }, '/name'],
    ['a name that is too long', { name: 'n'.repeat(201) }, '/name'],
    ['a name that is a list', { name: ['n'] }, '/name'],
    ['NUL in the name', { name: '\0' }, '/name'],
    ['an unknown field', { name: 'n', color: 'red' }, '/color'],
    ['a secret that is too short', { name: 'n', signingSecret: 'whsec_AAAA' }, '/signingSecret'],
    ['a secret of another form', { name: 'n', signingSecret: 'secret' }, '/signingSecret'],
    ['a secret that is not canonical', { name: 'n', signingSecret: `whsec_${'A'.repeat(41)}` }, '/signingSecret'],
    ['a secret that is too long', { name: 'n', signingSecret: `whsec_${'A'.repeat(100)}` }, '/signingSecret'],
    ['a secret that is null', { name: 'n', signingSecret: null }, '/signingSecret'],
  ])('with %s is refused', async (_name, body, pointer) => {
    const before = await query('SELECT count(*) FROM tenants');
    const answer = await api.request('POST', '/v1/tenants', body);
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request', errors: [{ pointer }] } });
    expect(await query('SELECT count(*) FROM tenants')).toEqual(before);
  });
});

describe('API keys', () => {
  test('a key works as soon as it is answered, for its tenant and within its scope', async () => {
    const tenant = await createTenant();
    const reader = await createKey({ scope: 'read', tenantId: tenant.id });
    const writer = await createKey({ scope: 'write', tenantId: tenant.id });
    const admin = await createKey({ scope: 'admin', tenantId: tenant.id });
    const timer = { action: { type: 'noop' }, delay: { type: 'duration', value: 1, unit: 'hours' } };
    expect(await api.request('POST', '/v1/timers', timer, bearer(reader.key))).toMatchObject({ status: 403 });
    const created = await api.request('POST', '/v1/timers', timer, bearer(writer.key));
    expect(created.status).toBe(201);
    expect(await api.request('GET', `/v1/timers/${created.body.id}`, undefined, bearer(reader.key))).toMatchObject({
      status: 200,
    });
    expect(await api.request('GET', `/v1/timers/${created.body.id}`)).toMatchObject({ status: 404 });
    expect(await api.request('GET', '/v1/tenants', undefined, bearer(writer.key))).toMatchObject({ status: 403 });
    expect(await api.request('GET', '/v1/api-keys', undefined, bearer(writer.key))).toMatchObject({ status: 403 });
    expect(await api.request('GET', '/v1/api-keys', undefined, bearer(admin.key))).toMatchObject({ status: 200 });
  });

  test('of a key only its hash is stored, and a few characters of it are shown', async () => {
    const created = await createKey({ name: 'mine' });
    expect(created).toMatchObject({
      tenantId: DEFAULT_TENANT_ID,
      name: 'mine',
      scope: 'write',
      prefix: created.key.slice(0, 11),
    });
    const [row] = await query('SELECT key_hash FROM api_keys WHERE id = $1', [created.id]);
    expect(row.key_hash).toEqual(hash('sha256', created.key, 'buffer'));
    const stored = await dumpTables('api_keys', 'idempotency_keys');
    expect(stored).not.toContain(created.key);
    expect(stored).not.toContain(created.key.slice(11));
    const list = await api.request('GET', '/v1/api-keys?limit=200');
    const { key, ...rest } = created;
    expect(list.body.data).toContainEqual(rest);
    expect(JSON.stringify(list.body)).not.toContain(key.slice(11));
  });

  test('a repeat with the same Idempotency-Key makes no second key and does not show it again', async () => {
    const headers = { 'idempotency-key': createId() };
    const body = { name: 'only one', scope: 'read' };
    const first = await api.request('POST', '/v1/api-keys', body, headers);
    const again = await api.request('POST', '/v1/api-keys', body, headers);
    const { key, ...rest } = first.body;
    expect(key).toMatch(/^pk_/);
    expect(again.body).toEqual(rest);
    expect(await query(`SELECT id FROM api_keys WHERE name = 'only one'`)).toEqual([{ id: rest.id }]);
    expect(await dumpTables('idempotency_keys')).not.toContain(key);
    expect(await api.request('GET', '/v1/timers', undefined, bearer(key))).toMatchObject({ status: 200 });
  });

  test('a key revoked before its first use is refused, and revoking it again answers the same', async () => {
    const created = await createKey();
    const revoked = await api.request('DELETE', `/v1/api-keys/${created.id}`);
    expect(revoked).toMatchObject({ status: 200, body: { id: created.id, revokedAt: expect.stringMatching(/Z$/) } });
    expect(await api.request('DELETE', `/v1/api-keys/${created.id}`)).toMatchObject({
      status: 200,
      body: revoked.body,
    });
    expect(await api.request('GET', '/v1/timers', undefined, bearer(created.key))).toMatchObject({ status: 401 });
    expect(await api.request('DELETE', `/v1/api-keys/${createId()}`)).toMatchObject({
      status: 404,
      body: { code: 'api_key_not_found' },
    });
    expect(await api.request('DELETE', '/v1/api-keys/mine')).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/path/id' }] },
    });
  });

  test('the list can be that of one tenant', async () => {
    const tenant = await createTenant();
    const keys = [await createKey({ tenantId: tenant.id }), await createKey({ tenantId: tenant.id.toUpperCase() })];
    const list = await api.request('GET', `/v1/api-keys?tenantId=${tenant.id}`);
    expect(list.body.data.map(({ id }: { id: string }) => id)).toEqual(keys.map(({ id }) => id));
    expect(list.body.data[1].tenantId).toBe(keys[1].tenantId);
    const page = await api.request('GET', `/v1/api-keys?tenantId=${tenant.id}&limit=1`);
    const next = await api.request('GET', `/v1/api-keys?tenantId=${tenant.id}&limit=1&cursor=${page.body.nextCursor}`);
    expect(next.body).toMatchObject({ data: [{ id: keys[1].id }], nextCursor: null });
    expect(await api.request('GET', '/v1/api-keys?tenantId=me')).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/query/tenantId' }] },
    });
  });

  test.each<[string, unknown, string]>([
    ['no body', undefined, ''],
    ['no name', { scope: 'read' }, '/name'],
    ['no scope', { name: 'n' }, '/scope'],
    ['an unknown scope', { name: 'n', scope: 'root' }, '/scope'],
    ['a tenant that is no id', { name: 'n', scope: 'read', tenantId: 'me' }, '/tenantId'],
    ['an unknown field', { name: 'n', scope: 'read', key: 'pk_mine' }, '/key'],
    ['half a surrogate pair', '{"name":"\\udfff","scope":"read"}', '/name'],
  ])('with %s is refused', async (_name, body, pointer) => {
    const answer = await api.request('POST', '/v1/api-keys', body);
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request', errors: [{ pointer }] } });
  });

  test('of an unknown tenant is refused, and stores nothing', async () => {
    const before = await query('SELECT count(*) FROM api_keys');
    const answer = await api.request('POST', '/v1/api-keys', { name: 'n', scope: 'read', tenantId: createId() });
    expect(answer).toMatchObject({ status: 404, body: { code: 'tenant_not_found' } });
    expect(await query('SELECT count(*) FROM api_keys')).toEqual(before);
  });
});

test("another tenant's admin key has power over its own tenant only", async () => {
  const other = (await api.request('POST', '/v1/tenants', { name: 'evil' })).body;
  const admin = bearer((await createKey({ scope: 'admin', tenantId: other.id })).key);
  const foreign = { name: 'n', scope: 'admin', tenantId: DEFAULT_TENANT_ID };
  expect(await api.request('POST', '/v1/api-keys', foreign, admin)).toMatchObject({ status: 403 });
  expect(await api.request('POST', '/v1/api-keys', { name: 'n', scope: 'read' }, admin)).toMatchObject({
    status: 201,
    body: { tenantId: other.id },
  });
  const listed = await api.request('GET', `/v1/api-keys?tenantId=${DEFAULT_TENANT_ID}`, undefined, admin);
  expect(new Set(listed.body.data.map((key: { tenantId: string }) => key.tenantId))).toEqual(new Set([other.id]));
  for (const path of ['/v1/tenants', '/v1/ledger', '/v1/workers', '/v1/schedulers', '/v1/queues']) {
    expect(await api.request('GET', path, undefined, admin), path).toMatchObject({ status: 403 });
  }
  const mine = await createKey();
  expect(await api.request('DELETE', `/v1/api-keys/${mine.id}`, undefined, admin)).toMatchObject({ status: 404 });
});

test('everything of operators needs the scope admin', async () => {
  const writer = await createKey();
  const calls: [string, string, unknown?][] = [
    ['POST', '/v1/tenants', { name: 'n' }],
    ['GET', '/v1/tenants'],
    ['PATCH', `/v1/tenants/${DEFAULT_TENANT_ID}`, { name: 'n' }],
    ['POST', '/v1/api-keys', { name: 'n', scope: 'admin' }],
    ['GET', '/v1/api-keys'],
    ['DELETE', `/v1/api-keys/${writer.id}`],
    ['GET', '/v1/workers'],
    ['GET', '/v1/schedulers'],
    ['GET', '/v1/queues'],
    ['GET', '/v1/ledger'],
    ['POST', `/v1/workers/${DEFAULT_TENANT_ID}/drain`],
    ['POST', `/v1/schedulers/${DEFAULT_TENANT_ID}/resume`],
    ['POST', '/v1/schedulers/rebalance'],
  ];
  for (const [method, path, body] of calls) {
    expect(await api.request(method, path, body, bearer(writer.key)), path).toMatchObject({ status: 403 });
    expect(await api.request(method, path, body, { authorization: '' }), path).toMatchObject({ status: 401 });
  }
});

test('workers and schedulers are listed while they beat, schedulers with the partitions that they own', async () => {
  const { hot } = api.testDatabase.database;
  const beat = (role: 'worker' | 'scheduler' | 'api') => {
    const instance = { id: createId(), role, host: 'host-1', pid: 42, version: '0.1.0', details: { concurrency: 8 } };
    return beatServiceInstance(hot, instance).then(() => instance);
  };
  expect((await api.request('GET', '/v1/workers')).body).toEqual({ data: [], nextCursor: null });
  const worker = await beat('worker');
  const silent = await beat('worker');
  const [first, second] = [await beat('scheduler'), await beat('scheduler')];
  // Two that start in the same millisecond are listed by their ids.
  await query(`UPDATE service_instances SET started_at = started_at - interval '1 s' WHERE id = $1`, [first.id]);
  await beat('api');
  await query(`UPDATE service_instances SET heartbeat_at = clock_timestamp() - interval '6 s' WHERE id = $1`, [
    silent.id,
  ]);
  const leases = await acquirePartitionLeases(hot, first.id, 3, 60_000);
  await query(`UPDATE partition_leases SET expires_at = clock_timestamp() WHERE partition = $1`, [
    leases[0]!.partition,
  ]);
  const workers = await api.request('GET', '/v1/workers');
  const instant = expect.stringMatching(/Z$/);
  const { role: _role, ...fields } = worker;
  const shown = { kind: 'service', ...fields, status: 'running', startedAt: instant, heartbeatAt: instant };
  expect(workers.body).toEqual({ data: [shown], nextCursor: null });
  const schedulers = await api.request('GET', '/v1/schedulers');
  const held = leases
    .slice(1)
    .map(({ partition }) => partition)
    .toSorted((a, b) => a - b);
  expect(schedulers.body.data).toMatchObject([
    { id: first.id, host: 'host-1', pid: 42, partitions: held },
    { id: second.id, partitions: [] },
  ]);
  const page = await api.request('GET', '/v1/schedulers?limit=1');
  expect(page.body.data).toEqual([schedulers.body.data[0]]);
  const next = await api.request('GET', `/v1/schedulers?limit=1&cursor=${page.body.nextCursor}`);
  expect(next.body).toEqual({ data: [schedulers.body.data[1]], nextCursor: null });
  for (const path of [
    '/v1/workers?limit=0',
    '/v1/schedulers?cursor=abc',
    '/v1/queues?color=red',
    '/v1/workers?color=red',
  ]) {
    expect(await api.request('GET', path), path).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  }
});

test('queues are listed when the api was told of them, and 503 says that they can not be reached', async () => {
  expect(await api.request('GET', '/v1/queues')).toMatchObject({ status: 200, body: { data: [], nextCursor: null } });
  const context = api.context as { readQueues?: unknown };
  const queue = { name: 'punctual-0', backend: 'redis', waiting: 3, active: 1 };
  context.readQueues = async () => [queue];
  expect((await api.request('GET', '/v1/queues')).body).toEqual({ data: [queue], nextCursor: null });
  context.readQueues = async () => {
    throw new Error('connection refused by 10.1.2.3');
  };
  const away = await api.request('GET', '/v1/queues');
  expect(away).toMatchObject({ status: 503, headers: { 'retry-after': '1' }, body: { code: 'queue_unavailable' } });
  expect(JSON.stringify(away.body)).not.toContain('10.1.2.3');
  delete context.readQueues;
});

test('the ledger is balanced, and names what was lost, what is overdue and what nobody owns', async () => {
  const tenant = await createTenant();
  const later = Date.now() + 3_600_000;
  const timers = Array.from({ length: 3 }, () => makeTimer({ tenantId: tenant.id, dueAt: later }));
  await createTimers(api.testDatabase.database.hot, timers);
  const read = async (parameters = '') =>
    (await api.request('GET', `/v1/ledger?tenantId=${tenant.id}${parameters}`)).body;
  expect(await read()).toMatchObject({
    isBalanced: true,
    readAt: expect.stringMatching(/Z$/),
    total: { created: 3, scheduled: 3 },
    differences: [],
    overdueCount: 0,
    overdueAfterMs: 60_000,
    stuckRuns: [],
  });
  await query('DELETE FROM timers WHERE id = $1', [timers[0]!.id]);
  await query(`UPDATE timers SET wake_at = clock_timestamp() - interval '10 s' WHERE id = $1`, [timers[1]!.id]);
  const report = await read('&overdueAfterMs=5000');
  expect(report).toMatchObject({
    isBalanced: false,
    differences: [{ tenantId: tenant.id, partition: timers[0]!.partition, of: 'timers' }],
    overdueCount: 1,
    overdueTimers: [
      { id: timers[1]!.id, status: 'scheduled', partition: timers[1]!.partition, wakeAt: expect.stringMatching(/Z$/) },
    ],
  });
  expect(report.unownedPartitions.length).toBeGreaterThan(0);
  const all = await api.request('GET', '/v1/ledger');
  expect(all.body).toMatchObject({ isBalanced: false, differenceCount: 1 });
  for (const [parameters, pointer] of [
    ['tenantId=me', '/query/tenantId'],
    ['overdueAfterMs=-1', '/query/overdueAfterMs'],
    ['overdueAfterMs=soon', '/query/overdueAfterMs'],
    ['color=red', '/query/color'],
  ]) {
    expect(await api.request('GET', `/v1/ledger?${parameters}`)).toMatchObject({
      status: 400,
      body: { errors: [{ pointer }] },
    });
  }
});
