import {
  type AuditFilter,
  asTenant,
  type ChangeOrigin,
  cancelTimers,
  changeTimers,
  createNamedTimers,
  createRequestedTimers,
  ENTRIES_LOOKED_AT_MAX,
  inTransaction,
  listAuditEntries,
  recordChanges,
} from '@punctual/database';
import { createId } from '@punctual/domain';
import { makeTimer, useTestDatabase } from '@punctual/testkit';
import { beforeEach, describe, expect, it } from 'vitest';

const db = useTestDatabase(4);
let tenantId: string;
beforeEach(() => {
  tenantId = createId();
});

const HOUR_MS = 3_600_000;
const KEY = createId();
const origin = (fields: Partial<ChangeOrigin> = {}): ChangeOrigin => ({
  action: 'timer.create',
  actor: 'key',
  keyId: KEY,
  requestId: createId(),
  ...fields,
});
const list = (fields: Partial<AuditFilter> = {}, limit = 100, after?: { createdAt: number; id: string }) =>
  listAuditEntries(
    asTenant(db.database, tenantId).ordinary,
    {
      tenantId,
      after: undefined,
      before: undefined,
      action: undefined,
      actor: undefined,
      keyId: undefined,
      targetId: undefined,
      ...fields,
    },
    { after, limit },
  );
const listRows = async (fields: Partial<AuditFilter> = {}) => (await list(fields)).rows;

describe('the audit log', () => {
  it('has one row for all that one key did in one statement, with the request of each', async () => {
    const [mine, theirs] = [origin(), origin({ keyId: createId() })];
    const second = origin();
    const timers = [mine, second, theirs].map((by) => ({ ...makeTimer({ tenantId }), origin: by }));
    await createRequestedTimers(db.database.hot, timers);
    const rows = await listRows();
    expect(rows).toHaveLength(2);
    expect(rows).toContainEqual(
      expect.objectContaining({
        key_id: KEY,
        actor: 'key',
        action: 'timer.create',
        target_ids: [timers[0]!.id, timers[1]!.id],
        request_ids: `${mine.requestId} ${second.requestId}`,
        details: null,
      }),
    );
    expect(rows).toContainEqual(
      expect.objectContaining({ key_id: theirs.keyId, target_ids: [timers[2]!.id], request_ids: theirs.requestId }),
    );
  });

  it('names a request once that changed many', async () => {
    const by = origin({ action: 'timers.batch.create' });
    const timers = Array.from({ length: 1_000 }, () => ({ ...makeTimer({ tenantId }), origin: by }));
    await createRequestedTimers(db.database.hot, timers);
    const [row, ...others] = await listRows();
    expect(others).toEqual([]);
    expect(row!.target_ids).toEqual(timers.map(({ id }) => id));
    expect(row!.request_ids).toBe(by.requestId);
  });

  it('tells only of what was done: neither of a name that was taken, nor of a timer that had changed or gone', async () => {
    const externalId = createId();
    const [first, second] = [0, 1].map(() => ({ ...makeTimer({ tenantId, externalId }), origin: origin() }));
    await createNamedTimers(db.database.hot, [first!]);
    await createNamedTimers(db.database.hot, [second!]);
    await changeTimers(db.database.hot, tenantId, [
      { id: first!.id, version: 7, payload: '1', origin: origin({ action: 'timer.change' }) },
    ]);
    const cancel = origin({ action: 'timer.cancel' });
    await cancelTimers(db.database.hot, tenantId, [{ id: first!.id, origin: cancel }]);
    await cancelTimers(db.database.hot, tenantId, [{ id: first!.id, origin: origin({ action: 'timer.cancel' }) }]);
    expect((await listRows()).map(({ action, target_ids: ids }) => [action, ids])).toEqual([
      ['timer.create', [first!.id]],
      ['timer.cancel', [first!.id]],
    ]);
  });

  it('tells nothing of a cancel that goes with something else', async () => {
    const timer = { ...makeTimer({ tenantId }), origin: origin() };
    await createRequestedTimers(db.database.hot, [timer]);
    expect(await cancelTimers(db.database.hot, tenantId, [timer.id])).toHaveLength(1);
    expect((await listRows()).map(({ action }) => action)).toEqual(['timer.create']);
  });

  it('forgets with its transaction what was rolled back', async () => {
    const failing = inTransaction(db.database.hot, async (client) => {
      await createRequestedTimers(client, [{ ...makeTimer({ tenantId }), origin: origin() }]);
      await recordChanges(client, [{ targetId: createId(), tenantId, origin: origin({ action: 'run.cancel' }) }]);
      throw new Error('after all');
    });
    await expect(failing).rejects.toThrow('after all');
    expect(await listRows()).toEqual([]);
  });

  it('is listed page by page in its order, each row once, and of one tenant only', async () => {
    for (let index = 0; index < 23; index += 1) {
      await recordChanges(db.database.hot, [
        { targetId: createId(), tenantId, origin: origin({ action: 'run.cancel' }) },
      ]);
    }
    await recordChanges(db.database.hot, [{ targetId: createId(), tenantId: createId(), origin: origin() }]);
    const all = await listRows();
    expect(all).toHaveLength(23);
    const seen: string[] = [];
    let after: { createdAt: number; id: string } | undefined;
    do {
      const page = await list({}, 5, after);
      expect(page.rows.length).toBeLessThanOrEqual(5);
      seen.push(...page.rows.map(({ id }) => id));
      after = page.next;
    } while (after);
    expect(seen).toEqual(all.map(({ id }) => id));
  });

  it('is narrowed by time, action, actor and key', async () => {
    const otherKey = createId();
    const store = async (by: ChangeOrigin) => {
      await recordChanges(db.database.hot, [{ targetId: createId(), tenantId, origin: by }]);
    };
    await store(origin({ action: 'run.cancel' }));
    await store(origin({ action: 'run.retry', keyId: otherKey }));
    await store(origin({ action: 'run.retry', actor: 'bootstrap', keyId: null }));
    await store(origin({ action: 'workflow.archive', actor: 'nobody', keyId: null, details: '{"version":3}' }));
    const all = await listRows();
    const find = async (fields: Partial<AuditFilter>) =>
      (await listRows(fields)).map(({ id }) => all.findIndex((row) => row.id === id));
    expect(await find({ action: 'run.retry' })).toEqual([1, 2]);
    expect(await find({ keyId: KEY })).toEqual([0]);
    expect(await find({ keyId: otherKey, action: 'run.retry' })).toEqual([1]);
    expect(await find({ actor: 'bootstrap' })).toEqual([2]);
    expect(await find({ action: 'api-key.create' })).toEqual([]);
    expect(all[3]!.details).toBe('{"version":3}');
    const at = all[2]!.created_at;
    expect(await find({ after: at })).toEqual(all.flatMap((row, index) => (row.created_at >= at ? [index] : [])));
    expect(await find({ before: at })).toEqual(all.flatMap((row, index) => (row.created_at < at ? [index] : [])));
  });

  it('finds what was done to one target, its creation included', async () => {
    const timers = Array.from({ length: 3 }, () => ({ ...makeTimer({ tenantId }), origin: origin() }));
    const [timer, other] = timers;
    await createRequestedTimers(db.database.hot, timers);
    await changeTimers(
      db.database.hot,
      tenantId,
      [timer!, other!].map(({ id }) => ({ id, version: 1, payload: '1', origin: origin({ action: 'timer.change' }) })),
    );
    await cancelTimers(db.database.hot, tenantId, [{ id: timer!.id, origin: origin({ action: 'timer.cancel' }) }]);
    const find = async (targetId: string, fields: Partial<AuditFilter> = {}) =>
      (await listRows({ targetId, ...fields })).map(({ action }) => action);
    expect(await find(timer!.id)).toEqual(['timer.create', 'timer.change', 'timer.cancel']);
    expect(await find(other!.id)).toEqual(['timer.create', 'timer.change']);
    expect(await find(timer!.id, { action: 'timer.cancel' })).toEqual(['timer.cancel']);
    expect(await find(timer!.id, { before: Date.now() - HOUR_MS })).toEqual([]);
    expect(await find(createId())).toEqual([]);
    // Of no time at all.
    expect(await find('01020304-0506-4708-890a-0b0c0d0e0f10')).toEqual([]);
    const page = await list({ targetId: timer!.id }, 2);
    expect(page.rows).toHaveLength(2);
    expect((await list({ targetId: timer!.id }, 2, page.next)).rows.map(({ action }) => action)).toEqual([
      'timer.cancel',
    ]);
  });

  it('looks at no more than so many entries for a page, and the next page goes on from there', async () => {
    const count = ENTRIES_LOOKED_AT_MAX + 10;
    await db.database.ordinary.query(
      `INSERT INTO audit_log (tenant_id, actor, action, target_ids, request_ids, created_at)
       SELECT $1, 'nobody', CASE WHEN n = $2 THEN 'run.cancel' ELSE 'timer.create' END, ARRAY[uuidv7()], 'r',
         clock_timestamp() - ($2::int - n) * interval '1 millisecond'
       FROM generate_series(1, $2::int) AS n`,
      [tenantId, count],
    );
    const first = await list({ action: 'run.cancel' });
    expect(first.rows).toEqual([]);
    expect(first.next).toBeDefined();
    const second = await list({ action: 'run.cancel' }, 100, first.next);
    expect(second.rows).toHaveLength(1);
    expect(second.next).toBeUndefined();
    expect((await list({}, 5)).rows).toHaveLength(5);
  });
});

