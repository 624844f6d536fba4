import assert from 'node:assert/strict';
import { type Cluster, createCluster, Installation, nameCluster } from './installation.ts';
import type { Operator } from './operator.ts';
import { RunbookPage } from './page.ts';

/** Carries out docs/runbooks/move-to-another-postgres.md: a replica takes over, and then a dump of that moves again. */
export async function moveToAnotherPostgres(operator: Operator): Promise<void> {
  const page = new RunbookPage('docs/runbooks/move-to-another-postgres.md');
  const first = await nameCluster('/var/lib/postgresql/old-data');
  const second = await nameCluster('/var/lib/postgresql/data');
  const third = await nameCluster('/var/lib/postgresql/third');
  const installation = await Installation.create();
  const variables = (from: Cluster, to: Cluster) => ({
    OLD: from.superuserUrl,
    NEW: to.superuserUrl,
    PGPORT: String(to.port),
  });
  try {
    await createCluster(operator, first, true);
    await installation.start(first.url);
    operator.note('an api, a scheduler and a worker run on it');
    const { delivered: before, sleeping } = await installation.begin();
    operator.note('20 timers are delivered, 20 sleep');

    const replica = variables(first, second);
    await operator.run(page.take(/^pg_basebackup/), replica);
    await operator.runUntil(/streaming/, page.take(/pg_stat_replication/), replica);
    const between = await installation.createTimers('between', 2_000);
    await installation.stop();
    operator.note('20 timers are created that will be due while the services are stopped');
    await operator.run(page.take(/^pg_ctl .* stop -m fast/), replica);
    await operator.run(page.take(/pg_promote/), replica);
    await installation.start(second.url);
    await installation.waitForDeliveries('between');
    await installation.waitForStatus([...before, ...between], 'succeeded');
    await installation.waitForStatus(sleeping, 'scheduled');
    await installation.checkLedger();
    operator.note('those 20 are delivered; what slept sleeps; the ledger balances');

    const last = await installation.createTimers('last', 2_000);
    await installation.stop();
    await createCluster(operator, third, false);
    const dump = { ...variables(second, third), USER_OF_PUNCTUAL: 'punctual' };
    await operator.run(page.take(/create role punctual_tenant/), dump);
    await operator.run(page.take(/^pg_dump/), dump);
    await operator.run(`pg_ctl -D ${second.folder} stop > /dev/null`);
    await installation.start(third.url);
    await installation.waitForDeliveries('last');
    await installation.waitForStatus([...before, ...between, ...last], 'succeeded');
    await installation.waitForStatus(sleeping, 'scheduled');
    await installation.checkLedger();
    for (const kind of ['early', 'between', 'last']) assert.equal(installation.listDelivered(kind).length, 20);
    operator.note('20 more were due meanwhile, and are delivered; nothing was delivered twice; the ledger balances');
    page.end();
  } finally {
    await installation.close();
  }
}
