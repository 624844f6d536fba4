import { readLedger } from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import {
  type Receiver,
  type ServerProxy,
  startProxy,
  startReceiver,
  useTestDatabase,
  waitUntil,
} from '@punctual/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import { httpAction, QUICK_RETRY, repeat, useWorkerRigs, type WorkerRig, waitForEnds } from './open-rig.ts';

/** The setting's own default: enough for a few timers to use up their four attempts each. */
const FAILURES = 20;
/** In which deliveries go on once the endpoint is back (ms): the wait for the next probe, and the trips to the database. */
const RESUME_LIMIT_MS = 15_000;
const LONG_LIMIT_MS = 30_000;

const db = useTestDatabase(4);
const { open, closeAfterwards } = useWorkerRigs(db);
let receiver: Receiver;
/** The way to the receiver, which refuses connections while it is cut. */
let endpoint: ServerProxy;

beforeEach(async () => {
  receiver = closeAfterwards(await startReceiver());
  endpoint = closeAfterwards(await startProxy(receiver.url));
});

async function countAttempts(ids: readonly string[]): Promise<number> {
  const { rows } = await db.database.ordinary.query<{ count: number }>(
    'SELECT count(*)::int AS count FROM attempts WHERE timer_id = ANY ($1)',
    [ids],
  );
  return rows[0]!.count;
}

const readDetails = async (rig: WorkerRig) => {
  const rows = await db.database.kysely
    .selectFrom('service_instances')
    .select('details')
    .where('id', '=', rig.worker.id)
    .execute();
  return rows[0]?.details as { circuitsOpen: number; openCircuits: Record<string, unknown>[] } | undefined;
};

/** Delivers to the dead endpoint until its circuit is open. */
async function openCircuit(rig: WorkerRig): Promise<string[]> {
  await endpoint.cut();
  const ids = await rig.deliver(...repeat(FAILURES, { action: httpAction(endpoint.url) }));
  await waitUntil('the circuit is open', async () => (await rig.readMetric('worker_circuits_open')) === 1);
  return ids;
}

describe('an endpoint that is dead and comes back', () => {
  it('gets its timers within seconds, those that waited with all their attempts; others notice nothing', async () => {
    const rig = await open();
    const healthy = closeAfterwards(await startReceiver());
    const first = await openCircuit(rig);
    expect(await rig.readMetric('worker_circuits_opened_total')).toBe(1);

    const waiting = await rig.deliver(...repeat(200, { action: httpAction(endpoint.url) }));
    await waitUntil(
      'they wait',
      async () => (await rig.readMetric('worker_timers_postponed_by_circuit_total')) >= waiting.length,
    );
    const healthyIds = await rig.deliver(...repeat(300, { action: httpAction(healthy.url) }));
    const late = [...(await waitForEnds(db.database, healthyIds)).values()].map((row) => row.lateness_ms!);
    expect(Math.max(...late), 'worst lateness of the healthy endpoint').toBeLessThan(2_000);

    const details = await waitUntil('the heartbeat tells of it', async () => {
      const read = await readDetails(rig);
      return read?.circuitsOpen === 1 ? read : undefined;
    });
    expect(details.openCircuits).toMatchObject([
      { origin: new URL(endpoint.url).origin, tenantId: DEFAULT_TENANT_ID, failures: expect.any(Number) },
    ]);
    expect(rig.logged.filter(({ message }) => String(message).includes('gives no answer'))).toHaveLength(1);
    expect(receiver.requests).toHaveLength(0);
    expect(await countAttempts(waiting), 'attempts burnt').toBeLessThanOrEqual(5);

    await endpoint.restore();
    const ended = await waitForEnds(db.database, [...first, ...waiting], RESUME_LIMIT_MS);
    expect(new Set([...ended.values()].map(({ state }) => state))).toEqual(new Set(['succeeded']));
    // Each attempt that was counted was made: what was postponed used up none.
    const counted = [...ended.values()].reduce((sum, { attempt }) => sum + attempt, 0);
    expect(counted).toBe(ended.size + (await countAttempts([...first, ...waiting])));
    const untouched = waiting.filter((id) => ended.get(id)!.attempt === 1);
    expect(untouched.length).toBeGreaterThanOrEqual(waiting.length - 5);
    expect(receiver.requests).toHaveLength(ended.size);
    expect(await rig.readMetric('worker_circuits_open')).toBe(0);
    expect(await readLedger(db.database)).toMatchObject({ isBalanced: true, total: { scheduled: 0, running: 0 } });
  });

  it('while it hangs, lets those that waited for a slot go back instead of sending them', async () => {
    const rig = await open({
      settings: { WORKER_ATTEMPTS_PER_ORIGIN: '20', WORKER_ATTEMPTS_MAX: '192', WORKER_CIRCUIT_FAILURES: '20' },
    });
    receiver.answer = () => 'hang';
    const ids = await rig.deliver(...repeat(30, { action: httpAction(receiver.url), timeoutMs: 1_500 }));
    await waitUntil('its slots are taken', () => receiver.openCount === 20);
    await waitUntil('the circuit is open', async () => (await rig.readMetric('worker_circuits_open')) === 1);
    await waitUntil(
      'those that waited are given back',
      async () => (await rig.readMetric('worker_timers_postponed_by_circuit_total')) >= 10,
    );
    // One more may be the probe.
    expect(receiver.requests.length).toBeLessThanOrEqual(21);
    receiver.answer = () => ({});
    const ended = await waitForEnds(db.database, ids, RESUME_LIMIT_MS);
    expect([...ended.values()].filter(({ state }) => state === 'succeeded')).toHaveLength(30);
    expect([...ended.values()].filter(({ attempt }) => attempt === 1).length).toBeGreaterThanOrEqual(9);
  });
});

