import assert from 'node:assert/strict';
import { waitUntil } from '../../packages/testkit/index.ts';
import { Installation } from './installation.ts';
import type { Operator } from './operator.ts';
import { fillIn, RunbookPage } from './page.ts';

const SHARED_LIMIT_MS = 10_000;

async function countOwned({ api }: Installation): Promise<number> {
  const { data } = await api.expect<{ data: { partitions: number[] }[] }>([200], 'GET', '/v1/schedulers');
  return data.flatMap(({ partitions }) => partitions).length;
}

/** Carries out docs/runbooks/more-partitions.md beside running services. */
export async function growPartitions(operator: Operator): Promise<void> {
  const page = new RunbookPage('docs/runbooks/more-partitions.md');
  const installation = await Installation.create();
  try {
    await installation.start(undefined, { scheduler: 2 });
    const sleeping = await installation.createTimers('sleeping');
    operator.note('an api, two schedulers and a worker run; 20 timers sleep');
    const migrate = fillIn(page.take(/--partitions 256/), { 'postgres://…': '"$URL"' });
    await operator.runHere(migrate, { URL: installation.stack.databaseUrl });
    await waitUntil('256 partitions are shared', async () => (await countOwned(installation)) === 256, SHARED_LIMIT_MS);
    await operator.runHere(page.take(/^curl/), { API: installation.stack.apiUrls[0]! });
    for (const kind of ['api', 'worker'] as const) await installation.restart(kind);
    operator.note('api and worker are restarted, one after the other');
    const after = await installation.createTimers('after', 0);
    await installation.waitForDeliveries('after');
    await installation.waitForStatus(after, 'succeeded');
    await installation.waitForStatus(sleeping, 'scheduled');
    assert.equal(installation.listDelivered('after').length, after.length);
    await installation.checkLedger();
    operator.note('20 new timers are delivered; what slept sleeps; the ledger balances');
    page.end();
  } finally {
    await installation.close();
  }
}
