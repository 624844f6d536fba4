import { readSigningSecrets } from '@punctual/database';
import { createId, SIGNING_SECRETS_MAX } from '@punctual/domain';
import { areFaultsInjected, makeKeyring, NEWER_TEST_KEYS, repeatUnderFaults, withoutFaults } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SecretMover } from '../access/secret-mover.ts';
import { Heartbeat } from '../heartbeat.ts';
import { openTestApi, type TestApi } from './open-test-api.ts';

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
// Without faults: a secret is told once, and not to a repeat.
const createTenant = async (fields: object = {}) =>
  (await withoutFaults(() => api.request('POST', '/v1/tenants', { name: 'tenant', ...fields }))).body as {
    id: string;
    signingSecret: string;
  };
const rotate = (tenantId: string, body: object = {}, headers: Record<string, string> = {}) =>
  withoutFaults(() => api.request('POST', `/v1/tenants/${tenantId}/signing-secrets`, body, headers));
const list = async (tenantId: string) =>
  (await api.request('GET', `/v1/tenants/${tenantId}/signing-secrets`)).body.data as {
    id: string;
    createdAt: string;
    expiresAt?: string;
  }[];
/** What a worker signs with. */
const readSigning = async (tenantId: string) =>
  (await readSigningSecrets(api.testDatabase.database.hot, tenantId, makeKeyring())).map(({ secret }) => secret);
const dump = async () =>
  (await query('SELECT s::text AS row FROM signing_secrets AS s UNION ALL SELECT k::text FROM idempotency_keys AS k'))
    .map(({ row }) => row)
    .join('\n');

describe('a new signing secret', () => {
  test('is shown once, and signs before those that it replaces until their overlap is over', async () => {
    const tenant = await createTenant({ signingSecret: 'generate' });
    const answer = await rotate(tenant.id, { overlapSeconds: 3600 });
    expect(answer).toMatchObject({ status: 201, body: { signingSecret: expect.stringMatching(/^whsec_/) } });
    expect('expiresAt' in answer.body).toBe(false);
    expect(await readSigning(tenant.id)).toEqual([answer.body.signingSecret, tenant.signingSecret]);
    const secrets = await list(tenant.id);
    expect(secrets).toHaveLength(2);
    expect(JSON.stringify(secrets)).not.toContain('whsec_');
    const [before, present] = secrets;
    expect(present).toEqual({ id: answer.body.id, createdAt: answer.body.createdAt });
    const endsInMs = Date.parse(before!.expiresAt!) - Date.now();
    expect(endsInMs).toBeGreaterThan(3_500_000);
    expect(endsInMs).toBeLessThan(3_700_000);
    expect(await dump()).not.toContain('whsec_');
  });

  test('leaves a day for the change unless told otherwise, or none at all', async () => {
    const tenant = await createTenant({ signingSecret: 'generate' });
    await rotate(tenant.id);
    const [before] = await list(tenant.id);
    expect(Date.parse(before!.expiresAt!) - Date.now()).toBeGreaterThan(86_000_000);
    const answer = await rotate(tenant.id, { overlapSeconds: 0 });
    expect(await readSigning(tenant.id)).toEqual([answer.body.signingSecret]);
    expect(await list(tenant.id)).toHaveLength(1);
  });

  test('may be one of the own', async () => {
    const tenant = await createTenant();
    const signingSecret = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;
    expect((await rotate(tenant.id, { signingSecret })).body.signingSecret).toBe(signingSecret);
    expect(await readSigning(tenant.id)).toEqual([signingSecret]);
  });

  test('is made once with an Idempotency-Key, and kept nowhere in plain text', async () => {
    const tenant = await createTenant();
    const headers = { 'idempotency-key': createId() };
    const first = await rotate(tenant.id, {}, headers);
    const again = await rotate(tenant.id, {}, headers);
    const { signingSecret, ...rest } = first.body;
    expect(signingSecret).toMatch(/^whsec_/);
    expect(again).toMatchObject({ status: 201 });
    expect(again.body).toEqual(rest);
    expect(await list(tenant.id)).toHaveLength(1);
    expect(await dump()).not.toContain(signingSecret);
  });

  test('is refused while as many sign as a request has room for, however many come at once', async () => {
    const tenant = await createTenant();
    const answers = await Promise.all(Array.from({ length: SIGNING_SECRETS_MAX + 4 }, () => rotate(tenant.id)));
    const counts = Map.groupBy(answers, ({ status }) => status);
    expect(counts.get(201)).toHaveLength(SIGNING_SECRETS_MAX);
    expect(counts.get(409)).toHaveLength(4);
    expect(counts.get(409)![0]!.body).toMatchObject({ code: 'too_many_signing_secrets' });
    expect(await readSigning(tenant.id)).toHaveLength(SIGNING_SECRETS_MAX);
    const [oldest] = await list(tenant.id);
    await api.request('DELETE', `/v1/tenants/${tenant.id}/signing-secrets/${oldest!.id}`);
    expect((await rotate(tenant.id)).status).toBe(201);
  });

  test.each([
    ['a negative overlap', { overlapSeconds: -1 }, '/overlapSeconds'],
    ['an overlap beyond 30 days', { overlapSeconds: 2_592_001 }, '/overlapSeconds'],
    ['a fraction of a second', { overlapSeconds: 0.5 }, '/overlapSeconds'],
    ['a secret of another form', { signingSecret: 'secret' }, '/signingSecret'],
    ['a secret that is too short', { signingSecret: 'whsec_AAAA' }, '/signingSecret'],
    ['an unknown field', { secret: 'generate' }, '/secret'],
  ])('with %s is refused', async (_name, body, pointer) => {
    const tenant = await createTenant();
    expect(await rotate(tenant.id, body)).toMatchObject({ status: 400, body: { errors: [{ pointer }] } });
    expect(await list(tenant.id)).toEqual([]);
  });
});

