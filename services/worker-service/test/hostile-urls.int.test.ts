import { connect } from 'node:net';
import { listHostileUrls } from '@punctual/hostile-urls';
import { startCanary, useTestDatabase, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { httpAction, openWorkerRig, type WorkerRig, waitForEnds } from './open-rig.ts';

const db = useTestDatabase(6);
let canary: Awaited<ReturnType<typeof startCanary>>;
let rig: WorkerRig;
beforeAll(async () => {
  canary = await startCanary();
  // Loopback is allowed in the rig; here the settings are those of a fresh installation.
  rig = await openWorkerRig(db, { settings: { EGRESS_ALLOW: '' } });
});
afterAll(async () => {
  await rig.close();
  await canary.close();
});

/** Whether the canary sees a connection that the test makes itself. */
async function wakeCanary(host: string, port: number): Promise<void> {
  const before = canary.connections.length;
  const socket = connect({ host, port });
  await waitUntil('the canary sees a connection', () => canary.connections.length > before);
  socket.destroy();
}

test('a hostile URL that is in the database in spite of the api is never connected to', async () => {
  // A canary that sees nothing must be one that could.
  for (const port of canary.ports) await wakeCanary('127.0.0.1', port);
  canary.connections.length = 0;

  const urls = canary.ports.flatMap((port) => listHostileUrls(port)).map(({ url }) => url);
  const distinct = [...new Set(urls)];
  expect(distinct.length).toBeGreaterThan(500);
  const ids = await rig.deliver(...distinct.map((url) => ({ action: httpAction(url) })));
  const ended = await waitForEnds(db.database, ids, 60_000);

  for (const [index, url] of distinct.entries()) {
    const row = ended.get(ids[index]!)!;
    const shown = JSON.stringify(url);
    // `blocked`: it leads where it may not; `permanent`: it is nothing that may be called. Neither is tried again.
    expect({ url: shown, state: row.state, attempt: row.attempt }).toEqual({ url: shown, state: 'dead', attempt: 1 });
    expect(['blocked', 'permanent'], shown).toContain(row.outcome);
    expect(row.http_status, shown).toBeNull();
    expect(row.error, shown).toMatch(/^The .+\.$/);
  }
  expect(canary.connections).toEqual([]);
});
