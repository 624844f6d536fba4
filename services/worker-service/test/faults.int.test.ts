import { startTimers } from '@punctual/database';
import {
  type Receiver,
  startDnsServer,
  startProxy,
  startReceiver,
  useTestDatabase,
  waitUntil,
} from '@punctual/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import { httpAction, QUICK_RETRY, repeat, useWorkerRigs, waitForEnds } from './open-rig.ts';

const db = useTestDatabase(8);
const { open, closeAfterwards } = useWorkerRigs(db);
let receiver: Receiver;

beforeEach(async () => {
  await db.database.ordinary.query('TRUNCATE timers');
  receiver = closeAfterwards(await startReceiver());
});

async function countByState(): Promise<Record<string, number>> {
  const { rows } = await db.database.ordinary.query<{ state: string; count: number }>(
    'SELECT state::text, count(*) AS count FROM timers GROUP BY state',
  );
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
}

/** How often each timer was sent. */
function countSent(endpoint: Receiver): Map<string, number> {
  const sent = new Map<string, number>();
  for (const { headers } of endpoint.requests) {
    const id = String(headers['webhook-id']);
    sent.set(id, (sent.get(id) ?? 0) + 1);
  }
  return sent;
}

describe('an origin that hangs', () => {
  it('does not hold up the others, and the timers given back unsent have used up no attempt', async () => {
    const rig = await open({
      settings: { WORKER_ATTEMPTS_PER_ORIGIN: '8', WORKER_ATTEMPTS_MAX: '192', WORKER_CHUNKS_AT_ONCE: '2' },
    });
    receiver.answer = () => 'hang';
    const healthy = closeAfterwards(await startReceiver());
    const hangingIds = await rig.deliver(...repeat(200, { action: httpAction(receiver.url), timeoutMs: 60_000 }));
    await waitUntil('its slots are taken', () => receiver.openCount === 8);
    await waitUntil('timers are given back', async () => (await rig.readMetric('worker_timers_postponed_total')) > 20);
    const healthyIds = await rig.deliver(...repeat(300, { action: httpAction(healthy.url) }));
    const ended = await waitForEnds(db.database, healthyIds);
    const late = [...ended.values()].map((row) => row.lateness_ms!).toSorted((a, b) => a - b);
    expect(late[Math.floor(late.length / 2)], 'median lateness').toBeLessThan(1_000);
    expect(late.at(-1)!, 'worst lateness').toBeLessThan(5_000);
    expect(receiver.requests).toHaveLength(8);

    receiver.answer = () => ({});
    receiver.releaseHanging();
    // Those given back come at the pace of the origin, which takes a while to be believed again.
    await waitUntil(
      'all are sent',
      async () => {
        await db.database.ordinary.query(
          `UPDATE timers SET wake_at = clock_timestamp()
           WHERE id IN (SELECT id FROM timers WHERE state = 'scheduled' FOR UPDATE SKIP LOCKED)`,
        );
        return countSent(receiver).size === hangingIds.length;
      },
      40_000,
    );
    for (const row of (await waitForEnds(db.database, hangingIds)).values()) {
      expect(row).toMatchObject({ state: 'succeeded', attempt: 1 });
    }
    expect(Math.max(...countSent(receiver).values())).toBe(1);
  });
});

describe('while Postgres is away', () => {
  it('outcomes are kept, written when it is back, and nothing is sent twice', async () => {
    const proxy = closeAfterwards(await startProxy(db.url));
    const rig = await open({ databaseUrl: proxy.url });
    receiver.answer = () => 'hang';
    const ids = await rig.deliver(
      ...repeat(150, { action: httpAction(receiver.url), timeoutMs: 30_000, retry: QUICK_RETRY }),
    );
    await waitUntil('all are sent', () => receiver.openCount === ids.length);
    await proxy.cut();
    receiver.releaseHanging();
    await waitUntil(
      'writes have failed for some seconds',
      async () => (await rig.readMetric('worker_outcome_write_failures_total')) > 15,
    );
    expect(await countByState()).toEqual({ running: ids.length });
    await proxy.restore();
    for (const row of (await waitForEnds(db.database, ids)).values())
      expect(row).toMatchObject({ state: 'succeeded', attempt: 1 });
    expect([...countSent(receiver).values()]).toEqual(repeat(ids.length, 1));
    expect(await rig.readMetric('worker_outcomes_void_total')).toBe(0);
  });

  it('hints go back to the queue, and their timers are sent as soon as it is back', async () => {
    const proxy = closeAfterwards(await startProxy(db.url));
    const rig = await open({ databaseUrl: proxy.url, isHinting: false });
    await rig.deliver({ action: httpAction(receiver.url) });
    await waitUntil('it works', () => receiver.requests.length === 1);
    await proxy.cut();
    const ids = await rig.deliver(...repeat(300, { action: httpAction(receiver.url) }));
    await waitUntil(
      'starts have failed',
      () => rig.logged.filter(({ message }) => String(message).includes('could not start timers')).length > 5,
    );
    await proxy.restore();
    await waitForEnds(db.database, ids);
    expect(Math.max(...countSent(receiver).values())).toBe(1);
  });
});

