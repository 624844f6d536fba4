import { join } from 'node:path';
import { signalTree } from '@punctual/e2e';
import { findFreePort, startPostgres } from '@punctual/local-servers';
import { queryServer, startProxy, takeBaseBackup, waitUntil } from '@punctual/testkit';
import type { Surroundings } from './surroundings.ts';

const REPLICA_NAME = 'replica';
const READY_LIMIT_MS = 60_000;

/**
 * A primary and a synchronous streaming replica, behind one address that leads to whichever is the primary, as a
 * Kubernetes service or a virtual address does. A commit that was acknowledged is on both.
 */
export async function startReplicatedPostgres(folder: string): Promise<Surroundings> {
  const primaryFolder = join(folder, 'primary');
  const replicaFolder = join(folder, 'replica');
  const settings = { wal_level: 'replica', max_wal_senders: '5', hot_standby: 'on' };
  await using started = new AsyncDisposableStack();
  const primary = await startPostgres({ dataDir: primaryFolder, settings, log: () => {} });
  started.defer(() => primary.stop());
  const replicaPort = await findFreePort();
  await takeBaseBackup(primary.url, primaryFolder, replicaFolder, 'standby.signal');
  const replica = await startPostgres({
    dataDir: replicaFolder,
    port: replicaPort,
    settings: { ...settings, primary_conninfo: `${toConnectionInfo(primary.url)} application_name=${REPLICA_NAME}` },
    log: () => {},
  });
  started.defer(() => replica.stop());
  const isStreaming = async () => {
    const [row] = await queryServer(primary.url, 'SELECT count(*)::int AS count FROM pg_stat_replication');
    return row?.count === 1;
  };
  await waitUntil('the replica follows', isStreaming, READY_LIMIT_MS);
  await queryServer(primary.url, `ALTER SYSTEM SET synchronous_standby_names = '${REPLICA_NAME}'`);
  await queryServer(primary.url, 'SELECT pg_reload_conf()');
  const isSynchronous = async () => {
    const [row] = await queryServer(primary.url, 'SELECT sync_state FROM pg_stat_replication');
    return row?.sync_state === 'sync';
  };
  await waitUntil('the replica is synchronous', isSynchronous, READY_LIMIT_MS);
  const address = await startProxy(primary.url);
  started.defer(() => address.close());
  const all = started.move();
  return {
    databaseUrl: address.url,
    async strike() {
      signalTree(primary.pid, 'SIGKILL');
      await primary.exited;
      // What the primary was is copied with its settings: nobody follows the new one.
      await queryServer(replica.url, "ALTER SYSTEM SET synchronous_standby_names = ''");
      await queryServer(replica.url, 'SELECT pg_promote(true, 60)');
      await address.retarget(replica.url);
    },
    // The one that died stays away.
    heal: () => Promise.resolve(),
    stop: () => all.disposeAsync(),
  };
}

function toConnectionInfo(url: string): string {
  const { hostname, port, username, password } = new URL(url);
  return `host=${hostname} port=${port} user=${decodeURIComponent(username)} password=${decodeURIComponent(password)}`;
}
