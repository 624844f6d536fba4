import {
  type AnnouncedQueue,
  AnnouncementListener,
  createTimers,
  DatabaseClock,
  leaseTimers,
  postponeTimers,
  synchronizeClock,
} from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { createTestLogger, makeTimer, useTestDatabase, waitUntil, waitUntilDue } from '@punctual/testkit';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createSchedulerMetrics } from '../metrics.ts';
import { PullAnnouncer } from '../pull-announcer.ts';

const db = useTestDatabase(4);
const PARTITION = 7;

let heard: string[] = [];
let listener: AnnouncementListener;
beforeEach(async () => {
  heard = [];
  listener = new AnnouncementListener({
    connectionString: db.url,
    applicationName: 'punctual-test',
    onAnnounced: (queues: readonly AnnouncedQueue[]) => heard.push(...queues.map(({ queue }) => queue)),
    onChange: () => {},
    onError: () => {},
  });
  listener.start();
  await waitUntil('it listens', () => listener.isListening);
});
afterEach(() => listener.stop());

async function openAnnouncer(partition = PARTITION): Promise<PullAnnouncer> {
  const clock = new DatabaseClock();
  await synchronizeClock(db.service.hot, clock);
  const { logger } = createTestLogger();
  const metrics = createSchedulerMetrics(new Registry());
  return new PullAnnouncer({
    database: db.service,
    clock,
    listPartitions: () => [partition],
    intervalMs: 30,
    metrics,
    logger,
  });
}

async function store(queue: string, count: number, fields: object = {}): Promise<string[]> {
  const action = JSON.stringify({ type: 'pull', queue });
  const timers = Array.from({ length: count }, () =>
    makeTimer({ partition: PARTITION, action, pullQueue: queue, ...fields }),
  );
  await createTimers(db.database.hot, timers);
  return timers.map(({ id }) => id);
}

/** One read takes a part of what another test has left there. */
async function runPages(announcer: PullAnnouncer): Promise<void> {
  for (let turns = 0; turns < 5; turns += 1) await announcer.runOnce();
}

it('announces each queue in which something came due once, whatever lies there, and again when something comes back', async () => {
  const announcer = await openAnnouncer();
  const ids = [...(await store('a', 3)), ...(await store('b', 600))];
  await store('far', 1, { dueAt: Date.now() + 3_600_000 });
  await store('elsewhere', 1, { partition: PARTITION + 1 });
  await waitUntilDue(db.database, ids);
  // More than one read takes of a partition.
  for (let turns = 0; turns < 5; turns += 1) await announcer.runOnce();
  await waitUntil('both are heard', () => heard.includes('a') && heard.includes('b'));
  const first = heard.length;
  expect(first).toBeLessThanOrEqual(4);
  expect(new Set(heard)).toEqual(new Set(['a', 'b']));
  for (let turns = 0; turns < 5; turns += 1) await announcer.runOnce();
  const slots = [{ workerId: 'w', leaseMs: 1_000 }];
  const { leased } = await leaseTimers(db.database.hot, DEFAULT_TENANT_ID, 'a', 0, slots);
  await postponeTimers(
    db.database.hot,
    leased.map(({ id, version }) => ({ id, version, waitMs: 0 })),
  );
  await waitUntilDue(db.database, ids);
  // Past what came due just before, of which one read takes a part.
  for (let turns = 0; turns < 5; turns += 1) await announcer.runOnce();
  await waitUntil('it is heard again', () => heard.length > first);
  // Once more, where it came back between two pages.
  expect(heard.length - first).toBeLessThanOrEqual(2);
  expect(new Set(heard.slice(first))).toEqual(new Set(['a']));
});

it('announces what was committed after it had read what comes due later, and nothing twice', async () => {
  const announcer = await openAnnouncer();
  const client = await db.database.ordinary.connect();
  try {
    await client.query('BEGIN');
    const late = makeTimer({ partition: PARTITION, action: '{"type":"pull","queue":"late"}', pullQueue: 'late' });
    await createTimers(client, [late]);
    const ids = await store('early', 1);
    await waitUntilDue(db.database, ids);
    await runPages(announcer);
    await waitUntil('the first is heard', () => heard.includes('early'));
    await client.query('COMMIT');
    await runPages(announcer);
    await waitUntil('the other is heard', () => heard.includes('late'));
    const soFar = heard.length;
    await runPages(announcer);
    await store('last', 1);
    await runPages(announcer);
    await waitUntil('what comes after them is heard', () => heard.includes('last'));
    expect(heard.slice(soFar)).toEqual(['last']);
  } finally {
    client.release();
  }
});

it('announces what was committed behind it while it read many page by page', async () => {
  const partition = PARTITION + 2;
  const announcer = await openAnnouncer(partition);
  const client = await db.database.ordinary.connect();
  try {
    await client.query('BEGIN');
    const action = '{"type":"pull","queue":"hidden"}';
    await createTimers(client, [makeTimer({ partition, action, pullQueue: 'hidden' })]);
    // Three pages.
    await waitUntilDue(db.database, await store('many', 600, { partition }));
    await announcer.runOnce();
    await waitUntil('the first page is announced', () => heard.includes('many'));
    await client.query('COMMIT');
    // Longer than a read looks back: as if the pages between had taken so long.
    const committedAt = performance.now();
    await waitUntil('the commit is long past', () => performance.now() - committedAt > 750);
    await runPages(announcer);
    await waitUntil('it is heard', () => heard.includes('hidden'));
  } finally {
    client.release();
  }
});

it('is heard again by a listener whose connection was cut', async () => {
  const announcer = await openAnnouncer();
  const cut = await db.database.ordinary.query(
    `SELECT application_name, query, pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE application_name = 'punctual-test' AND query LIKE 'LISTEN%' AND datname = current_database()`,
  );
  expect(cut.rows).toHaveLength(1);
  await waitUntil('it notices', () => !listener.isListening);
  await waitUntil('it listens again', () => listener.isListening);
  await waitUntilDue(db.database, await store('c', 1));
  await runPages(announcer);
  await waitUntil('it is heard', () => heard.includes('c'));
});