test.each(['GET', 'POST'])('%s of an unknown tenant is answered 404', async (method) => {
  const body = method === 'POST' ? {} : undefined;
  expect(await api.request(method, `/v1/tenants/${createId()}/signing-secrets`, body)).toMatchObject({
    status: 404,
    body: { code: 'tenant_not_found' },
  });
});

test('a deleted secret signs no more, and after the last one nothing is signed', async () => {
  const tenant = await createTenant({ signingSecret: 'generate' });
  const isSigned = async () =>
    (await api.request('GET', '/v1/tenants?limit=200')).body.data.find(({ id }: { id: string }) => id === tenant.id)
      .isSigned;
  expect(await isSigned()).toBe(true);
  const [secret] = await list(tenant.id);
  const url = `/v1/tenants/${tenant.id}/signing-secrets/${secret!.id}`;
  const other = await createTenant();
  expect(await api.request('DELETE', url.replace(tenant.id, other.id))).toMatchObject({ status: 404 });
  expect(await api.request('DELETE', url)).toMatchObject({ status: 204, body: undefined });
  expect(await api.request('DELETE', url)).toMatchObject({ status: 404, body: { code: 'signing_secret_not_found' } });
  expect(await readSigning(tenant.id)).toEqual([]);
  expect(await isSigned()).toBe(false);
});

test("an admin replaces its own tenant's secret, and sees nothing of another's", async () => {
  const [mine, other] = [await createTenant(), await createTenant({ signingSecret: 'generate' })];
  const makeKey = async (scope: string) =>
    bearer((await api.request('POST', '/v1/api-keys', { name: 'k', scope, tenantId: mine.id })).body.key);
  const [admin, writer] = [await makeKey('admin'), await makeKey('write')];
  expect((await rotate(mine.id, {}, admin)).status).toBe(201);
  expect((await rotate(mine.id, {}, writer)).status).toBe(403);
  const [secret] = await list(other.id);
  const url = `/v1/tenants/${other.id}/signing-secrets`;
  for (const [method, path, body] of [
    ['GET', url],
    ['POST', url, {}],
    ['DELETE', `${url}/${secret!.id}`],
  ] as const) {
    expect(await api.request(method, path, body, admin)).toMatchObject({
      status: 404,
      body: { code: 'tenant_not_found' },
    });
  }
  expect(await readSigning(other.id)).toEqual([other.signingSecret]);
});

describe('without a key', () => {
  let plain: TestApi;
  beforeAll(async () => {
    plain = await openTestApi({ ENCRYPTION_KEYS: '' }, api);
  });
  afterAll(async () => {
    await plain.close();
  });

  test('the api works, and a secret is refused with a sentence that says what to set', async () => {
    const tenant = await createTenant();
    for (const [url, body] of [
      ['/v1/tenants', { name: 'signed', signingSecret: 'generate' }],
      [`/v1/tenants/${tenant.id}/signing-secrets`, {}],
    ] as const) {
      const answer = await plain.request('POST', url, body);
      expect(answer).toMatchObject({ status: 409, body: { code: 'encryption_key_missing' } });
      expect(answer.body.detail).toContain('ENCRYPTION_KEYS');
    }
    expect(await query(`SELECT id FROM tenants WHERE name = 'signed'`)).toEqual([]);
    expect((await plain.request('POST', '/v1/tenants', { name: 'unsigned' })).status).toBe(201);
    expect((await plain.request('GET', `/v1/tenants/${tenant.id}/signing-secrets`)).status).toBe(200);
  });
});

