import assert from 'node:assert/strict';
import { queryServer } from '../../packages/testkit/index.ts';
import { type Cluster, createCluster, Installation, nameCluster } from './installation.ts';
import type { Operator } from './operator.ts';
import { fillIn, RunbookPage } from './page.ts';

/** In which timers are created and the moment passes before they are due (ms). */
const SOON_MS = 4_000;

/** Carries out docs/runbooks/back-up-and-restore-postgres.md: a copy, an accident, and the way back to the moment before it. */
export async function backUpAndRestore(operator: Operator): Promise<void> {
  const page = new RunbookPage('docs/runbooks/back-up-and-restore-postgres.md');
  const cluster = await nameCluster('/var/lib/postgresql/data');
  const installation = await Installation.create();
  const type = makeTyping(operator, cluster);
  try {
    await createCluster(operator, cluster, true);
    await type(page.take(/^mkdir/));
    const settings = page.take(/^archive_mode = on/);
    await type(
      `cat >> ${cluster.folder}/postgresql.conf <<'END'\n${settings}END\npg_ctl -D ${cluster.folder} restart > /dev/null`,
    );
    await installation.start(cluster.url);
    operator.note('an api, a scheduler and a worker run on it');
    const { delivered, sleeping } = await installation.begin();
    operator.note('20 timers are delivered, 20 sleep');
    const look = page.take(/pg_stat_archiver/);
    await operator.runUntil(/\|\s*\d{4}-\d\d-\d\d [^|]+\|\s*$/m, look, { DATABASE_URL: cluster.superuserUrl });
    await type(page.take(/^pg_basebackup/));

    const again = await installation.createTimers('again', SOON_MS);
    const moment = await readTime(cluster);
    assert.deepEqual(installation.listDelivered('again'), []);
    const lost = await installation.createTimers('lost');
    await installation.waitForDeliveries('again');
    const sent = installation.listDelivered('again');
    operator.note(`20 timers that were created after the copy are delivered, after ${moment}; 20 more sleep`);
    await queryServer(cluster.superuserUrl, 'DROP TABLE timers CASCADE');
    operator.note('the accident: somebody drops the table of the timers');

    await installation.stop();
    await type(page.take(/pg_switch_wal/));
    const values = { '2027-03-01 14:29:00+00': moment, 'copy-2027-03-01': `copy-${moment.slice(0, 10)}` };
    await type(fillIn(page.take(/recovery\.signal/), values));
    await operator.runUntil(/^ f$/m, page.take(/pg_is_in_recovery/), { DATABASE_URL: cluster.superuserUrl });
    await type(page.take(/wake_at < clock_timestamp/));
    await installation.start(cluster.url);
    await installation.checkWayBack({ delivered, sleeping, again, sent, lost });
    operator.note(
      'those 20 were delivered again, under the same webhook-ids; the first 20 were not; what slept sleeps; the last 20 are not found; the ledger balances',
    );
    await type(page.take(/^sed/));
    page.end();
  } finally {
    await installation.close();
  }
}

/** Types with the address of the cluster's database at hand, as a superuser, and with its port for servers that are started. */
function makeTyping(operator: Operator, cluster: Cluster): (step: string) => Promise<string> {
  return (step) => operator.run(step, { DATABASE_URL: cluster.superuserUrl, PGPORT: String(cluster.port) });
}

/** The database's time, as it writes it. */
async function readTime(cluster: Cluster): Promise<string> {
  const text = `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00') AS moment`;
  return String((await queryServer(cluster.superuserUrl, text))[0]!.moment);
}
