import {
  announceGates,
  asTenant,
  cancelByGate,
  closeGate,
  countUnheedingWorkers,
  createTimers,
  GATES_KNOWN_FOR_MS,
  type GateKey,
  hasGatesEnough,
  holdTimers,
  inTransaction,
  openGate,
  readGatesEpoch,
  releaseTimers,
  startTimers,
  WorkflowVersions,
} from '@punctual/database';
import { createId, DEFAULT_TENANT_ID } from '@punctual/domain';
import { beginRuns, makeTimer, startReceiver, storeWorkflow, useTestDatabase, waitUntil } from '@punctual/testkit';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { HttpAttempt } from '../targets/http-attempt.ts';
import { httpAction, openWorkerRig, waitForEnds } from './open-rig.ts';

const db = useTestDatabase(8);
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

const tenantId = DEFAULT_TENANT_ID;
const change = (work: (client: Parameters<typeof announceGates>[0]) => Promise<unknown>) =>
  inTransaction(db.database.hot, async (client) => {
    await work(client);
    await announceGates(client);
  });

/** As the api answers a pause: when every worker heeds it. */
async function closeAndWait(key: GateKey): Promise<number> {
  const beganAt = performance.now();
  await change((client) => closeGate(client, key));
  const epoch = await readGatesEpoch(db.database.hot);
  await waitUntil('every worker heeds it', async () => (await countUnheedingWorkers(db.database.hot, epoch)) === 0);
  return performance.now() - beganAt;
}

/** When requests were written (`performance.now()`): an endpoint on a busy machine hears of them later. */
const sends: number[] = [];
const { onSending } = HttpAttempt.prototype;
vi.spyOn(HttpAttempt.prototype, 'onSending').mockImplementation(function send(this: HttpAttempt) {
  // It throws when nothing is to be sent.
  onSending.call(this);
  sends.push(performance.now());
});

const readTimers = async (where = 'true') =>
  (await db.database.ordinary.query(`SELECT * FROM timers WHERE ${where} ORDER BY due_at, id`)).rows;

async function openRig() {
  const receiver = await startReceiver();
  const rig = await openWorkerRig(db);
  closers.push(
    () => receiver.close(),
    () => rig.close(),
  );
  return { rig, receiver, origin: new URL(receiver.url).origin };
}

