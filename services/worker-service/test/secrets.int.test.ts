import {
  addSigningSecret,
  deleteSigningSecret,
  expireOtherSecrets,
  inTransaction,
  sealPlainSecrets,
} from '@punctual/database';
import { type Action, createId, sealAction } from '@punctual/domain';
import {
  makeKeyring,
  NEWER_TEST_KEYS,
  type ReceivedRequest,
  type Receiver,
  startReceiver,
  storeWorkflow,
  TEST_KEYS,
  useTestDatabase,
  waitUntil,
} from '@punctual/testkit';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { SigningSecrets } from '../signing-secrets.ts';
import { httpAction, openWorkerRig, QUICK_RETRY, type WorkerRig, waitForEnds } from './open-rig.ts';

const db = useTestDatabase(6);
const keyring = makeKeyring();
const encode = (byte: number) => `whsec_${Buffer.alloc(32, byte).toString('base64')}`;
const [OLD, NEW] = [encode(1), encode(2)];
/** In which a secret that was made or deleted counts in every worker (ms). */
const TAKEN_OVER_LIMIT_MS = 5_000;
/** How long secrets that were read are good at most, so that the next read fits into those five seconds (ms). */
const GOOD_FOR_MS = 4_000;

let rig: WorkerRig;
let receiver: Receiver;
let tenantId: string;

beforeAll(async () => {
  receiver = await startReceiver();
  rig = await openWorkerRig(db);
});
beforeEach(async () => {
  receiver.requests.length = 0;
  receiver.answer = () => ({});
  tenantId = await storeTenant();
});
afterAll(async () => {
  await rig.close();
  await receiver.close();
});

async function storeTenant(plain: string[] = []): Promise<string> {
  const id = createId();
  await db.database.ordinary.query(`INSERT INTO tenants (id, name, signing_secrets) VALUES ($1, 'tenant', $2)`, [
    id,
    plain,
  ]);
  return id;
}

async function addSecret(secret: string, of = tenantId, overlapMs = 0, ring = keyring): Promise<string> {
  const id = createId();
  await inTransaction(db.database.ordinary, async (client) => {
    await addSigningSecret(client, ring, { id, tenantId: of, secret, createdAt: Date.now() });
    await expireOtherSecrets(client, of, id, overlapMs);
  });
  return id;
}

/** Which of the secrets a request is signed with, by what a receiver would check. */
function findSigners({ headers, body }: ReceivedRequest): string[] {
  return [OLD, NEW].filter((secret) => {
    try {
      new Webhook(secret).verify(body, headers as Record<string, string>);
      return true;
    } catch {
      return false;
    }
  });
}

/** What a worker asks before it signs, by a clock that the test moves. */
const openSecrets = (clock: { nowMs: number }) => new SigningSecrets(db.database, keyring, () => clock.nowMs);
const readSecrets = async (secrets: SigningSecrets, of = tenantId) => secrets.peek(of) ?? (await secrets.read(of));

const countSignatures = ({ headers }: ReceivedRequest) => String(headers['webhook-signature']).split(' ').length;

/** Delivers one timer and returns the request that came of it. */
async function deliver(fields: object = {}, on: WorkerRig = rig): Promise<ReceivedRequest> {
  const [id] = await on.deliver({ tenantId, action: httpAction(receiver.url, { body: { total: 1 } }), ...fields });
  return waitUntil('it is delivered', () => receiver.requests.find(({ headers }) => headers['webhook-id'] === id));
}

