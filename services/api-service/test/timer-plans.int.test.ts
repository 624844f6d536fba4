import {
  asTenant,
  cancelLoneTimers,
  cancelTimers,
  changeTimers,
  createTimers,
  finishTimers,
  fireTimer,
  inTransaction,
  listAttempts,
  type Queryable,
  readRunIdsOfDeadLetters,
  readRunIdsOfTimers,
  readTimers,
  redriveTimers,
  startTimers,
} from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { makeTimer, stopAutovacuum, TEST_ORIGIN, useTestDatabase } from '@punctual/testkit';
import { beforeAll, expect, test } from 'vitest';

// One connection a pool: plans are made per connection, and its statistics can be flushed at once.
const db = useTestDatabase(1);
beforeAll(() => stopAutovacuum(db.database));

/** Entries read so far of each index, and rows read without one, of the tables that hold timers. */
async function readAccesses(pool: Queryable): Promise<Record<string, number>> {
  await pool.query('SELECT pg_stat_force_next_flush()');
  const { rows } = await pool.query<{ path: string; reads: number }>(
    `SELECT indexrelname::text AS path, idx_tup_read AS reads FROM pg_stat_user_indexes WHERE relname ~ 'timers|dead_letters'
     UNION ALL SELECT relname || ' without index', seq_tup_read FROM pg_stat_user_tables WHERE relname ~ 'timers|dead_letters'`,
  );
  return Object.fromEntries(rows.map(({ path, reads }) => [path, reads]));
}

const ROWS = 5_000;
const NAMED = 20;
/** Timers that stay live, that succeeded and that died: a third each. */
async function store(): Promise<{ live: string[]; ended: string[]; dead: string[] }> {
  const ids: string[] = [];
  for (let from = 0; from < ROWS; from += 1_000) {
    const timers = Array.from({ length: 1_000 }, () => makeTimer({ dueAt: 0 }));
    await createTimers(db.database.hot, timers);
    ids.push(...timers.map(({ id }) => id));
    const ending = timers.slice(0, 666);
    const hints = ending.map(({ id }) => ({ id, version: 1 }));
    await startTimers(db.database.hot, hints, 1, 1);
    await finishTimers(
      db.database.hot,
      ending.map(({ id }, n) => ({
        id,
        version: 2,
        state: n < 333 ? ('succeeded' as const) : ('dead' as const),
        outcome: 'permanent' as const,
        startedAt: 0,
        latenessMs: 0,
        durationMs: 0,
        httpStatus: null,
        error: null,
        responseBody: null,
      })),
    );
  }
  const pick = (begin: number) => ids.slice(-1_000).slice(begin, begin + NAMED);
  return { live: pick(700), ended: pick(0), dead: pick(400) };
}

test.each([
  ['hot', 'the api'],
  ['ordinary', 'the api'],
  ['hot', 'a tenant'],
  ['ordinary', 'a tenant'],
] as const)(
  'in a database that was never analyzed %s connections look up by id what is named by id, as %s',
  async (name, user) => {
    const pool = user === 'a tenant' ? asTenant(db.database, DEFAULT_TENANT_ID)[name] : db.database[name];
    const runAll = async ({ live, ended, dead }: Awaited<ReturnType<typeof store>>) => {
      const records = await readTimers(pool, DEFAULT_TENANT_ID, [...live, ...ended, ...dead]);
      await readRunIdsOfTimers(pool, DEFAULT_TENANT_ID, live);
      await readRunIdsOfDeadLetters(pool, DEFAULT_TENANT_ID, dead);
      for (const id of [...ended, ...dead]) {
        const attempts = await listAttempts(pool, DEFAULT_TENANT_ID, id, { limit: 10, offset: 0 });
        expect(attempts).toHaveLength(1);
      }
      const edits = live.map((id) => ({ id, version: records.get(id)!.version, payload: '1', origin: TEST_ORIGIN }));
      const seen = await changeTimers(pool, DEFAULT_TENANT_ID, edits);
      const unseen = edits.map((edit) => ({ ...edit, version: null }));
      const changed = [...seen, ...(await changeTimers(pool, DEFAULT_TENANT_ID, unseen))];
      for (const id of live) await fireTimer(pool, DEFAULT_TENANT_ID, id, TEST_ORIGIN);
      const redriven = await inTransaction(pool, (client) => redriveTimers(client, DEFAULT_TENANT_ID, dead, []));
      const tasks = await cancelTimers(pool, DEFAULT_TENANT_ID, live.slice(1));
      const cancels = live.map((id) => ({ id, origin: TEST_ORIGIN }));
      const lone = await cancelLoneTimers(pool, DEFAULT_TENANT_ID, cancels);
      return [records.size, changed.length, redriven.length, tasks.length + lone.length];
    };
    // The first call makes the plans, while the tables are all but empty; from the sixth on they are made for good.
    for (let use = 0; use < 6; use += 1) await runAll({ live: [], ended: [], dead: [] });
    const named = await store();
    const before = await readAccesses(db.database[name]);
    expect(await runAll(named)).toEqual([3 * NAMED, 2 * NAMED, NAMED, NAMED]);
    const after = await readAccesses(db.database[name]);
    const reads = Object.entries(after).flatMap(([path, count]) =>
      count > (before[path] ?? 0) ? [[path, count - (before[path] ?? 0)] as const] : [],
    );
    const total = reads.reduce((sum, [, count]) => sum + count, 0);
    // Each statement finds its rows once or twice; walking through a table or a tenant would read thousands.
    expect(total, JSON.stringify(reads)).toBeLessThan(NAMED * 40);
  },
);
