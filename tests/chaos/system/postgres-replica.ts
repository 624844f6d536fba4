import { chmodSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { signalTree } from '@punctual/e2e';
import { findFreePort, startPostgres } from '@punctual/local-servers';
import { startProxy, waitUntil } from '@punctual/testkit';
import pg from 'pg';
import type { Surroundings } from './surroundings.ts';

/** Postgres' own directory inside a data folder, and what of it a replica must not take over. */
const CLUSTER = 'cluster';
const NOT_COPIED = new Set(['postmaster.pid', 'postmaster.opts', 'pg_wal', 'postgresql.auto.conf.tmp']);
/** Postgres starts only on a directory that nobody else may read. */
const PRIVATE = 0o700;
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
  await copyPrimary(primary.url, primaryFolder, replicaFolder);
  const replica = await startPostgres({
    dataDir: replicaFolder,
    port: replicaPort,
    settings: { ...settings, primary_conninfo: `${toConnectionInfo(primary.url)} application_name=${REPLICA_NAME}` },
    log: () => {},
  });
  started.defer(() => replica.stop());
  const isStreaming = async () => {
    const [row] = await query(primary.url, 'SELECT count(*)::int AS count FROM pg_stat_replication');
    return row?.count === 1;
  };
  await waitUntil('the replica follows', isStreaming, READY_LIMIT_MS);
  await query(primary.url, `ALTER SYSTEM SET synchronous_standby_names = '${REPLICA_NAME}'`);
  await query(primary.url, 'SELECT pg_reload_conf()');
  const isSynchronous = async () => {
    const [row] = await query(primary.url, 'SELECT sync_state FROM pg_stat_replication');
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
      await query(replica.url, "ALTER SYSTEM SET synchronous_standby_names = ''");
      await query(replica.url, 'SELECT pg_promote(true, 60)');
      await address.retarget(replica.url);
    },
    // The one that died stays away.
    heal: () => Promise.resolve(),
    stop: () => all.disposeAsync(),
  };
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

/** A base backup by the low-level API: files are copied while the primary runs, and made whole by its log. */
async function copyPrimary(url: string, from: string, to: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("SELECT pg_backup_start('chaos', fast => true)");
    const [source, copy] = [join(from, CLUSTER), join(to, CLUSTER)];
    mkdirSync(to, { mode: PRIVATE });
    cpSync(source, copy, {
      recursive: true,
      preserveTimestamps: true,
      filter: (path) => !NOT_COPIED.has(path.slice(source.length + 1)),
    });
    mkdirSync(join(copy, 'pg_wal'));
    chmodSync(copy, PRIVATE);
    const { rows } = await client.query('SELECT labelfile, spcmapfile FROM pg_backup_stop(wait_for_archive => false)');
    writeFileSync(join(copy, 'backup_label'), rows[0].labelfile);
    if (rows[0].spcmapfile) writeFileSync(join(copy, 'tablespace_map'), rows[0].spcmapfile);
    writeFileSync(join(copy, 'standby.signal'), '');
  } finally {
    await client.end();
  }
}

function toConnectionInfo(url: string): string {
  const { hostname, port, username, password } = new URL(url);
  return `host=${hostname} port=${port} user=${decodeURIComponent(username)} password=${decodeURIComponent(password)}`;
}
