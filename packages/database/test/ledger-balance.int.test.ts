import {
  cancelTimers,
  createSkippedTimers,
  createTimers,
  finishTimers,
  foldLedger,
  postponeTimers,
  restartTimers,
  retryTimers,
  startTimers,
} from '@punctual/database';
import { createId } from '@punctual/domain';
import { makeTimer, useTestDatabase } from '@punctual/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const db = useTestDatabase(8);

const TENANTS = [createId(), createId()];
const PARTITIONS = [0, 1, 2];
const OPERATIONS = ['create', 'skip', 'start', 'finish', 'retry', 'postpone', 'cancel', 'fold'] as const;
const OUTCOMES = ['succeeded', 'dead'] as const;

/** Some numbers that an operation picks its timers by. */
const operation = fc.record({
  kind: fc.constantFrom(...OPERATIONS),
  picks: fc.array(fc.nat({ max: 1_000 }), { minLength: 1, maxLength: 20 }),
});

interface Known {
  id: string;
  tenantId: string;
  version: number;
}

/**
 * Does one operation on timers that exist, or once existed: versions that are right, out of date, or to come. What
 * effect it has is up to the database; the books must balance in any case.
 */
async function perform(
  { kind, picks }: { kind: (typeof OPERATIONS)[number]; picks: number[] },
  known: Known[],
): Promise<void> {
  const { hot, relaxed, ordinary } = db.database;
  const make = (pick: number) =>
    makeTimer({ tenantId: TENANTS[pick % TENANTS.length]!, partition: PARTITIONS[pick % PARTITIONS.length]! });
  if (kind === 'create') {
    const timers = picks.map(make);
    await createTimers(hot, timers);
    known.push(...timers.map(({ id, tenantId }) => ({ id, tenantId, version: 1 })));
    return;
  }
  if (kind === 'skip') return createSkippedTimers(hot, picks.map(make));
  if (kind === 'fold') {
    await foldLedger(ordinary, picks.length);
    return;
  }
  if (known.length === 0) return;
  const picked = [...new Set(picks.map((pick) => known[pick % known.length]!))];
  const hints = picked.map(({ id, version }) => ({ id, version }));
  const record = {
    outcome: 'retryable',
    startedAt: 0,
    latenessMs: 0,
    durationMs: 0,
    httpStatus: 500,
    error: null,
    responseBody: null,
  } as const;
  const raise = (ids: readonly { id: string }[]) => {
    for (const { id } of ids) known.find((timer) => timer.id === id)!.version += 1;
  };
  if (kind === 'start') {
    raise(await startTimers(relaxed, hints, 0, 0));
    raise(await restartTimers(relaxed, hints, 0, 0));
  }
  if (kind === 'finish')
    await finishTimers(
      hot,
      hints.map((hint, index) => ({ ...hint, ...record, state: OUTCOMES[index % 2]! })),
    );
  if (kind === 'retry')
    raise(
      await retryTimers(
        hot,
        hints.map((hint) => ({ ...hint, ...record, waitMs: 0 })),
      ),
    );
  if (kind === 'postpone')
    raise(
      await postponeTimers(
        hot,
        hints.map((hint) => ({ ...hint, waitMs: 0 })),
      ),
    );
  if (kind === 'cancel')
    await cancelTimers(
      hot,
      picked[0]!.tenantId,
      picked.map(({ id }) => id),
    );
}

/** Tenants' partitions whose books do not balance, for each way of ending. */
async function readDifferences() {
  const { rows } = await db.database.ordinary.query(
    `WITH booked AS (
       SELECT tenant_id, partition, sum(created) AS created, sum(succeeded) AS succeeded, sum(dead) AS dead,
         sum(cancelled) AS cancelled, sum(skipped) AS skipped
       FROM (SELECT tenant_id, partition, created, succeeded, dead, cancelled, skipped FROM ledger_entries
             UNION ALL SELECT tenant_id, partition, created, succeeded, dead, cancelled, skipped FROM ledger_totals) AS e
       GROUP BY tenant_id, partition
     ), found AS (
       SELECT tenant_id, partition, count(*) AS created, count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
         count(*) FILTER (WHERE state = 'dead') AS dead, count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
         count(*) FILTER (WHERE state = 'skipped') AS skipped
       FROM (SELECT tenant_id, partition, state FROM timers
             UNION ALL SELECT tenant_id, partition, state FROM finished_timers
             UNION ALL SELECT tenant_id, partition, state FROM dead_letters) AS t
       GROUP BY tenant_id, partition
     )
     SELECT * FROM booked AS b FULL JOIN found AS f USING (tenant_id, partition)
     WHERE (b.created, b.succeeded, b.dead, b.cancelled, b.skipped) IS DISTINCT FROM (f.created, f.succeeded, f.dead, f.cancelled, f.skipped)`,
  );
  return rows;
}

describe('the ledger', () => {
  it('balances for each tenant and partition after any mix of operations, done one after another', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 30 }), async (operations) => {
        const known: Known[] = [];
        for (const each of operations) await perform(each, known);
        expect(await readDifferences()).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });

  it('balances after any mix of operations done at the same time, and folding it changes no sum', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 60, maxLength: 120 }), async (operations) => {
        const known: Known[] = [];
        await perform({ kind: 'create', picks: [...Array(40).keys()] }, known);
        const left = [...operations];
        await Promise.all(
          Array.from({ length: 8 }, async () => {
            for (let next = left.pop(); next; next = left.pop()) await perform(next, known);
          }),
        );
        expect(await readDifferences()).toEqual([]);
      }),
      { numRuns: 10 },
    );
    await Promise.all([foldLedger(db.database.ordinary), foldLedger(db.database.ordinary)]);
    expect(await readDifferences()).toEqual([]);
    const { rows } = await db.database.ordinary.query('SELECT count(*)::int AS entries FROM ledger_entries');
    expect(rows).toEqual([{ entries: 0 }]);
  });
});
