import { createTimers, inTransaction, WorkflowVersions } from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { makeTimer, useTestDatabase, waitUntil, waitUntilDue } from '@punctual/testkit';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { Lanes } from '../lanes.ts';
import { createWorkerMetrics } from '../metrics.ts';

const CONNECTIONS = 8;
const CHUNKS = 40;
const CHUNK_TIMERS = 5;
const db = useTestDatabase(CONNECTIONS);

function openLanes(): Lanes {
  return new Lanes({
    database: db.database,
    workflowVersions: new WorkflowVersions(),
    readOrigin: (url) => new URL(url).origin,
    leaseMarginMs: 1_000,
    onError: () => {},
    metrics: createWorkerMetrics(new Registry()),
  });
}

async function storeChunks(key: string): Promise<{ id: string; version: number }[][]> {
  const dueAt = Date.now() - 60_000;
  const timers = Array.from({ length: CHUNKS * CHUNK_TIMERS }, (_, index) =>
    makeTimer({ dueAt: dueAt + index, concurrency: JSON.stringify({ key, limit: 3 }) }),
  );
  await createTimers(db.database.hot, timers);
  const ids = timers.map(({ id }) => id);
  await waitUntilDue(db.database, ids);
  return Array.from({ length: CHUNKS }, (_, chunk) =>
    ids.slice(chunk * CHUNK_TIMERS, (chunk + 1) * CHUNK_TIMERS).map((id) => ({ id, version: 1 })),
  );
}

describe('chunks that want one lane', () => {
  it('leave connections to all others while somebody has its lock, and each is told what started of it', async () => {
    const chunks = await storeChunks('crowded');
    const lanes = openLanes();
    await db.database.ordinary.query('INSERT INTO lanes (tenant_id, name) VALUES ($1, $2)', [
      DEFAULT_TENANT_ID,
      'key:crowded',
    ]);
    let starts: ReturnType<Lanes['start']>[] = [];
    await inTransaction(db.database.ordinary, async (client) => {
      await client.query("SELECT FROM lanes WHERE name = 'key:crowded' FOR UPDATE");
      starts = chunks.map((chunk) => lanes.start(chunk));
      await waitUntil('a start waits for the lane', async () => {
        const { rows } = await client.query<{ waiting: number }>(
          "SELECT count(*) AS waiting FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')",
        );
        return rows[0]!.waiting > 0;
      });
      const { hot } = db.database;
      await waitUntil(
        'nobody else waits for a connection',
        () => hot.waitingCount === 0 && hot.totalCount - hot.idleCount <= 2,
      );
    });
    const ended = await Promise.all(starts);
    const first = chunks.flat().slice(0, 3);
    const startedIds = ended.flatMap(({ started }) => started.map(({ id }) => id));
    expect(startedIds.toSorted()).toEqual(first.map(({ id }) => id).toSorted());
    expect(ended.every(({ started, waiting }) => started.length + waiting === CHUNK_TIMERS)).toBe(true);
  });

  it('may name a timer twice: it is started once', async () => {
    const [chunk] = await storeChunks('doubled');
    const lanes = openLanes();
    const ended = await Promise.all([lanes.start(chunk!), lanes.start(chunk!), lanes.start(chunk!)]);
    expect(ended.flatMap(({ started }) => started)).toHaveLength(3);
  });
});
