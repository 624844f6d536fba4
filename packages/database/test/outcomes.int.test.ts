import {
  type AttemptOutcome,
  cancelTimers,
  createTimers,
  type FinishedAttempt,
  finishAndCountTimers,
  finishTimers,
  OUTCOMES_PER_STATEMENT_MAX,
  postponeTimers,
  retryTimers,
  type StartedTimer,
  startTimers,
} from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { makeTimer, useTestDatabase, waitUntilDue } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';

const db = useTestDatabase(6);

async function startNew(count: number, fields: Parameters<typeof makeTimer>[0] = {}): Promise<StartedTimer[]> {
  const timers = Array.from({ length: count }, () => makeTimer(fields));
  await createTimers(db.database.hot, timers);
  await waitUntilDue(
    db.database,
    timers.map(({ id }) => id),
  );
  const started = await startTimers(
    db.database.hot,
    timers.map(({ id }) => ({ id, version: 1 })),
    10_000,
    15_000,
  );
  expect(started).toHaveLength(count);
  return started;
}

type Tried = FinishedAttempt & { outcome: AttemptOutcome };
function finish(timer: { id: string; version: number }, fields: Partial<Tried> = {}): Tried {
  return {
    id: timer.id,
    version: timer.version,
    state: 'succeeded',
    outcome: 'succeeded',
    startedAt: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    latenessMs: 1.5,
    durationMs: 12.4,
    httpStatus: 204,
    error: null,
    responseBody: null,
    ...fields,
  };
}

const readFrom = (table: 'timers' | 'finished_timers' | 'dead_letters', ids: readonly string[]) =>
  db.database.kysely.selectFrom(table).selectAll().where('id', 'in', ids).execute();
const readAttempts = (id: string) =>
  db.database.kysely.selectFrom('attempts').selectAll().where('timer_id', '=', id).execute();
async function sumLedger(): Promise<Record<string, number>> {
  const { rows } = await db.database.ordinary.query(
    `SELECT coalesce(sum(created), 0)::int AS created, coalesce(sum(succeeded), 0)::int AS succeeded,
       coalesce(sum(dead), 0)::int AS dead, coalesce(sum(cancelled), 0)::int AS cancelled FROM ledger_entries`,
  );
  return rows[0];
}

describe('a final outcome', () => {
  it('moves a success to the history and a failure to the dead letters, with all that is known of the last attempt', async () => {
    const before = await sumLedger();
    const [success, failure] = await startNew(2, {
      payload: '{"a": 1}',
      labels: '{"k":"v"}',
      timeoutMs: 5_000,
      externalId: 'order-1',
    });
    const ended = await finishTimers(db.database.hot, [
      finish(success!),
      finish(failure!, {
        state: 'dead',
        outcome: 'permanent',
        httpStatus: 404,
        error: 'no such page',
        responseBody: 'gone\n',
      }),
    ]);
    expect(ended.map(({ id, state }) => [id, state]).toSorted()).toEqual(
      [
        [success!.id, 'succeeded'],
        [failure!.id, 'dead'],
      ].toSorted(),
    );
    expect(await readFrom('timers', [success!.id, failure!.id])).toEqual([]);
    const shared = {
      tenant_id: DEFAULT_TENANT_ID,
      payload: '{"a": 1}',
      labels: { k: 'v' },
      timeout_ms: 5_000,
      external_id: 'order-1',
    };
    expect(await readFrom('finished_timers', [success!.id, failure!.id])).toMatchObject([
      {
        ...shared,
        id: success!.id,
        state: 'succeeded',
        outcome: 'succeeded',
        attempt: 1,
        version: 2,
        started_at: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
        lateness_ms: 1.5,
        duration_ms: 12,
        http_status: 204,
      },
    ]);
    expect(await readFrom('dead_letters', [success!.id, failure!.id])).toMatchObject([
      {
        ...shared,
        id: failure!.id,
        state: 'dead',
        outcome: 'permanent',
        http_status: 404,
        error: 'no such page',
        response_body: 'gone\n',
      },
    ]);
    const after = await sumLedger();
    expect(after).toEqual({
      ...before,
      created: before.created! + 2,
      succeeded: before.succeeded! + 1,
      dead: before.dead! + 1,
    });
    expect(await readAttempts(failure!.id), 'the last attempt stands in the row itself').toEqual([]);
  });

  it('is only counted, by how it ended, for whoever need not know which', async () => {
    const [success, failure, other, skipped] = await startNew(4);
    const before = await sumLedger();
    const outcomes = [
      finish(success!),
      finish(failure!, { state: 'dead', outcome: 'permanent' }),
      finish(other!),
      { ...finish(skipped!), state: 'skipped' as const, outcome: null },
    ];
    const counts = await finishAndCountTimers(db.database.hot, outcomes);
    expect(counts).toEqual({ succeeded: 2, dead: 1, skipped: 1 });
    const after = await sumLedger();
    expect(after).toEqual({ ...before, succeeded: before.succeeded! + 2, dead: before.dead! + 1 });
    const ids = outcomes.map(({ id }) => id);
    expect(await readFrom('finished_timers', ids)).toHaveLength(3);
    expect(await readFrom('dead_letters', ids)).toHaveLength(1);
    expect(await finishAndCountTimers(db.database.hot, outcomes)).toEqual({ succeeded: 0, dead: 0, skipped: 0 });
    expect(await sumLedger()).toEqual(after);
  });

  it('counts once when it is written twice', async () => {
    const [timer] = await startNew(1);
    expect(await finishTimers(db.database.hot, [finish(timer!)])).toHaveLength(1);
    const before = await sumLedger();
    expect(await finishTimers(db.database.hot, [finish(timer!)])).toEqual([]);
    expect(await sumLedger()).toEqual(before);
    expect(await readFrom('finished_timers', [timer!.id])).toHaveLength(1);
  });

  it('is seen whole at every instant: no timer is in two places or in none, and the ledger agrees', async () => {
    const started = await startNew(900);
    const ids = started.map((timer) => timer.id);
    const look = () =>
      db.database.ordinary.query<{ places: number; booked: number; live: number }>(
        `SELECT (SELECT count(*)::int FROM timers WHERE id = ANY ($1)) + (SELECT count(*)::int FROM finished_timers WHERE id = ANY ($1))
           + (SELECT count(*)::int FROM dead_letters WHERE id = ANY ($1)) AS places,
           (SELECT sum(created - succeeded - dead - cancelled - skipped)::int FROM ledger_entries) AS booked,
           (SELECT count(*)::int FROM timers) AS live`,
        [ids],
      );
    let isFinishing = true;
    const looks: { places: number; booked: number; live: number }[] = [];
    const watch = async () => {
      while (isFinishing) looks.push((await look()).rows[0]!);
    };
    const finishAll = async () => {
      for (let from = 0; from < started.length; from += 30) {
        const batch = started.slice(from, from + 30);
        await finishTimers(
          db.database.hot,
          batch.map((timer, index) => finish(timer, index % 3 ? {} : { state: 'dead', outcome: 'permanent' })),
        );
      }
      isFinishing = false;
    };
    await Promise.all([finishAll(), watch(), watch()]);
    expect(looks.length).toBeGreaterThan(3);
    for (const { places, booked, live } of looks) {
      expect(places).toBe(900);
      expect(live).toBe(booked);
    }
  });

  it('is refused beyond the number of outcomes that one statement may carry', async () => {
    const many = Array.from({ length: OUTCOMES_PER_STATEMENT_MAX + 1 }, () =>
      finish({ id: makeTimer().id, version: 2 }),
    );
    await expect(finishTimers(db.database.hot, many)).rejects.toThrow(RangeError);
  });
});

