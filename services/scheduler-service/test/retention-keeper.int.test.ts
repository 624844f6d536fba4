import { createTenant, createTimers, readLedger, removePastRuns, type TransactionPool } from '@punctual/database';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { createTestLogger, makeTimer, repeatUnderFaults, storeWorkflow, useTestDatabase } from '@punctual/testkit';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { createSchedulerMetrics } from '../metrics.ts';
import { RetentionKeeper } from '../retention-keeper.ts';

const db = useTestDatabase(4);
const RETENTION_DAYS = 30;
const LETTER_DAYS = 60;
/** Each step of a walk is one turn, and there are few. */
const TURNS_MAX = 200;

const query = (text: string, values: unknown[] = []) => db.database.ordinary.query(text, values);
const count = async (text: string, values: unknown[] = []) =>
  (await query(`SELECT count(*)::int AS count FROM ${text}`, values)).rows[0].count as number;

/** One whole walk. Returns what it removed, by kind. */
async function walk(): Promise<Record<string, number>> {
  const metrics = createSchedulerMetrics(new Registry());
  const keeper = new RetentionKeeper({
    database: db.service,
    isLeading: () => true,
    retention: { days: RETENTION_DAYS, letterDays: LETTER_DAYS },
    intervalMs: 600_000,
    metrics,
    logger: createTestLogger().logger,
  });
  const isOver = async () => (await metrics.retentionWalkedAt.get()).values[0]!.value > 0;
  for (let turns = 0; !(await isOver()) && turns < TURNS_MAX; turns += 1) {
    await repeatUnderFaults(() => keeper.runOnce());
  }
  expect(await isOver()).toBe(true);
  const { values } = await metrics.retentionRemoved.get();
  return Object.fromEntries(values.map(({ labels, value }) => [labels.kind, value]));
}

/** A run that ended so many days ago, or is under way, with all that it may have left. */
async function storeRun(
  workflowId: string,
  status: string,
  daysAgo: number,
  left: 'nothing' | 'attempt' | 'letter' = 'nothing',
) {
  const id = createId();
  const timerId = createId();
  const isEnded = status !== 'running';
  const at = `clock_timestamp() - ${daysAgo} * interval '1 day'`;
  const texts = [
    `INSERT INTO runs (id, tenant_id, workflow_id, workflow_version, partition, status, task_states, external_id, created_at, finished_at)
     VALUES ('${id}', '${DEFAULT_TENANT_ID}', '${workflowId}', 1, 0, '${status}', 's', '${id}', ${at} - interval '1 hour', ${isEnded ? at : 'NULL'})`,
    `INSERT INTO finished_timers (id, tenant_id, run_id, workflow_id, due_at, created_at, finished_at, version, state, partition, attempt)
     VALUES ('${timerId}', '${DEFAULT_TENANT_ID}', '${id}', '${workflowId}', now(), ${at} - interval '1 hour', ${at}, 2, 'succeeded', 0, 2)`,
    `INSERT INTO attempts (timer_id, tenant_id, started_at, finished_at, outcome, attempt)
     VALUES ('${timerId}', '${DEFAULT_TENANT_ID}', ${at}, ${at} - interval '1 minute', 'retryable', 1)`,
    `INSERT INTO task_outputs (run_id, tenant_id, task_key, path, output) VALUES ('${id}', '${DEFAULT_TENANT_ID}', 'a', '', '1')`,
    `INSERT INTO external_ids (tenant_id, kind, external_id, target_id) VALUES ('${DEFAULT_TENANT_ID}', 'run', '${id}', '${id}')`,
    `INSERT INTO ledger_entries (tenant_id, partition, created, succeeded) VALUES ('${DEFAULT_TENANT_ID}', 0, 1, 1)`,
  ];
  for (const text of texts) await query(text);
  if (left === 'attempt') await createTimers(db.database.hot, [makeTimer({ runId: id, workflowId })]);
  if (left === 'letter') {
    await query(
      `INSERT INTO dead_letters (id, tenant_id, run_id, due_at, created_at, finished_at, version, state, partition, attempt)
       VALUES ('${createId()}', '${DEFAULT_TENANT_ID}', '${id}', now(), ${at}, ${at}, 2, 'dead', 0, 1)`,
    );
    await query(
      `INSERT INTO ledger_entries (tenant_id, partition, created, dead) VALUES ('${DEFAULT_TENANT_ID}', 0, 1, 1)`,
    );
  }
  return { id, timerId };
}