describe('while one signing secret replaces another', () => {
  it('requests carry both signatures, and after the overlap only the new one', async () => {
    await addSecret(OLD);
    await addSecret(NEW, tenantId, 600_000);
    const request = await deliver();
    expect(findSigners(request)).toEqual([OLD, NEW]);
    expect(countSignatures(request)).toBe(2);
    const after = await storeTenant();
    await addSecret(OLD, after);
    await addSecret(NEW, after, 0);
    const later = await deliver({ tenantId: after });
    expect(findSigners(later)).toEqual([NEW]);
    expect(countSignatures(later)).toBe(1);
  });

  it('every worker signs with the new one within five seconds, and with none whose time is over', async () => {
    const clock = { nowMs: 0 };
    const workers = [openSecrets(clock), openSecrets(clock), openSecrets(clock)];
    await addSecret(OLD);
    // Not all of them ask at the same time.
    for (const worker of workers) {
      expect(await readSecrets(worker)).toEqual([OLD]);
      clock.nowMs += 700;
    }
    await addSecret(NEW, tenantId, 600_000);
    clock.nowMs += GOOD_FOR_MS;
    for (const worker of workers) expect(await readSecrets(worker)).toEqual([NEW, OLD]);
    const leftMs = GOOD_FOR_MS - 500;
    await db.database.ordinary.query(
      `UPDATE signing_secrets SET expires_at = clock_timestamp() + $2::int * interval '1 millisecond'
       WHERE tenant_id = $1 AND expires_at IS NOT NULL`,
      [tenantId, leftMs],
    );
    clock.nowMs += GOOD_FOR_MS;
    for (const worker of workers) expect(await readSecrets(worker)).toEqual([NEW, OLD]);
    clock.nowMs += leftMs;
    // Without asking again.
    for (const worker of workers) expect(worker.peek(tenantId)).toEqual([NEW]);
  });

  it('a deleted secret signs no more within five seconds', async () => {
    const id = await addSecret(OLD);
    expect(findSigners(await deliver())).toEqual([OLD]);
    await deleteSigningSecret(db.database.ordinary, tenantId, id);
    const unsigned = async () => (await deliver()).headers['webhook-signature'] === undefined;
    await waitUntil('requests are not signed any more', unsigned, TAKEN_OVER_LIMIT_MS);
  });

  it('secrets of earlier versions sign before, while and after they are moved', async () => {
    const clock = { nowMs: 0 };
    const worker = openSecrets(clock);
    const old = await storeTenant([OLD, NEW]);
    const readAgain = async () => {
      clock.nowMs += GOOD_FOR_MS;
      return (await readSecrets(worker, old)).toSorted();
    };
    expect(findSigners(await deliver({ tenantId: old }))).toEqual([OLD, NEW]);
    let isMoved = false;
    const moving = sealPlainSecrets(db.database, keyring, 10).finally(() => {
      isMoved = true;
    });
    while (!isMoved) expect(await readAgain()).toEqual([OLD, NEW].toSorted());
    await moving;
    expect(await readAgain()).toEqual([OLD, NEW].toSorted());
  });
});