it('a list reads no more of a large log than its page, and a target is found by its index', async () => {
  await db.database.ordinary.query(
    `INSERT INTO audit_log (tenant_id, actor, action, target_ids, request_ids, created_at)
     SELECT $1, 'nobody', CASE WHEN n % 2 = 0 THEN 'timer.change' ELSE 'timer.create' END, ARRAY[uuidv7()], 'r',
       clock_timestamp() - interval '2 hours' + n * interval '1 millisecond'
     FROM generate_series(1, 30000) AS n`,
    [tenantId],
  );
  await db.database.ordinary.query('ANALYZE audit_log');
  const [target] = (
    await db.database.ordinary.query<{ id: string }>(
      `SELECT target_ids[1] AS id FROM audit_log WHERE tenant_id = $1 AND action = 'timer.change' LIMIT 1`,
      [tenantId],
    )
  ).rows;
  const count = async (work: () => Promise<unknown>) => {
    const read = async () => {
      await db.database.ordinary.query('SELECT pg_stat_force_next_flush()');
      const { rows } = await db.database.ordinary.query<{ reads: number }>(
        `SELECT sum(seq_tup_read) + sum(coalesce(idx_tup_fetch, 0)) AS reads FROM pg_stat_user_tables WHERE relname ~ '^audit_log'`,
      );
      return Number(rows[0]!.reads);
    };
    const before = await read();
    await work();
    return (await read()) - before;
  };
  expect(await count(() => list({}, 50))).toBeLessThan(500);
  expect(await count(() => list({ targetId: target!.id }, 50))).toBeLessThan(500);
});