describe('a worker', () => {
  it('sends nothing of a workflow any more once it heeds the pause, and parks what comes due', async () => {
    const { rig, receiver } = await openRig();
    await rig.startAnother();
    const workflowId = await storeWorkflow(db.database, [
      { key: 'a', action: { type: 'http', url: receiver.url } },
      { key: 'b', after: ['a'], action: { type: 'http', url: receiver.url } },
      { key: 'c', after: ['b'], action: { type: 'http', url: receiver.url } },
    ]);
    const key: GateKey = { tenantId, kind: 'workflow', name: workflowId };
    const versions = new WorkflowVersions();
    const pauses: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      await beginRuns(db.database, versions, workflowId, 60);
      const before = receiver.requests.length;
      await waitUntil('some are delivered', () => receiver.requests.length > before + 20);
      pauses.push(await closeAndWait(key));
      const heededAt = performance.now();
      await waitUntil('all is parked or ended', async () => {
        const rows = await readTimers(`workflow_id = '${workflowId}' AND state <> 'paused'`);
        return rows.length === 0;
      });
      expect(
        sends.filter((at) => at > heededAt),
        `round ${round}`,
      ).toEqual([]);
      const parked = await readTimers(`workflow_id = '${workflowId}'`);
      expect(parked.length).toBeGreaterThan(0);
      expect(parked.every((timer) => timer.parked_for === `workflow:${workflowId}` && timer.attempt === 0)).toBe(true);
      await change((client) => openGate(client, key));
      const ids = parked.map(({ id }) => id);
      const manner = { dueTimes: 'keep' as const, paceMs: 0 };
      expect(await releaseTimers(db.database.hot, tenantId, ids, `workflow:${workflowId}`, manner)).toHaveLength(
        ids.length,
      );
    }
    await waitUntil('all runs succeed', async () => {
      const { rows } = await db.database.ordinary.query(
        `SELECT count(*)::int AS n FROM runs WHERE workflow_id = $1 AND status = 'succeeded'`,
        [workflowId],
      );
      return rows[0].n === 300;
    });
    const sent = receiver.requests.map(({ headers }) => headers['webhook-id']);
    expect(new Set(sent).size).toBe(900);
    expect(sent).toHaveLength(900);
    console.log(`pauses were heeded after ${pauses.map(Math.round).join(', ')} ms`);
  });

  it('holds back what goes to a paused origin, and nothing else', async () => {
    const { rig, receiver, origin } = await openRig();
    const other = await startReceiver();
    closers.push(() => other.close());
    await closeAndWait({ tenantId, kind: 'origin', name: origin });
    const [held, free] = await rig.deliver({ action: httpAction(receiver.url) }, { action: httpAction(other.url) });
    await waitForEnds(db.database, [free!]);
    await waitUntil('the other is parked', async () => (await readTimers(`id = '${held}'`))[0]?.state === 'paused');
    expect(await readTimers(`id = '${held}'`)).toMatchObject([{ parked_for: `origin:${origin}`, attempt: 0, lost: 0 }]);
    expect(receiver.requests).toEqual([]);
  });

  it('cancels what a gate cancels, all of the run, and leaves runs alone that began later', async () => {
    const { receiver } = await openRig();
    const workflowId = await storeWorkflow(db.database, [
      {
        key: 'now',
        delay: { type: 'duration', value: 1, unit: 'seconds' },
        action: { type: 'http', url: receiver.url },
      },
      { key: 'later', delay: { type: 'duration', value: 1, unit: 'days' }, action: { type: 'noop' } },
    ]);
    const versions = new WorkflowVersions();
    const [old] = await beginRuns(db.database, versions, workflowId, 1);
    await change((client) => cancelByGate(client, { tenantId, kind: 'workflow', name: workflowId }));
    await waitUntil('what begins is younger than the cancel', async () => {
      const { rows } = await db.database.ordinary.query(
        `SELECT date_trunc('milliseconds', clock_timestamp()) > cancelled_before AS is_younger FROM gates WHERE name = $1`,
        [workflowId],
      );
      return rows[0].is_younger;
    });
    const [young] = await beginRuns(db.database, versions, workflowId, 1);
    await waitUntil('the younger one is delivered', () => receiver.requests.length === 1);
    expect(JSON.parse(receiver.requests[0]!.body)).toMatchObject({ runId: young });
    await waitUntil('the older one is cancelled', async () => {
      const { rows } = await db.database.ordinary.query('SELECT status FROM runs WHERE id = $1', [old]);
      return rows[0].status === 'cancelled';
    });
    expect(await readTimers(`run_id = '${old}'`)).toEqual([]);
    expect(receiver.requests).toHaveLength(1);
  });
});