async function findLeft({ id, timerId }: { id: string; timerId: string }): Promise<number[]> {
  return Promise.all([
    count('runs WHERE id = $1', [id]),
    count('finished_timers WHERE run_id = $1', [id]),
    count('attempts WHERE timer_id = $1', [timerId]),
    count('task_outputs WHERE run_id = $1', [id]),
    count('external_ids WHERE target_id = $1', [id]),
  ]);
}
const ALL = [1, 1, 1, 1, 1];
const NOTHING = [0, 0, 0, 0, 0];

describe('what is past its retention', () => {
  it('leaves with all that it left, by what its workflow says before all; what is live or needed stays', async () => {
    const brief = await storeWorkflow(db.database, [{ key: 'a', action: { type: 'noop' } }]);
    const usual = await storeWorkflow(db.database, [{ key: 'a', action: { type: 'noop' } }]);
    await query('UPDATE workflows SET retention_days = 2 WHERE id = $1', [brief]);
    const gone = [
      await storeRun(brief, 'succeeded', 4),
      await storeRun(brief, 'failed', 40),
      await storeRun(brief, 'failed', 100, 'letter'),
    ];
    const kept = [
      await storeRun(brief, 'succeeded', 1),
      await storeRun(usual, 'succeeded', 4),
      await storeRun(brief, 'running', 100),
      await storeRun(brief, 'cancelled', 100, 'attempt'),
    ];
    const before = await readLedger(db.database);
    expect(before.isBalanced).toBe(true);
    expect(await walk()).toMatchObject({ runs: 3 });
    for (const run of gone) expect(await findLeft(run)).toEqual(NOTHING);
    for (const run of kept) expect(await findLeft(run)).toEqual(ALL);
    expect(await readLedger(db.database)).toMatchObject({
      isBalanced: true,
      total: { ...before.total, deadLetters: 0, dismissed: before.total.dismissed + 1 },
    });
    expect(await walk()).toMatchObject({ runs: 0 });
  });

  it('of a run leaves its timers to the days of the history where these go by then, too', async () => {
    const usual = await storeWorkflow(db.database, [{ key: 'a', action: { type: 'noop' } }]);
    const past = await storeRun(usual, 'succeeded', RETENTION_DAYS + 2);
    expect(await walk()).toMatchObject({ runs: 1 });
    expect(await findLeft(past)).toEqual([0, 1, 1, 0, 0]);
  });

  it('of what failed stays for longer where the installation says so, and nobody else anything', async () => {
    const usual = await storeWorkflow(db.database, [{ key: 'a', action: { type: 'noop' } }]);
    const gone = await storeRun(usual, 'failed', LETTER_DAYS + 2, 'letter');
    const kept = await storeRun(usual, 'failed', LETTER_DAYS - 2, 'letter');
    expect(await walk()).toMatchObject({ runs: 1 });
    expect((await findLeft(gone))[0]).toBe(0);
    expect(await count('dead_letters WHERE run_id = $1', [gone.id])).toBe(0);
    expect(await findLeft(kept)).toEqual(ALL);
    expect(await count('dead_letters WHERE run_id = $1', [kept.id])).toBe(1);
    // Not even locked, which would write to its row at each walk.
    expect((await query('SELECT xmax::text FROM runs WHERE id = $1', [kept.id])).rows).toEqual([{ xmax: '0' }]);
    expect(await readLedger(db.database)).toMatchObject({ isBalanced: true });
  });

  it('of dead letters without a run goes by what their tenant says, and leaves the books balanced', async () => {
    const [brief, usual] = [createId(), createId()];
    const store = (tenantId: string, daysAgo: number, letters: number) =>
      query(
        `WITH d AS (
           INSERT INTO dead_letters (id, tenant_id, due_at, created_at, finished_at, version, state, partition, attempt)
           SELECT uuidv7(), $1, at - interval '1 minute', at - interval '1 hour', at, 2, 'dead', 0, 4
           FROM generate_series(1, $3::int), LATERAL (SELECT now() - $2::int * interval '1 day' AS at) AS a RETURNING id, finished_at
         ), entries AS (
           INSERT INTO ledger_entries (tenant_id, partition, created, dead) VALUES ($1, 0, $3, $3)
         ) INSERT INTO attempts (timer_id, tenant_id, started_at, finished_at, outcome, attempt)
         SELECT id, $1, finished_at, finished_at, 'retryable', 1 FROM d`,
        [tenantId, daysAgo, letters],
      );
    for (const id of [brief, usual]) {
      const retentionDays = id === brief ? 3 : null;
      await createTenant(db.database.ordinary, { id, name: 't', createdAt: Date.now(), retentionDays });
    }
    await store(brief, 5, 1_500);
    await store(brief, 1, 10);
    await store(usual, LETTER_DAYS + 2, 20);
    await store(usual, LETTER_DAYS - 2, 30);
    expect(await walk()).toMatchObject({ dead_letters: 1_520 });
    for (const [tenantId, left] of [
      [brief, 10],
      [usual, 30],
    ] as const) {
      expect(await count('dead_letters WHERE tenant_id = $1', [tenantId])).toBe(left);
      expect(await count('attempts WHERE tenant_id = $1', [tenantId])).toBe(left);
    }
    expect(await readLedger(db.database)).toMatchObject({ isBalanced: true });
  });

  it('is not what was retried, and ended again, after somebody saw that it was', async () => {
    const workflowId = await storeWorkflow(db.database, [{ key: 'a', action: { type: 'noop' } }]);
    const [past, retried] = [await storeRun(workflowId, 'failed', 90), await storeRun(workflowId, 'failed', 90)];
    const { ordinary } = db.database;
    const keeper = { id: workflowId, days: RETENTION_DAYS, letterDays: RETENTION_DAYS };
    // It is read by the pool, and removed by a transaction on one of its connections.
    const pool = {
      query: ordinary.query.bind(ordinary),
      connect: async () => {
        await query('UPDATE runs SET finished_at = clock_timestamp() WHERE id = $1', [retried.id]);
        return ordinary.connect();
      },
    } as TransactionPool;
    expect(await removePastRuns(pool, keeper, undefined, true)).toMatchObject({ removed: 1 });
    expect(await findLeft(past)).toEqual(NOTHING);
    expect(await findLeft(retried)).toEqual(ALL);
  });

  it('is found behind any number of runs that live longer', async () => {
    const workflowId = await storeWorkflow(db.database, [{ key: 'a', action: { type: 'noop' } }]);
    await query('UPDATE workflows SET retention_days = 1 WHERE id = $1', [workflowId]);
    await query(
      `INSERT INTO runs (id, tenant_id, workflow_id, workflow_version, partition, status, task_states, created_at, finished_at)
       SELECT uuidv7(), $1, $2, 1, 0, CASE WHEN n % 600 = 599 THEN 'succeeded' ELSE 'running' END, 's', now() - interval '9 days',
         CASE WHEN n % 600 = 599 THEN now() - interval '5 days' END FROM generate_series(1, 1800) AS n`,
      [DEFAULT_TENANT_ID, workflowId],
    );
    expect(await walk()).toMatchObject({ runs: 3 });
    expect(await count('runs WHERE workflow_id = $1', [workflowId])).toBe(1_797);
  });

  it('of timers without a run goes by what their tenant says', async () => {
    const [brief, usual] = [createId(), createId()];
    for (const id of [brief, usual]) {
      await createTenant(db.database.ordinary, {
        id,
        name: 't',
        createdAt: Date.now(),
        retentionDays: id === brief ? 3 : null,
      });
      await query(
        `WITH t AS (
           INSERT INTO finished_timers (id, tenant_id, due_at, created_at, finished_at, version, state, partition, attempt)
           SELECT uuidv7(), $1, now(), now() - interval '9 days', now() - (1 + n % 2 * 4) * interval '1 day', 2, 'succeeded', 0, 1
           FROM generate_series(1, 2500) AS n RETURNING id, finished_at
         ) INSERT INTO attempts (timer_id, tenant_id, started_at, finished_at, outcome, attempt)
         SELECT id, $1, finished_at, finished_at, 'retryable', 1 FROM t`,
        [id],
      );
    }
    expect(await walk()).toMatchObject({ timers: 1_250 });
    for (const table of ['finished_timers', 'attempts']) {
      expect(await count(`${table} WHERE tenant_id = $1`, [brief]), table).toBe(1_250);
      expect(await count(`${table} WHERE tenant_id = $1 AND finished_at < now() - interval '4 days'`, [brief])).toBe(0);
      expect(await count(`${table} WHERE tenant_id = $1`, [usual]), table).toBe(2_500);
    }
  });

  it('answers about what was erased are overwritten, however many there are, once nobody can show it any more', async () => {
    const tenantId = createId();
    const [erased, late, other] = [createId(), createId(), createId()];
    await query(
      `INSERT INTO idempotency_keys (tenant_id, key, request_hash, status, headers, body)
       SELECT $1, 'key-' || n, 'hash', 201, '{}', json_build_object('runId', ($2::uuid[])[1 + n % 3], 'n', n)::text
       FROM generate_series(0, 8999) AS n`,
      [tenantId, [erased, late, other]],
    );
    await query(
      `INSERT INTO erasures (tenant_id, target_id, erased_at)
       VALUES ($1, $2, now() - interval '1 minute'), ($1, $3, now()), ($4, $5, now() - interval '1 minute')`,
      [tenantId, erased, late, createId(), other],
    );
    expect(await walk()).toMatchObject({ answers: 3_000 });
    const showing = (id: string) =>
      count('idempotency_keys WHERE tenant_id = $1 AND strpos(body, $2) > 0', [tenantId, id]);
    expect([await showing(erased), await showing(late), await showing(other)]).toEqual([0, 3_000, 3_000]);
    expect(await count("idempotency_keys WHERE status = 410 AND request_hash = '' AND body = ''")).toBe(3_000);
    const { rows } = await query('SELECT target_id FROM erasures');
    expect(rows).toEqual([{ target_id: late }]);
  });

  it('of bulk operations goes with their failures', async () => {
    const store = async (daysAgo: number | null) => {
      const id = createId();
      await query(
        `INSERT INTO bulk_operations (id, tenant_id, action, status, target, request, plan, next_at, actor, request_id, created_at, finished_at)
         VALUES ($1, $2, 'cancel', 'succeeded', 'timer', '{}', '{}', now(), 'nobody', 'r', now() - interval '90 days',
           now() - $3::int * interval '1 day')`,
        [id, DEFAULT_TENANT_ID, daysAgo],
      );
      await query(
        `INSERT INTO bulk_failures (operation_id, tenant_id, target_id, code, detail) VALUES ($1, $2, $1, '', '')`,
        [id, DEFAULT_TENANT_ID],
      );
      return id;
    };
    for (let n = 0; n < 12; n += 1) await store(RETENTION_DAYS + 2);
    const kept = [await store(RETENTION_DAYS - 2), await store(null)];
    expect(await walk()).toMatchObject({ bulk_operations: 12 });
    for (const table of ['bulk_operations WHERE id', 'bulk_failures WHERE operation_id']) {
      expect(await count(`${table} = ANY ($1)`, [kept]), table).toBe(2);
    }
    expect(await count('bulk_failures')).toBe(2);
  });
});
