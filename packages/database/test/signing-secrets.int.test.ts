import {
  addSigningSecret,
  beatServiceInstance,
  deleteSigningSecret,
  expireOtherSecrets,
  inTransaction,
  pruneSigningSecrets,
  readSealingState,
  readSigningSecrets,
  removeServiceInstance,
  resealSigningSecrets,
  sealPlainSecrets,
} from '@punctual/database';
import { createId, Keyring } from '@punctual/domain';
import { makeKeyring, NEWER_TEST_KEYS, useTestDatabase, waitUntil } from '@punctual/testkit';
import { beforeEach, describe, expect, it } from 'vitest';

const db = useTestDatabase(4);
const keyring = makeKeyring();
const newer = makeKeyring(NEWER_TEST_KEYS);
const alone = makeKeyring(NEWER_TEST_KEYS.split(',')[0]);
const AT = Date.UTC(2027, 0, 1);

let tenantId: string;
beforeEach(async () => {
  await db.database.ordinary.query('DELETE FROM signing_secrets');
  await db.database.ordinary.query(`UPDATE tenants SET signing_secrets = '{}'`);
  tenantId = await storeTenant();
});

async function storeTenant(plain: string[] = []): Promise<string> {
  const id = createId();
  await db.database.ordinary.query(`INSERT INTO tenants (id, name, signing_secrets) VALUES ($1, 'tenant', $2)`, [
    id,
    plain,
  ]);
  return id;
}

async function add(secret: string, createdAt = AT, ring = keyring): Promise<string> {
  const id = createId();
  await inTransaction(db.database.ordinary, (client) =>
    addSigningSecret(client, ring, { id, tenantId, secret, createdAt }),
  );
  return id;
}

const read = async (ring = keyring, of = tenantId) =>
  (await readSigningSecrets(db.database.hot, of, ring)).map(({ secret }) => secret);
const dump = async () =>
  (
    await db.database.ordinary.query(
      `SELECT t::text AS row FROM tenants AS t UNION ALL SELECT s::text FROM signing_secrets AS s`,
    )
  ).rows
    .map(({ row }) => row)
    .join('\n');
const expire = (newestId: string, overlapMs: number) =>
  inTransaction(db.database.ordinary, (client) => expireOtherSecrets(client, tenantId, newestId, overlapMs));

describe('signing secrets', () => {
  it('are stored encrypted, and read newest first', async () => {
    await add('whsec_first', AT);
    await add('whsec_second', AT + 1_000);
    expect(await read()).toEqual(['whsec_second', 'whsec_first']);
    expect(await dump()).not.toContain('whsec_');
  });

  it('sign no longer than their overlap, which can be made shorter but not longer', async () => {
    const first = await add('whsec_first', AT);
    const second = await add('whsec_second', AT + 1_000);
    await expire(second, 60_000);
    const [, ending] = await readSigningSecrets(db.database.hot, tenantId, keyring);
    expect(ending!.expiresInMs).toBeGreaterThan(50_000);
    expect(ending!.expiresInMs).toBeLessThanOrEqual(60_000);
    const third = await add('whsec_third', AT + 2_000);
    await expire(third, 3_600_000);
    const [, ofSecond, ofFirst] = await readSigningSecrets(db.database.hot, tenantId, keyring);
    expect(ofSecond!.expiresInMs).toBeGreaterThan(3_000_000);
    expect(ofFirst!.expiresInMs).toBeLessThanOrEqual(60_000);
    await expire(third, 0);
    expect(await read()).toEqual(['whsec_third']);
    await waitUntil('both are destroyed', async () => (await pruneSigningSecrets(db.database.ordinary, 10)) === 2);
    expect(await deleteSigningSecret(db.database.ordinary, tenantId, first)).toBe(false);
    expect(await deleteSigningSecret(db.database.ordinary, tenantId, third)).toBe(true);
    expect(await read()).toEqual([]);
  });

  it('can not be read at all while one of them can not be decrypted', async () => {
    await add('whsec_first', AT, newer);
    const id = await add('whsec_second', AT + 1_000);
    await expect(read()).rejects.toMatchObject({ code: 'PUNCTUAL_SECRET_UNREADABLE' });
    await expect(read(new Keyring())).rejects.toMatchObject({ code: 'PUNCTUAL_SECRET_UNREADABLE' });
    expect(await read(newer)).toEqual(['whsec_second', 'whsec_first']);
    await expect(read(keyring)).rejects.not.toThrow(/whsec_/);
    // Moved to another tenant, or to another row, it opens no more.
    await db.database.ordinary.query('UPDATE signing_secrets SET id = $2 WHERE id = $1', [id, createId()]);
    await expect(read(newer)).rejects.toMatchObject({ code: 'PUNCTUAL_SECRET_UNREADABLE' });
  });
});

