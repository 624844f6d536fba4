import { createTimers, sealStoredActions } from '@punctual/database';
import { type Action, DEFAULT_TENANT_ID, isSealedText, openAction, sealAction } from '@punctual/domain';
import { makeKeyring, makeTimer, NEWER_TEST_KEYS, storeWorkflow, useTestDatabase } from '@punctual/testkit';
import { expect, it } from 'vitest';

const db = useTestDatabase(4);
const keyring = makeKeyring();
const newer = makeKeyring(NEWER_TEST_KEYS);
const alone = makeKeyring(NEWER_TEST_KEYS.split(',')[0]);
const plain: Action = {
  type: 'http',
  url: 'https://a.example/',
  headers: { authorization: 'Bearer canary', 'x-a': '1' },
};
const sealed = sealAction(plain, { keyring, tenantId: DEFAULT_TENANT_ID }).action;

async function readActions(table: string, column: string): Promise<Map<string, string>> {
  const { rows } = await db.database.ordinary.query(`SELECT ${column} AS id, action::text FROM ${table}`);
  return new Map(rows.map(({ id, action }) => [id, action]));
}

it('actions of timers and dead letters come under the present key, and nothing else of them changes', async () => {
  const actions = [plain, sealed, { type: 'noop' } as Action];
  const timers = Array.from({ length: 2_500 }, (_, n) => makeTimer({ action: JSON.stringify(actions[n % 3]) }));
  for (let from = 0; from < timers.length; from += 1_000) {
    await createTimers(db.database.hot, timers.slice(from, from + 1_000));
  }
  const dead = makeTimer();
  await db.database.ordinary.query(
    `INSERT INTO dead_letters (id, tenant_id, due_at, created_at, finished_at, version, state, partition, attempt, action)
     VALUES ($1, $2, now(), now(), now(), 1, 'dead', 0, 1, $3)`,
    [dead.id, DEFAULT_TENANT_ID, JSON.stringify(plain)],
  );
  const readVersions = async () =>
    (await db.database.ordinary.query('SELECT id, version, wake_at, state FROM timers ORDER BY id')).rows;
  const before = await readVersions();
  const withHeaders = timers.filter((_, n) => n % 3 !== 2).length;
  expect(await sealStoredActions(db.database, 'timers', newer)).toEqual({
    lookedAt: 2_500,
    sealed: withHeaders,
    unreadable: 0,
    unreadableSamples: [],
  });
  expect(await sealStoredActions(db.database, 'dead_letters', newer)).toMatchObject({ lookedAt: 1, sealed: 1 });
  expect(await readVersions()).toEqual(before);
  const stored = await readActions('timers', 'id');
  for (const [n, { id }] of timers.entries()) {
    const action = JSON.parse(stored.get(id)!) as Action;
    expect(openAction(action, DEFAULT_TENANT_ID, alone)).toEqual(n % 3 === 2 ? { type: 'noop' } : plain);
  }
  expect([...stored.values()].join()).not.toContain('canary');
  expect([...(await readActions('dead_letters', 'id')).values()].join()).not.toContain('canary');
  expect(await sealStoredActions(db.database, 'timers', newer)).toMatchObject({ lookedAt: 2_500, sealed: 0 });
});

it('workflow versions as well, task by task', async () => {
  const ids = await Promise.all(
    Array.from({ length: 40 }, () =>
      storeWorkflow(db.database, [
        { key: 'a', action: plain },
        { key: 'b', after: ['a'], action: { type: 'noop' }, timeoutMs: 7 },
        { key: 'c', action: sealed },
      ]),
    ),
  );
  expect(await sealStoredActions(db.database, 'workflow_versions', newer)).toMatchObject({
    lookedAt: 40,
    sealed: 40,
    unreadable: 0,
  });
  const { rows } = await db.database.ordinary.query<{ tasks: string }>(
    'SELECT tasks::text AS tasks FROM workflow_versions WHERE workflow_id = ANY ($1)',
    [ids],
  );
  expect(rows).toHaveLength(40);
  for (const { tasks } of rows) {
    const [a, b, c] = JSON.parse(tasks) as { action: Action; timeoutMs?: number }[];
    expect(openAction(a!.action, DEFAULT_TENANT_ID, alone)).toEqual(plain);
    expect(openAction(c!.action, DEFAULT_TENANT_ID, alone)).toEqual(plain);
    expect(b).toEqual({ key: 'b', after: ['a'], action: { type: 'noop' }, timeoutMs: 7 });
  }
});

it('what the keys do not open is counted, named and left as it is', async () => {
  const lost = makeKeyring(`lost:${Buffer.alloc(32, 9).toString('base64')}`);
  const action = JSON.stringify(sealAction(plain, { keyring: lost, tenantId: DEFAULT_TENANT_ID }).action);
  const timer = makeTimer({ action });
  await createTimers(db.database.hot, [timer]);
  expect(await sealStoredActions(db.database, 'timers', newer)).toMatchObject({
    unreadable: 1,
    unreadableSamples: [timer.id],
  });
  const stored = (await readActions('timers', 'id')).get(timer.id)!;
  expect(stored).toBe(action);
  expect(isSealedText((JSON.parse(stored) as { headers: { authorization: string } }).headers.authorization)).toBe(true);
});
