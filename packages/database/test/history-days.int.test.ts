import { createTimers, finishTimers, inTransaction, keepHistoryDays, startTimers } from '@punctual/database';
import { makeTimer, useTestDatabase, waitUntilDue } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';

const DAY_MS = 86_400_000;
const DAYS_AHEAD = 7;
/** Keeps what ends today, seen from the years in which these tests live. */
const CENTURY_DAYS = 36_500;
const db = useTestDatabase(6);

/** Each test lives in a year of its own, in the order in which time goes. */
const JUNE_2101 = Date.UTC(2101, 5, 15, 12);
const JUNE_2102 = Date.UTC(2102, 5, 15, 23, 59, 59, 999);
const JUNE_2103 = Date.UTC(2103, 5, 15);
const JUNE_2104 = Date.UTC(2104, 5, 15);

const keep = (now: number, retentionDays: number) =>
  inTransaction(db.database.ordinary, (client) => keepHistoryDays(client, now, retentionDays));

function nameDays(table: string, now: number, first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, index) => {
    const day = new Date(now + (first + index) * DAY_MS).toISOString().slice(0, 10);
    return `${table}_${day.replaceAll('-', '')}`;
  });
}

async function listDays(table: string): Promise<string[]> {
  const { rows } = await db.database.ordinary.query<{ name: string }>(
    `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1`,
    [table],
  );
  return rows.map(({ name }) => name);
}

async function storeFinished(finishedAt: number): Promise<string> {
  const { id, tenantId } = makeTimer();
  await db.database.ordinary.query(
    `INSERT INTO finished_timers (id, tenant_id, due_at, created_at, finished_at, version, state, partition, attempt)
     VALUES ($1, $2, clock_timestamp(), clock_timestamp(), to_timestamp($3::float8 / 1000), 1, 'succeeded', 0, 1)`,
    [id, tenantId, finishedAt],
  );
  return id;
}

async function findHome(id: string): Promise<string | undefined> {
  const { rows } = await db.database.ordinary.query<{ home: string }>(
    'SELECT tableoid::regclass::text AS home FROM finished_timers WHERE id = $1',
    [id],
  );
  return rows[0]?.home;
}