describe('a start that a crash of Postgres has undone', () => {
  it('is not sent, although its request was already under way to find its host', async () => {
    let isAnswering = false;
    const names = closeAfterwards(await startDnsServer(() => (isAnswering ? ['127.0.0.1'] : 'stalls')));
    const rig = await open({ isHinting: false, settings: { WORKER_DNS_SERVERS: names.address } });
    const { port } = new URL(receiver.url);
    const [id] = await rig.deliver({ action: httpAction(`http://name.example:${port}/old`) });
    await waitUntil('its host is asked for', () => names.queries.length > 0);
    // As the row is when the start was lost, and somebody has cancelled the timer since.
    await db.database.ordinary.query(
      `UPDATE timers SET state = 'paused', version = version + 1, attempt = 0, lease_ends_at = NULL, wake_at = 'infinity'
       WHERE id = $1`,
      [id],
    );
    // DNS is asked again after a while.
    isAnswering = true;
    await waitUntil('it is given back', async () => (await rig.readMetric('worker_timers_postponed_total')) === 1);
    await waitUntil('its outcome is void', async () => (await rig.readMetric('worker_outcomes_void_total')) === 1);
    expect(receiver.requests).toHaveLength(0);
  });
});

describe('a worker that stops', () => {
  it('takes no more, finishes what it started, and leaves the rest to others, none of it lost or doubled', async () => {
    const rig = await open({
      settings: { WORKER_ATTEMPTS_MAX: '192', WORKER_ATTEMPTS_PER_ORIGIN: '32', WORKER_CHUNKS_AT_ONCE: '2' },
    });
    receiver.answer = () => ({ delayMs: 20 });
    const ids = await rig.deliver(...repeat(1_000, { action: httpAction(receiver.url) }));
    await waitUntil('it is in full swing', () => receiver.requests.length > 100);
    await rig.worker.stop();
    const states = await countByState();
    expect(states.running ?? 0).toBe(0);
    expect(states.scheduled).toBeGreaterThan(100);
    const sent = receiver.requests.length;
    // Each version is hinted at once only: what the first worker had not started must still be in the queue.
    await rig.startAnother();
    await waitForEnds(db.database, ids, 30_000);
    expect(sent).toBeLessThan(ids.length);
    expect([...countSent(receiver).values()]).toEqual(repeat(ids.length, 1));
  });

  it('gives back at once what waits for room at a slow origin, to be sent by others', async () => {
    const rig = await open({
      isHinting: false,
      settings: { WORKER_ATTEMPTS_PER_ORIGIN: '8', WORKER_ATTEMPTS_MAX: '192' },
    });
    receiver.answer = () => 'hang';
    // Four of them wait in memory, for up to five seconds.
    const ids = await rig.deliver(...repeat(12, { action: httpAction(receiver.url) }));
    await waitUntil('its slots are taken', () => receiver.openCount === 8);
    await waitUntil('all are started', async () => (await countByState()).running === ids.length);
    const stopping = rig.worker.stop();
    await waitUntil('four are given back', async () => (await countByState()).scheduled === 4, 3_000);
    expect(await countByState()).toEqual({ running: 8, scheduled: 4 });
    receiver.releaseHanging();
    await stopping;
    expect(await countByState()).toEqual({ scheduled: 4 });
  });

  it('waits for attempts under way, however slow, and writes their outcomes', async () => {
    const rig = await open();
    receiver.answer = () => 'hang';
    const ids = await rig.deliver(...repeat(20, { action: httpAction(receiver.url) }));
    await waitUntil('all are sent', () => receiver.openCount === ids.length);
    let isStopped = false;
    const stopping = rig.worker.stop().then(() => {
      isStopped = true;
    });
    await waitUntil('it drains', async () => !(await rig.health.ready()).isReady);
    expect(isStopped).toBe(false);
    receiver.releaseHanging();
    await stopping;
    expect((await waitForEnds(db.database, ids)).size).toBe(20);
    expect(await countByState()).toEqual({});
  });
});

describe('a worker that is lost', () => {
  it('leaves attempts that another begins again under their number, once their leases end', async () => {
    const rig = await open({ settings: { WORKER_LEASE_MARGIN_MS: '1000' } });
    const [id] = await rig.deliver({ action: httpAction(receiver.url), timeoutMs: 200, dueAt: Date.now() + 3_600_000 });
    // Another worker starts it, and is never heard of again.
    await db.database.ordinary.query(
      `UPDATE timers SET wake_at = clock_timestamp() - interval '1 second' WHERE id = $1`,
      [id],
    );
    const [lost] = await startTimers(db.database.hot, [{ id: id!, version: 1 }], 200, 300);
    const row = (await waitForEnds(db.database, [id!])).get(id!)!;
    expect(row).toMatchObject({ state: 'succeeded', attempt: 1 });
    expect(row.started_at! - lost!.started_at).toBeGreaterThanOrEqual(499);
    expect(receiver.requests).toHaveLength(1);
    const attempts = await db.database.kysely.selectFrom('attempts').selectAll().where('timer_id', '=', id!).execute();
    expect(attempts).toMatchObject([{ outcome: 'lost', attempt: 1 }]);
  });

  it('can not record the outcome of an attempt that was begun again', async () => {
    const rig = await open({ isHinting: false });
    receiver.answer = () => 'hang';
    const [id] = await rig.deliver({ action: httpAction(receiver.url), timeoutMs: 30_000 });
    await waitUntil('it is sent', () => receiver.openCount === 1);
    // As if its lease had ended and somebody else held the attempt now.
    await db.database.ordinary.query('UPDATE timers SET version = version + 1 WHERE id = $1', [id]);
    receiver.releaseHanging();
    await waitUntil('its outcome is void', async () => (await rig.readMetric('worker_outcomes_void_total')) === 1);
    expect(await countByState()).toEqual({ running: 1 });
  });
});