describe('signing secrets of earlier versions', () => {
  it('go on signing where they are, and behind newer ones', async () => {
    const tenant = await storeTenant(['whsec_present', 'whsec_before']);
    expect(await read(new Keyring(), tenant)).toEqual(['whsec_present', 'whsec_before']);
  });

  it('are moved, encrypted, in their order, each of them once, however many processes move them', async () => {
    const tenants = await Promise.all(
      Array.from({ length: 30 }, (_, n) => storeTenant([`whsec_present${n}`, `whsec_before${n}`])),
    );
    const expected = (n: number) => [`whsec_present${n}`, `whsec_before${n}`];
    const movers = Array.from({ length: 4 }, async () => {
      let moved = 0;
      for (let count = -1; count !== 0; moved += count) count = await sealPlainSecrets(db.database, keyring, 3);
      return moved;
    });
    // Whoever reads meanwhile finds all of them, in one place or the other.
    for (const [n, tenant] of tenants.entries()) expect(await read(keyring, tenant)).toEqual(expected(n));
    expect((await Promise.all(movers)).reduce((sum, moved) => sum + moved, 0)).toBe(30);
    for (const [n, tenant] of tenants.entries()) expect(await read(keyring, tenant)).toEqual(expected(n));
    expect(await dump()).not.toContain('whsec_');
    const { rows } = await db.database.ordinary.query('SELECT count(*)::int AS count FROM signing_secrets');
    expect(rows).toEqual([{ count: 60 }]);
  });
});

describe('another key', () => {
  it('takes over the secrets of those that it replaces', async () => {
    await add('whsec_first', AT);
    await add('whsec_second', AT + 1_000);
    expect(await resealSigningSecrets(db.database, newer, 10)).toBe(2);
    expect(await resealSigningSecrets(db.database, newer, 10)).toBe(0);
    expect(await read(alone)).toEqual(['whsec_second', 'whsec_first']);
  });

  it('leaves alone what needs a key that is not there', async () => {
    await add('whsec_first');
    expect(await resealSigningSecrets(db.database, alone, 10)).toBe(0);
    expect(await read()).toEqual(['whsec_first']);
    expect(await readSealingState(db.database, 'test-2')).toMatchObject({ plainTenants: 0, otherKeySecrets: 1 });
  });

  it('waits for workers that do not have it', async () => {
    const beat = async (role: 'worker' | 'scheduler', details: Record<string, unknown>) => {
      const instance = { id: createId(), role, host: 'h', pid: 1, version: '0', details };
      await beatServiceInstance(db.database.hot, instance);
      return instance.id;
    };
    const count = async () => (await readSealingState(db.database, 'test-1')).unpreparedWorkers;
    const ids = [await beat('worker', { encryptionKeys: ['test-1'] }), await beat('scheduler', {})];
    expect(await count()).toBe(0);
    ids.push(await beat('worker', { attemptsMax: 1 }), await beat('worker', { encryptionKeys: ['test-2'] }));
    expect(await count()).toBe(2);
    for (const id of ids) await removeServiceInstance(db.database.hot, id);
    expect(await count()).toBe(0);
  });
});