describe("the history's days", () => {
  it('stand ready for today and a week ahead, and those past retention are dropped whole', async () => {
    await keep(JUNE_2101 - 3 * DAY_MS, 3);
    const { created, dropped } = await keep(JUNE_2101, 2);
    for (const table of ['finished_timers', 'attempts', 'audit_log']) {
      expect(created).toEqual(expect.arrayContaining(nameDays(table, JUNE_2101, 5, DAYS_AHEAD)));
      expect(dropped).toEqual(expect.arrayContaining(nameDays(table, JUNE_2101, -3, -3)));
      expect(await listDays(table)).toEqual([...nameDays(table, JUNE_2101, -2, DAYS_AHEAD), `${table}_default`]);
    }
    expect(await keep(JUNE_2101, 2)).toEqual({ created: [], dropped: [], oldestDayAt: Date.UTC(2101, 5, 13) });
  });

  it('are days of UTC: the last millisecond of one and the first of the next go to different partitions', async () => {
    await keep(JUNE_2102, 1);
    expect(await findHome(await storeFinished(JUNE_2102))).toBe('finished_timers_21020615');
    expect(await findHome(await storeFinished(JUNE_2102 + 1))).toBe('finished_timers_21020616');
    expect(await findHome(await storeFinished(JUNE_2102 + 30 * DAY_MS))).toBe('finished_timers_default');
  });

  it('are made around one whose rows went to the default partition, which keeps them until retention', async () => {
    const stray = await storeFinished(JUNE_2103 + 2 * DAY_MS);
    const { created } = await keep(JUNE_2103, 1);
    const wanted = nameDays('finished_timers', JUNE_2103, 0, DAYS_AHEAD);
    expect(created).toEqual(expect.arrayContaining(wanted.filter((name) => name !== 'finished_timers_21030617')));
    expect(created).not.toContain('finished_timers_21030617');
    expect(await findHome(stray)).toBe('finished_timers_default');
    await keep(JUNE_2103 + 3 * DAY_MS, 1);
    expect(await findHome(stray), 'within retention').toBe('finished_timers_default');
    await keep(JUNE_2103 + 5 * DAY_MS, 1);
    expect(await findHome(stray), 'past retention').toBeUndefined();
  });

  it('stay as long as some tenant or workflow keeps them, but for those of the audit log', async () => {
    const at = JUNE_2103 + 90 * DAY_MS;
    await keep(at - 3 * DAY_MS, 3);
    const { id, tenantId } = makeTimer();
    await db.database.ordinary.query('UPDATE tenants SET retention_days = 5 WHERE id = $1', [tenantId]);
    const first = await keep(at + 2 * DAY_MS, 1);
    expect(first.dropped.filter((name) => !name.startsWith('audit_log'))).toEqual([]);
    expect(first.dropped).toEqual(expect.arrayContaining(nameDays('audit_log', at, -3, 0)));
    await db.database.ordinary.query('UPDATE tenants SET retention_days = NULL WHERE id = $1', [tenantId]);
    await db.database.ordinary.query(
      `INSERT INTO workflows (id, tenant_id, name, created_at, updated_at, retention_days) VALUES ($1, $2, 'w', now(), now(), 3)`,
      [id, tenantId],
    );
    expect((await keep(at + 2 * DAY_MS, 1)).dropped).toEqual(
      expect.arrayContaining(nameDays('finished_timers', at, -3, -2)),
    );
    expect(await listDays('attempts')).toContain(nameDays('attempts', at, -1, -1)[0]);
    await db.database.ordinary.query('DELETE FROM workflows WHERE id = $1', [id]);
  });

  it('are made once when several callers come at once, while timers go on ending', async () => {
    const timers = Array.from({ length: 600 }, () => makeTimer());
    await createTimers(db.database.hot, timers);
    await waitUntilDue(
      db.database,
      timers.map(({ id }) => id),
    );
    const hints = timers.map(({ id }) => ({ id, version: 1 }));
    const record = {
      outcome: 'succeeded',
      startedAt: 0,
      latenessMs: 0,
      durationMs: 0,
      httpStatus: 200,
      error: null,
      responseBody: null,
    } as const;
    const end = async () => {
      for (let from = 0; from < hints.length; from += 20) {
        const started = await startTimers(db.database.hot, hints.slice(from, from + 20), 10_000, 10_000);
        await finishTimers(
          db.database.hot,
          started.map(({ id, version }) => ({ ...record, id, version, state: 'succeeded' })),
        );
      }
    };
    const [, ...kept] = await Promise.all([end(), ...Array.from({ length: 4 }, () => keep(JUNE_2104, CENTURY_DAYS))]);
    const created = kept.flatMap((each) => each.created);
    expect(new Set(created).size).toBe(created.length);
    expect(created).toEqual(expect.arrayContaining(nameDays('finished_timers', JUNE_2104, 0, DAYS_AHEAD)));
    const { rows } = await db.database.ordinary.query(
      'SELECT count(*)::int AS ended FROM finished_timers WHERE id = ANY ($1)',
      [timers.map(({ id }) => id)],
    );
    expect(rows).toEqual([{ ended: 600 }]);
  });

  it('wait for another time when a long report holds the table, and hold up nobody for long', async () => {
    const tomorrow = JUNE_2104 + DAY_MS;
    await inTransaction(db.database.ordinary, async (client) => {
      await client.query('SELECT count(*) FROM finished_timers');
      const beganAt = performance.now();
      await expect(keep(tomorrow, 1)).rejects.toMatchObject({ code: '55P03' });
      expect(performance.now() - beganAt).toBeLessThan(1_500);
    });
    expect((await keep(tomorrow, 1)).created).toContain('finished_timers_21040623');
  });
});