describe('a retry', () => {
  it('makes the timer due again after its wait, keeps the attempt, and leaves the due time as the customer set it', async () => {
    const [timer] = await startNew(1, { dueAt: Date.UTC(2026, 0, 1) });
    const [before] = await readFrom('timers', [timer!.id]);
    const askedAt = Date.now();
    const outcome = {
      ...finish(timer!, {
        outcome: 'retryable',
        httpStatus: 503,
        error: 'The endpoint answered 503.',
        responseBody: 'later',
      }),
      waitMs: 60_000,
    };
    expect(await retryTimers(db.database.hot, [outcome])).toEqual([{ id: timer!.id }]);
    const [row] = await readFrom('timers', [timer!.id]);
    expect(row).toMatchObject({ state: 'scheduled', version: timer!.version + 1, attempt: 1, due_at: before!.due_at });
    expect(Math.abs((row as { wake_at: number }).wake_at - askedAt - 60_000)).toBeLessThan(1_000);
    expect(await readAttempts(timer!.id)).toMatchObject([
      {
        attempt: 1,
        outcome: 'retryable',
        http_status: 503,
        error: 'The endpoint answered 503.',
        response_body: 'later',
        duration_ms: 12,
        lateness_ms: 1.5,
      },
    ]);
    expect(
      await startTimers(db.database.hot, [{ id: timer!.id, version: timer!.version + 1 }], 10_000, 15_000),
    ).toEqual([]);
  });

  it('is the second attempt when it starts, and may be cancelled until then', async () => {
    const [first, second] = await startNew(2);
    await retryTimers(
      db.database.hot,
      [first!, second!].map((timer) => ({ ...finish(timer, { outcome: 'timedOut' }), waitMs: -1 })),
    );
    expect(await startTimers(db.database.hot, [{ id: first!.id, version: 3 }], 10_000, 15_000)).toMatchObject([
      { attempt: 2, version: 4 },
    ]);
    expect(await cancelTimers(db.database.hot, DEFAULT_TENANT_ID, [first!.id, second!.id])).toMatchObject([
      { id: second!.id },
    ]);
    expect(await readFrom('finished_timers', [second!.id])).toMatchObject([
      { state: 'cancelled', attempt: 1, version: 4, outcome: null },
    ]);
  });

  it('happens once when it is written twice', async () => {
    const [timer] = await startNew(1);
    const outcome = { ...finish(timer!, { outcome: 'retryable' }), waitMs: -1 };
    expect(await retryTimers(db.database.hot, [outcome])).toHaveLength(1);
    expect(await retryTimers(db.database.hot, [outcome])).toEqual([]);
    expect(await readAttempts(timer!.id)).toHaveLength(1);
  });
});

describe('a timer given back unsent', () => {
  it('has not used up an attempt, leaves no record, and may be cancelled', async () => {
    const [timer, other] = await startNew(2);
    expect(
      await postponeTimers(
        db.database.hot,
        [timer!, other!].map(({ id, version }) => ({ id, version, waitMs: -1 })),
      ),
    ).toHaveLength(2);
    expect(await readFrom('timers', [timer!.id])).toMatchObject([
      { state: 'scheduled', attempt: 0, version: 3, lost: 0 },
    ]);
    expect(await readAttempts(timer!.id)).toEqual([]);
    expect(await startTimers(db.database.hot, [{ id: timer!.id, version: 3 }], 10_000, 15_000)).toMatchObject([
      { attempt: 1 },
    ]);
    expect(await cancelTimers(db.database.hot, DEFAULT_TENANT_ID, [other!.id])).toHaveLength(1);
  });
});
