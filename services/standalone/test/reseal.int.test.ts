import { execFile } from 'node:child_process';
import { join } from 'node:path';
import {
  addSigningSecret,
  beatServiceInstance,
  createTimers,
  inTransaction,
  readSigningSecrets,
  removeServiceInstance,
} from '@punctual/database';
import { type Action, createId, DEFAULT_TENANT_ID, openAction, sealAction } from '@punctual/domain';
import { makeKeyring, makeTimer, NEWER_TEST_KEYS, storeWorkflow, TEST_KEYS, useTestDatabase } from '@punctual/testkit';
import { expect, it } from 'vitest';

const ENTRY = join(import.meta.dirname, '../reseal.ts');
const PLAIN: Action = { type: 'http', url: 'https://a.example/', headers: { authorization: 'Bearer canary' } };
const db = useTestDatabase(4);
const alone = makeKeyring(NEWER_TEST_KEYS.split(',')[0]);

function runReseal(env: NodeJS.ProcessEnv): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [ENTRY], { env: { PATH: process.env.PATH, ...env } }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

it('npm run reseal puts everything under the first key, says so, and the key before it can go', async () => {
  const tenantId = createId();
  await db.database.ordinary.query(
    `INSERT INTO tenants (id, name, signing_secrets) VALUES ($1, 'old', '{whsec_plain}')`,
    [tenantId],
  );
  await inTransaction(db.database.ordinary, (client) =>
    addSigningSecret(client, makeKeyring(), {
      id: createId(),
      tenantId,
      secret: 'whsec_sealed',
      createdAt: Date.now() + 60_000,
    }),
  );
  const sealed = sealAction(PLAIN, { keyring: makeKeyring(), tenantId: DEFAULT_TENANT_ID }).action;
  const timers = [PLAIN, sealed].map((action) => makeTimer({ action: JSON.stringify(action) }));
  await createTimers(db.database.hot, timers);
  const dead = makeTimer();
  await db.database.ordinary.query(
    `INSERT INTO dead_letters (id, tenant_id, due_at, created_at, finished_at, version, state, partition, attempt, action)
     VALUES ($1, $2, now(), now(), now(), 1, 'dead', 0, 1, $3)`,
    [dead.id, DEFAULT_TENANT_ID, JSON.stringify(PLAIN)],
  );
  await storeWorkflow(db.database, [{ key: 'a', action: PLAIN }]);

  const env = { DATABASE_URL: db.url, ENCRYPTION_KEYS: NEWER_TEST_KEYS };
  const first = await runReseal(env);
  expect(first).toMatchObject({ code: 0, stderr: '' });
  expect(first.stdout).toContain('Everything is under the key "test-2".');
  const secrets = await readSigningSecrets(db.database.hot, tenantId, alone);
  expect(secrets.map(({ secret }) => secret)).toEqual(['whsec_sealed', 'whsec_plain']);
  const { rows } = await db.database.ordinary.query<{ action: string }>(
    `SELECT action::text FROM timers UNION ALL SELECT action::text FROM dead_letters
     UNION ALL SELECT tasks -> 0 ->> 'action' FROM workflow_versions`,
  );
  expect(rows).toHaveLength(4);
  for (const { action } of rows) {
    expect(openAction(JSON.parse(action) as Action, DEFAULT_TENANT_ID, alone)).toEqual(PLAIN);
  }
  expect(JSON.stringify(rows)).not.toContain('canary');
  expect(await runReseal(env)).toMatchObject({ code: 0 });

  const lost = await runReseal({ DATABASE_URL: db.url, ENCRYPTION_KEYS: TEST_KEYS });
  expect(lost.code).toBe(1);
  expect(lost.stdout).toContain('2 can not be read with these keys');
});

it('it moves nothing while an api that is alive seals with another key, and says which one and what to do', async () => {
  const sealed = sealAction(PLAIN, { keyring: makeKeyring(), tenantId: DEFAULT_TENANT_ID }).action;
  await createTimers(db.database.hot, [makeTimer({ action: JSON.stringify(sealed) })]);
  const details = { encryptionKeys: ['test-1', 'test-2'] };
  const forgotten = { id: createId(), role: 'api' as const, host: 'h1', pid: 77, version: '0', details };
  await beatServiceInstance(db.database.hot, forgotten);
  // As long as the test takes.
  await db.database.ordinary.query(
    `UPDATE service_instances SET heartbeat_at = clock_timestamp() + interval '1 minute'`,
  );
  const env = { DATABASE_URL: db.url, ENCRYPTION_KEYS: NEWER_TEST_KEYS };
  const refused = await runReseal(env);
  expect(refused).toMatchObject({ code: 2, stdout: '' });
  expect(refused.stderr).toContain(`${forgotten.id} (process 77 on h1) seals with "test-1"`);
  expect(refused.stderr).toContain('Restart each with ENCRYPTION_KEYS that begin with "test-2"');
  await removeServiceInstance(db.database.hot, forgotten.id);
  expect(await runReseal(env)).toMatchObject({ code: 0 });
});

it('it says in one sentence what it needs', async () => {
  const none = await runReseal({ DATABASE_URL: db.url });
  expect(none).toMatchObject({ code: 2, stderr: 'ENCRYPTION_KEYS is not set.\n' });
  const nowhere = await runReseal({ ENCRYPTION_KEYS: TEST_KEYS, PUNCTUAL_DATA_DIR: '/nowhere' });
  expect(nowhere).toMatchObject({ code: 2, stderr: expect.stringContaining('DATABASE_URL is not set') });
  const broken = await runReseal({ DATABASE_URL: db.url, ENCRYPTION_KEYS: 'k1:short' });
  expect(broken).toMatchObject({ code: 2, stderr: expect.stringContaining('32 bytes in base64') });
});
