import { createTimers, type Database, sealStoredActions } from '@punctual/database';
import { type Action, createId, DEFAULT_TENANT_ID, openAction, sealAction } from '@punctual/domain';
import { makeKeyring, makeTimer, NEWER_TEST_KEYS, useTestDatabase } from '@punctual/testkit';
import { beforeEach, expect, it } from 'vitest';
import { resealStored } from '../reseal-stored.ts';

const ACTION: Action = { type: 'http', url: 'https://a.example/', headers: { authorization: 'Bearer canary' } };
const db = useTestDatabase(4);
const newer = makeKeyring(NEWER_TEST_KEYS);
const alone = makeKeyring(NEWER_TEST_KEYS.split(',')[0]);
beforeEach(async () => {
  // What one test leaves would be another look's reason to be taken.
  for (const table of ['timers', 'dead_letters']) await db.database.ordinary.query(`DELETE FROM ${table}`);
});

/** The database, with something that happens before each statement, and is told of the rows that it returns. */
function watch(before: (name: string) => Promise<void>, after: (name: string, rows: unknown[]) => void): Database {
  const ask = db.database.hot.query.bind(db.database.hot) as (config: { name: string }, values: unknown) => unknown;
  const query = async (config: { name: string }, values: unknown) => {
    await before(config.name);
    const result = (await ask(config, values)) as { rows: unknown[] };
    after(config.name, result.rows);
    return result;
  };
  return { ...db.database, hot: { query } as never };
}

async function storeDeadLetter(id: string, action: Action): Promise<void> {
  await db.database.ordinary.query(
    `INSERT INTO dead_letters (id, tenant_id, due_at, created_at, finished_at, version, state, partition, attempt, action)
     VALUES ($1, $2, now(), now(), now(), 1, 'dead', 0, 1, $3)`,
    [id, DEFAULT_TENANT_ID, JSON.stringify(action)],
  );
}

it.each([
  ['sealed by the key before', sealAction(ACTION, { keyring: makeKeyring(), tenantId: DEFAULT_TENANT_ID }).action],
  ['in plain text', ACTION],
])(
  'what moves behind the back of a look (%s) is under the key before anybody says that everything is',
  async (_name, action) => {
    const timer = makeTimer({ action: JSON.stringify(action) });
    await createTimers(db.database.hot, [timer]);
    let hasMoved = false;
    const database = watch(
      async (name) => {
        if (hasMoved || name !== 'read_actions_of_timers') return;
        hasMoved = true;
        // Its last attempt failed just now: dead letters were gone through already.
        await db.database.ordinary.query('DELETE FROM timers WHERE id = $1', [timer.id]);
        await storeDeadLetter(timer.id, action);
      },
      () => {},
    );
    const lines: string[] = [];
    expect(await resealStored(database, newer, 'test-2', (line) => lines.push(line))).toBe(true);
    expect(hasMoved).toBe(true);
    const { rows } = await db.database.ordinary.query<{ action: string }>(
      'SELECT action::text FROM dead_letters WHERE id = $1',
      [timer.id],
    );
    expect(openAction(JSON.parse(rows[0]!.action) as Action, DEFAULT_TENANT_ID, alone)).toEqual(ACTION);
    expect(rows[0]!.action).not.toContain('canary');
    expect(lines.at(-1)).toBe('Everything is under the key "test-2".');
  },
);

it('what only looks like a secret does not keep it from ending', async () => {
  const text = 'punctual-sealed:1:test-1:AAAA';
  const harmless = {
    type: 'http',
    url: 'https://a.example/',
    headers: { 'x-routing-key': 'a' },
    body: { headers: { authorization: text }, quoted: `"${text}` },
  };
  await createTimers(db.database.hot, [makeTimer({ action: JSON.stringify(harmless) })]);
  expect(await resealStored(db.database, newer, 'test-2', () => {})).toBe(true);
});

it('no page of actions holds more than some megabytes, however large they are', async () => {
  const body = 'x'.repeat(70_000);
  const timers = Array.from({ length: 66 }, () =>
    makeTimer({ id: createId(), action: JSON.stringify({ ...ACTION, body }) }),
  );
  for (let from = 0; from < timers.length; from += 22)
    await createTimers(db.database.hot, timers.slice(from, from + 22));
  const pages: number[] = [];
  const database = watch(
    async () => {},
    (name, rows) => {
      if (name === 'read_actions_of_timers') pages.push(JSON.stringify(rows).length);
    },
  );
  const result = await sealStoredActions(database, 'timers', newer);
  expect(result).toMatchObject({ lookedAt: 66, sealed: 66 });
  // Some quotes are escaped in what is measured here.
  expect(Math.max(...pages)).toBeLessThan(4_400_000);
  expect(await resealStored(db.database, newer, 'test-2', () => {})).toBe(true);
});