describe('a secret that can not be decrypted', () => {
  const lostKeys = `lost:${Buffer.alloc(32, 9).toString('base64')}`;
  const readRow = async (id: string) =>
    (
      await db.database.ordinary.query<{ state: string; attempt: number; wait_ms: number }>(
        `SELECT state, attempt, date_part('epoch', wake_at - clock_timestamp()) * 1000 AS wait_ms FROM timers WHERE id = $1`,
        [id],
      )
    ).rows[0];

  /** Waits until the timer was given back, and tells how. */
  const waitForReturn = (id: string) =>
    waitUntil('it was given back', async () => {
      const row = await readRow(id);
      return row && row.state === 'scheduled' && row.wait_ms > 1_000 ? row : undefined;
    });

  it('of a signature: nothing is sent unsigned, and the timer waits for the key, without a loss of attempts', async () => {
    await addSecret(OLD, tenantId, 0, makeKeyring(lostKeys));
    const before = await rig.readMetric('worker_secrets_unreadable_total');
    const [id] = await rig.deliver({ tenantId, action: httpAction(receiver.url), retry: QUICK_RETRY });
    const row = await waitForReturn(id!);
    expect(row.attempt).toBe(0);
    expect(row.wait_ms).toBeLessThanOrEqual(30_000);
    expect(await rig.readMetric('worker_secrets_unreadable_total')).toBeGreaterThan(before);
    const line = rig.logged.find(({ message }) => String(message).includes('can not be decrypted'));
    expect(JSON.stringify(line)).toContain('lost');
    expect(JSON.stringify(rig.logged)).not.toContain(OLD);
    expect(receiver.requests).toEqual([]);
    // A worker that has the key sends it.
    const another = await rig.startAnother({ ENCRYPTION_KEYS: `${TEST_KEYS},${lostKeys}` });
    const send = async () => {
      await db.database.ordinary.query(
        `UPDATE timers SET wake_at = clock_timestamp(), version = version + 1 WHERE id = $1 AND state = 'scheduled'`,
        [id],
      );
      return receiver.requests.length > 0;
    };
    await waitUntil('it is sent', send);
    expect(findSigners(receiver.requests[0]!)).toEqual([OLD]);
    expect((await waitForEnds(db.database, [id!])).get(id!)).toMatchObject({ state: 'succeeded', attempt: 1 });
    await another.stop();
  });

  it('of two: the other one does not sign alone', async () => {
    await addSecret(OLD);
    await addSecret(NEW, tenantId, 600_000, makeKeyring(lostKeys));
    const another = await storeTenant();
    const [id] = await rig.deliver({ tenantId, action: httpAction(receiver.url) });
    await waitForReturn(id!);
    expect(receiver.requests).toEqual([]);
    // Nobody else waits for it.
    expect((await deliver({ tenantId: another })).headers).not.toHaveProperty('webhook-signature');
  });

  it('of a header: nothing is sent without it', async () => {
    const action: Action = { type: 'http', url: receiver.url, headers: { authorization: 'Bearer canary' } };
    const sealed = sealAction(action, { keyring: makeKeyring(lostKeys), tenantId }).action;
    const [id] = await rig.deliver({ tenantId, action: JSON.stringify(sealed), retry: QUICK_RETRY });
    expect((await waitForReturn(id!)).attempt).toBe(0);
    expect(receiver.requests).toEqual([]);
  });

  it('in a worker without any key: what has no secrets is sent', async () => {
    await rig.close();
    rig = await openWorkerRig(db, { settings: { ENCRYPTION_KEYS: '' } });
    const request = await deliver();
    expect(request.headers).not.toHaveProperty('webhook-signature');
    await addSecret(OLD);
    const other = await storeTenant();
    await addSecret(OLD, other);
    const [id] = await rig.deliver({ tenantId: other, action: httpAction(receiver.url) });
    await waitForReturn(id!);
    expect(receiver.requests).toHaveLength(1);
    await rig.close();
    rig = await openWorkerRig(db);
  });
});

describe('sealed headers of an action', () => {
  const action: Action = { type: 'http', url: '', headers: { Authorization: 'Bearer canary', 'x-plain': 'shown' } };
  const seal = (of: string) => sealAction({ ...action, url: receiver.url } as Action, { keyring, tenantId: of }).action;

  it("are sent in plain text, of a timer's own action and of a task's", async () => {
    const own = await deliver({ action: JSON.stringify(seal(tenantId)) });
    expect(own.headers).toMatchObject({ authorization: 'Bearer canary', 'x-plain': 'shown' });
    const defaultTenant = '00000000-0000-7000-8000-000000000001';
    const workflowId = await storeWorkflow(db.database, [{ key: 'a', action: seal(defaultTenant) }]);
    const ofTask = await deliver({
      tenantId: defaultTenant,
      action: null,
      workflowId,
      workflowVersion: 1,
      taskKey: 'a',
    });
    expect(ofTask.headers).toMatchObject({ authorization: 'Bearer canary' });
  });

  it('are opened by whichever of the keys sealed them', async () => {
    const newer = await openWorkerRig(db, { settings: { ENCRYPTION_KEYS: NEWER_TEST_KEYS } });
    try {
      const sealed = seal(tenantId);
      expect((await deliver({ action: JSON.stringify(sealed) }, newer)).headers.authorization).toBe('Bearer canary');
    } finally {
      await newer.close();
    }
  });

  it('are not sent for another tenant, not even when this worker has just opened them for their own', async () => {
    const text = JSON.stringify(seal(tenantId));
    await deliver({ action: text });
    const stranger = await storeTenant();
    const [id] = await rig.deliver({ tenantId: stranger, action: text });
    await waitUntil('it was given back', async () => {
      const { rows } = await db.database.ordinary.query(
        `SELECT FROM timers WHERE id = $1 AND state = 'scheduled' AND wake_at > clock_timestamp() + interval '1 second'`,
        [id],
      );
      return rows.length === 1;
    });
    expect(receiver.requests).toHaveLength(1);
  });
});