describe('an endpoint that stays dead', () => {
  it('gets all attempts of its timers all the same, once they have waited for as long as they may', async () => {
    const rig = await open({ settings: { WORKER_CIRCUIT_HOLD_MAX_MS: '2000' } });
    await endpoint.cut();
    const ids = await rig.deliver(...repeat(100, { action: httpAction(endpoint.url), retry: QUICK_RETRY }));
    const ended = await waitForEnds(db.database, ids, LONG_LIMIT_MS);
    for (const row of ended.values()) expect(row).toMatchObject({ state: 'dead', attempt: 4, outcome: 'retryable' });
    // The dead letter holds the last one.
    expect(await countAttempts(ids)).toBe(3 * ids.length);
    expect(await rig.readMetric('worker_timers_postponed_by_circuit_total')).toBeGreaterThan(0);
    expect(await readLedger(db.database)).toMatchObject({ isBalanced: true });
  });

  it('uses up the attempts of a few timers in their usual time', async () => {
    const rig = await open();
    await endpoint.cut();
    const ids = await rig.deliver(...repeat(4, { action: httpAction(endpoint.url), retry: QUICK_RETRY }));
    for (const row of (await waitForEnds(db.database, ids)).values()) {
      expect(row).toMatchObject({ state: 'dead', attempt: 4 });
    }
    expect(await rig.readMetric('worker_circuits_opened_total')).toBe(0);
    expect(await rig.readMetric('worker_timers_postponed_by_circuit_total')).toBe(0);
  });
});

describe('an endpoint that answers, however badly,', () => {
  it.each([500, 503, 429, 404, 302])(
    'with %i has no circuit, and its timers end after exactly their attempts',
    async (status) => {
      const rig = await open();
      receiver.answer = () => ({ status });
      const ids = await rig.deliver(...repeat(100, { action: httpAction(receiver.url), retry: QUICK_RETRY }));
      const attempts = status === 404 || status === 302 ? 1 : 4;
      for (const row of (await waitForEnds(db.database, ids)).values()) {
        expect(row).toMatchObject({ state: 'dead', attempt: attempts });
      }
      expect(receiver.requests).toHaveLength(attempts * ids.length);
      expect(await rig.readMetric('worker_circuits_opened_total')).toBe(0);
      expect(await rig.readMetric('worker_timers_postponed_by_circuit_total')).toBe(0);
    },
  );
});