describe('secrets of earlier versions', () => {
  const storePlain = async () => {
    const id = createId();
    const secrets = ['whsec_present', 'whsec_before'];
    await query(`INSERT INTO tenants (id, name, signing_secrets) VALUES ($1, 'old', $2)`, [id, secrets]);
    return id;
  };
  const beat = (details: object) =>
    query(
      `INSERT INTO service_instances VALUES ($1, 'worker', 'h', 1, '0', clock_timestamp(), clock_timestamp() + interval '1 minute', $2)`,
      [createId(), details],
    );

  test('are moved once every worker has the key, and until then no other replaces them', async () => {
    const tenantId = await storePlain();
    const mover = new SecretMover(api.context);
    const move = () => repeatUnderFaults(() => mover.runOnce());
    await beat({ attemptsMax: 1 });
    await move();
    expect(await query('SELECT signing_secrets FROM tenants WHERE id = $1', [tenantId])).toEqual([
      { signing_secrets: ['whsec_present', 'whsec_before'] },
    ]);
    // While faults are injected warnings are left out, because they tell of these.
    const warnings = [{ message: expect.stringContaining('do not have the present encryption key') }];
    if (!areFaultsInjected) expect(api.logged).toMatchObject(warnings);
    api.logged.length = 0;
    expect(await rotate(tenantId)).toMatchObject({ status: 409, body: { code: 'signing_secrets_moving' } });
    expect(await readSigning(tenantId)).toEqual(['whsec_present', 'whsec_before']);

    await query('DELETE FROM service_instances');
    await beat({ encryptionKeys: ['test-1'] });
    await move();
    expect(await query('SELECT signing_secrets FROM tenants WHERE id = $1', [tenantId])).toEqual([
      { signing_secrets: [] },
    ]);
    expect(await readSigning(tenantId)).toEqual(['whsec_present', 'whsec_before']);
    expect(await list(tenantId)).toHaveLength(2);
    const { body } = await rotate(tenantId, { overlapSeconds: 60 });
    expect(await readSigning(tenantId)).toEqual([body.signingSecret, 'whsec_present', 'whsec_before']);
  });

  test('stay where they are in an api without a key', async () => {
    const tenantId = await storePlain();
    const plain = await openTestApi({ ENCRYPTION_KEYS: '' }, api);
    try {
      await repeatUnderFaults(() => new SecretMover(plain.context).runOnce());
    } finally {
      await plain.close();
    }
    expect(await query('SELECT cardinality(signing_secrets) AS count FROM tenants WHERE id = $1', [tenantId])).toEqual([
      { count: 2 },
    ]);
  });
});

test('two apis with different first keys do not undo each other’s moves: they wait until one of them has gone', async () => {
  const order = (first: number, second: number) => {
    const keys = NEWER_TEST_KEYS.split(',');
    return openTestApi({ ENCRYPTION_KEYS: `${keys[first]},${keys[second]}` }, api);
  };
  const apis = [await order(1, 0), await order(0, 1)];
  try {
    const [older, newer] = apis.map(({ context }) => ({
      beat: new Heartbeat(context),
      mover: new SecretMover(context),
    }));
    const tenant = await createTenant({ signingSecret: 'generate' });
    const readKeys = () => query('SELECT key_id FROM signing_secrets WHERE tenant_id = $1', [tenant.id]);
    const run = (role: { runOnce(): Promise<void> }) => repeatUnderFaults(() => role.runOnce());
    await query('DELETE FROM service_instances');
    await run(older!.beat);
    await run(newer!.beat);
    // A slow step of this test must not make one look dead.
    await query(`UPDATE service_instances SET heartbeat_at = clock_timestamp() + interval '1 minute'`);
    for (const { mover } of [newer!, older!, newer!]) {
      await run(mover);
      expect(await readKeys()).toEqual([{ key_id: 'test-1' }]);
    }
    if (!areFaultsInjected) {
      for (const [index, { beat }] of [newer!, older!].entries()) {
        const warnings = [{ message: expect.stringContaining(`${beat.id} (process ${process.pid} on `) }];
        expect(apis[index]!.logged).toMatchObject(warnings);
      }
    }
    await older!.beat.stop();
    await run(newer!.mover);
    expect(await readKeys()).toEqual([{ key_id: 'test-2' }]);
    await newer!.beat.stop();
  } finally {
    await Promise.all(apis.map((one) => one.close()));
  }
});