describe('a timer that a worker gives back', () => {
  it('is started again after a pause, not at once, while what its worker knows of the gates stays too old', async () => {
    const { rig } = await openRig();
    const other = await startReceiver();
    closers.push(() => other.close());
    // Its heartbeats do not come, so that it does not trust what it knows, although it reaches Postgres.
    await db.database.ordinary.query(`
      CREATE FUNCTION stop_clock() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.heartbeat_at := clock_timestamp() - interval '1 minute'; RETURN NEW; END $$;
      CREATE TRIGGER stop_clock BEFORE INSERT OR UPDATE ON service_instances FOR EACH ROW EXECUTE FUNCTION stop_clock();
      UPDATE service_instances SET role = role`);
    closers.push(() =>
      db.database.ordinary.query('DROP TRIGGER stop_clock ON service_instances; DROP FUNCTION stop_clock'),
    );
    const stoppedAt = performance.now();
    await waitUntil('what it knew before is too old', () => performance.now() > stoppedAt + GATES_KNOWN_FOR_MS);
    const [id] = await rig.deliver({ action: httpAction(other.url) });
    const [row] = await waitUntil('it was held back', async () => {
      const rows = await readTimers(`id = '${id}' AND version > 1 AND state = 'scheduled'`);
      return rows.length > 0 ? rows : undefined;
    });
    const { rows } = await db.database.ordinary.query('SELECT date_part($1, clock_timestamp()) * 1000 AS now', [
      'epoch',
    ]);
    expect(row.wake_at - rows[0].now).toBeGreaterThan(500);
    const heldAt = performance.now();
    await waitUntil('it was held back once more', async () => {
      const [again] = await readTimers(`id = '${id}' AND state = 'scheduled'`);
      return again?.version > row.version;
    });
    expect(performance.now() - heldAt).toBeGreaterThan(500);
    expect(other.requests).toEqual([]);
  });

  it('is not parked for a gate that was opened meanwhile: it is started again at once', async () => {
    const [timer] = [makeTimer({ action: httpAction('http://127.0.0.1:9/') })];
    await createTimers(db.database.hot, [timer!]);
    await waitUntil('it is due', async () => {
      const started = await startTimers(db.database.hot, [{ id: timer!.id, version: 1 }], 10_000, 5_000);
      return started.length === 1;
    });
    const gates: GateKey[] = [{ tenantId, kind: 'origin', name: 'http://127.0.0.1:9' }];
    const held = await holdTimers(
      db.database.hot,
      new WorkflowVersions(),
      [{ id: timer!.id, version: 2, runId: null, gates }],
      0,
    );
    expect(held).toEqual({ parked: [], waiting: [timer!.id], cancelled: [] });
    expect(await readTimers(`id = '${timer!.id}'`)).toMatchObject([{ state: 'scheduled', version: 3, attempt: 0 }]);
  });
});

describe('gates of all tenants', () => {
  const putGates = async (count: number) => {
    // A statement takes no more in its time on a machine that is busy.
    for (let from = 1; from <= count; from += 1_000) {
      await db.database.ordinary.query(
        `INSERT INTO gates (tenant_id, kind, name, paused_at)
         SELECT $1, 'queue', 'filler-' || n, now() FROM generate_series($2::int, least($2::int + 999, $3::int)) AS n`,
        [tenantId, from, count],
      );
    }
  };
  const dropGates = () => db.database.ordinary.query(`DELETE FROM gates WHERE name LIKE 'filler-%'`);

  it('have a maximum together, which a tenant meets although it sees none of the others’', async () => {
    const stranger = createId();
    const hasEnough = (limits: { ofTenant: number; ofAll: number }) =>
      inTransaction(asTenant(db.database, stranger).hot, (client) => hasGatesEnough(client, stranger, limits));
    await putGates(3);
    try {
      expect(await hasEnough({ ofTenant: 1, ofAll: 1_000 })).toBe(false);
      expect(await hasEnough({ ofTenant: 1, ofAll: 3 })).toBe(true);
    } finally {
      await dropGates();
    }
  });

  it('are heeded also when there are very many', async () => {
    const { rig, receiver, origin } = await openRig();
    closers.push(dropGates);
    await putGates(10_000);
    const key: GateKey = { tenantId, kind: 'origin', name: origin };
    for (let round = 0; round < 3; round += 1) {
      await closeAndWait(key);
      const [held] = await rig.deliver({ action: httpAction(receiver.url) });
      await waitUntil('it is parked', async () => (await readTimers(`id = '${held}'`))[0]?.state === 'paused');
      await change((client) => openGate(client, key));
    }
    expect(receiver.requests).toEqual([]);
  });
});
